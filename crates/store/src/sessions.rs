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
    once: Option<Once>,
}

/// By what a repetition of a call is known.
#[derive(Debug, Clone)]
pub struct Once {
    pub key: String,
    /// Equal for equal calls.
    pub digest: String,
    pub until: i64,
}

impl Once {
    fn content(&self) -> String {
        format!("{}={}", self.key, self.digest)
    }

    fn made(&self) -> String {
        format!("{}+made", self.key)
    }

    /// What the first call with this key was answered.
    async fn first(&self, connection: &mut Connection) -> Result<Option<Result<(Session, bool)>>> {
        let sql = "SELECT key, subject FROM dedupe WHERE key IN ($1, $2, $3) AND expires_at > $4";
        let args = list![&self.key, self.content(), self.made(), now()];
        let known: Vec<(String, Uuid)> = connection.all(sql, args).await?;
        let is_known = |wanted: &String| known.iter().any(|(key, _)| key == wanted);
        let Some((_, id)) = known.iter().find(|(key, _)| *key == self.key) else { return Ok(None) };
        if !is_known(&self.content()) {
            let message = "This Idempotency-Key was used for another session";
            return Ok(Some(Err(Error::Conflict(message.into()))));
        }
        let session = connection.first(format!("SELECT {COLUMNS} FROM sessions WHERE id = $1"), list![*id]).await?;
        let made = is_known(&self.made());
        Ok(session.map(|session| Ok((session, made))))
    }

    async fn note(&self, session: Uuid, made: bool, connection: &mut Connection) -> Result<()> {
        let keys = [Some(self.key.clone()), Some(self.content()), made.then(|| self.made())];
        let rows = keys.into_iter().flatten().map(|key| list![key, session, self.until]).collect();
        let sql = " ON CONFLICT (key) DO UPDATE SET subject = excluded.subject, expires_at = excluded.expires_at";
        connection.run_rows("INSERT INTO dedupe (key, subject, expires_at) VALUES", rows, sql).await
    }
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
    type Answer = (Session, bool);

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<(Session, bool)>>> {
        let mut answers = Vec::new();
        for Self { id, wanted, once } in group {
            if let Some(once) = once
                && let Some(first) = once.first(connection).await?
            {
                answers.push(first);
                continue;
            }
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
            let session: Option<Session> = connection.first(sql, args).await?;
            let made = session.as_ref().is_some_and(|session| session.id == *id);
            if let (Some(once), Some(session)) = (once, &session) {
                once.note(session.id, made, connection).await?;
            }
            let opened = session.map(|session| (session, made));
            answers.push(opened.ok_or_else(|| Error::Conflict("The session could not be opened".into())));
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
        let wanted = NewSession {
            client_id: client_id.into(),
            bot_id: bot_id.into(),
            thread: thread.into(),
            channel_id,
            sealed_target,
            opened_by: None,
        };
        self.open_session_for(wanted, None).await
    }

    /// The same for the code of an integration, which is noted when the session is made; a repetition is answered with
    /// what the first call was.
    ///
    /// # Errors
    /// `Conflict` when the key was used for another call.
    pub async fn open_session_for(&self, wanted: NewSession, once: Option<Once>) -> Result<(Session, bool)> {
        self.writer.write(Open { id: Uuid::now_v7(), wanted, once }).await
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
