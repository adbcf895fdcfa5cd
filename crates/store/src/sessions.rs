//! Conversations.

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Session {
    pub id: Uuid,
    pub client_id: String,
    pub bot_id: String,
    pub thread: String,
    pub channel_id: Option<Uuid>,
    /// JSON, secrets sealed.
    pub sealed_target: Option<String>,
    pub seq: i64,
    pub head: Option<Uuid>,
    pub active: bool,
    /// The integration whose code made it.
    pub opened_by: Option<String>,
    pub created_at: i64,
    pub last_at: i64,
}

record!(Session {
    id,
    client_id,
    bot_id,
    thread,
    channel_id,
    sealed_target,
    seq,
    head,
    active,
    opened_by,
    created_at,
    last_at
});

const COLUMNS: &str =
    "id, client_id, bot_id, thread, channel_id, sealed_target, seq, head, active, opened_by, created_at, last_at";

struct Open {
    id: Uuid,
    wanted: NewSession,
}

/// The session of a place, a bot and a thread.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    pub client_id: String,
    pub bot_id: String,
    pub thread: String,
    pub channel_id: Option<Uuid>,
    pub sealed_target: Option<String>,
    /// Kept when the session is made.
    pub opened_by: Option<String>,
}

impl Write for Open {
    type Answer = Session;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Session>>> {
        let mut answers = Vec::new();
        for Self { id, wanted } in group {
            let sql = format!(
                "INSERT INTO sessions ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, 0, NULL, TRUE, $8, $7, $7) \
                 ON CONFLICT (client_id, bot_id, thread) WHERE active DO UPDATE SET \
                 sealed_target = COALESCE(excluded.sealed_target, sessions.sealed_target), \
                 channel_id = COALESCE(excluded.channel_id, sessions.channel_id) RETURNING {COLUMNS}"
            );
            let args = list![
                *id,
                &wanted.client_id,
                &wanted.bot_id,
                &wanted.thread,
                wanted.channel_id,
                &wanted.sealed_target,
                now(),
                &wanted.opened_by,
            ];
            let session = connection.first(sql, args).await?;
            answers.push(session.ok_or_else(|| Error::Conflict("The session could not be opened".into())));
        }
        Ok(answers)
    }
}

struct Reset {
    id: Uuid,
}

impl Write for Reset {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for reset in group {
            let changed = connection.run("UPDATE sessions SET active = FALSE WHERE id = $1", list![reset.id]).await?;
            answers.push(if changed > 0 {
                Ok(())
            } else {
                Err(Error::NotFound(format!("There is no session {}", reset.id)))
            });
        }
        Ok(answers)
    }
}

impl Store {
    /// Gets the active session of (client_id, bot, thread) or makes it, and says whether it was made. A given target
    /// replaces the stored one.
    pub async fn open_session(
        &self,
        client_id: &str,
        bot_id: &str,
        thread: &str,
        channel_id: Option<Uuid>,
        sealed_target: Option<String>,
    ) -> Result<(Session, bool)> {
        self.open_session_for(NewSession {
            client_id: client_id.into(),
            bot_id: bot_id.into(),
            thread: thread.into(),
            channel_id,
            sealed_target,
            opened_by: None,
        })
        .await
    }

    /// The same for the code of an integration, which is noted when the session is made.
    pub async fn open_session_for(&self, wanted: NewSession) -> Result<(Session, bool)> {
        let id = Uuid::now_v7();
        let session = self.writer.write(Open { id, wanted }).await?;
        let created = session.id == id;
        Ok((session, created))
    }

    /// The session that a place, a bot and a thread have now.
    pub async fn active_session(&self, client_id: &str, bot_id: &str, thread: &str) -> Result<Option<Session>> {
        let sql =
            format!("SELECT {COLUMNS} FROM sessions WHERE client_id = $1 AND bot_id = $2 AND thread = $3 AND active");
        self.engine.read_first(sql, list![client_id, bot_id, thread]).await
    }

    /// Ends a conversation: the next message to the same place begins a new one.
    pub async fn reset_session(&self, id: Uuid) -> Result<()> {
        self.writer.write(Reset { id }).await
    }

    pub async fn session(&self, id: Uuid) -> Result<Option<Session>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM sessions WHERE id = $1"), list![id]).await
    }

    /// Which integrations' code made sessions of which places.
    pub async fn opened_by(&self) -> Result<Vec<(String, String)>> {
        let sql =
            "SELECT DISTINCT opened_by, client_id FROM sessions WHERE opened_by IS NOT NULL ORDER BY 1, 2 LIMIT 1000";
        self.engine.read(sql, list![]).await
    }

    /// Newest first.
    pub async fn sessions(&self, client_id: Option<&str>, after: Option<Uuid>, limit: i64) -> Result<Vec<Session>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE ($1 IS NULL OR client_id = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
        );
        self.engine.read(sql, list![client_id, after, limit]).await
    }
}
