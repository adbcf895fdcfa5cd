//! Addresses outside that are told what happens in runs: which there are, what is still to be told, how it went. Their
//! secrets come here sealed.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use uuid::Uuid;

/// Attempts that are kept of each.
const RING: i64 = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub id: Uuid,
    pub url: String,
    /// An administrator gave the address: it may be a private one.
    pub granted: bool,
    /// JSON, the server's to understand.
    pub wants: String,
    pub description: String,
    pub sealed_secret: String,
    /// Signs besides the new one until `old_until`.
    pub sealed_old_secret: Option<String>,
    pub old_until: Option<i64>,
    pub enabled: bool,
    /// Why the server disabled it.
    pub stopped: Option<String>,
    pub progress: Progress,
    pub created_at: i64,
    pub updated_at: i64,
}

record!(Hook {
    id, url, granted, wants, description, sealed_secret, sealed_old_secret, old_until, enabled, stopped, created_at,
    updated_at
}, |row| { progress: crate::engine::Record::read(row)? });

/// How far an address was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events up to this one are dealt with.
    pub reached: i64,
    /// At the event after it.
    pub attempts: i64,
    /// `None`: the last attempt got through.
    pub failing_since: Option<i64>,
    pub next_at: i64,
}

record!(Progress { reached, attempts, failing_since, next_at });

/// What happened in a run, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// In the order of the commits; 0 before there was one.
    pub seq: i64,
    pub id: Uuid,
    pub event: String,
    /// The integration whose run it was.
    pub origin: Option<String>,
    pub bot_id: Option<String>,
    pub channel_id: Option<Uuid>,
    pub body: String,
    pub created_at: i64,
}

record!(HookEvent { seq, id, event, origin, bot_id, channel_id, body, created_at });

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAttempt {
    /// Given when it is written down.
    pub n: i64,
    /// Absent for a test.
    pub seq: Option<i64>,
    pub event_id: Uuid,
    pub event: String,
    /// `delivered`, `failed`, `given_up` or `gone`.
    pub outcome: String,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub duration_ms: i64,
    pub at: i64,
}

record!(HookAttempt { n, seq, event_id, event, outcome, status, error, duration_ms, at });

/// What came of looking after an address.
#[derive(Debug, Clone)]
pub struct Told {
    pub hook: Uuid,
    pub attempt: Option<HookAttempt>,
    /// From where to where. Nothing moves when it stands elsewhere by now.
    pub moved: Option<(i64, Progress)>,
    /// Disables it.
    pub stopped: Option<String>,
}

enum Change {
    Create(Hook),
    /// Everything but its progress.
    Put(Hook),
    Delete(Uuid),
    /// Goes on at another event, and at once.
    Jump(Uuid, i64),
}

const COLUMNS: &str = "id, url, granted, wants, description, sealed_secret, sealed_old_secret, old_until, enabled, stopped, \
                       reached, attempts, failing_since, next_at, created_at, updated_at";

impl Write for Change {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let changed = match change {
                Self::Create(hook) => {
                    let sql = format!(
                        "INSERT INTO hooks ({COLUMNS}, tried) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
                         COALESCE((SELECT MAX(seq) FROM hook_events), 0), 0, NULL, 0, $11, $11, 0 \
                         WHERE NOT EXISTS (SELECT 1 FROM hooks WHERE id = $1)"
                    );
                    connection.run(sql, values(hook)).await?
                }
                Self::Put(hook) => {
                    let sql = "UPDATE hooks SET url = $2, granted = $3, wants = $4, description = $5, sealed_secret = $6, \
                               sealed_old_secret = $7, old_until = $8, enabled = $9, stopped = $10, updated_at = $11, \
                               next_at = 0 WHERE id = $1";
                    connection.run(sql, values(hook)).await?
                }
                Self::Delete(id) => {
                    connection.run("DELETE FROM hook_attempts WHERE hook_id = $1", list![*id]).await?;
                    connection.run("DELETE FROM hooks WHERE id = $1", list![*id]).await?
                }
                Self::Jump(id, reached) => {
                    let sql =
                        "UPDATE hooks SET reached = $2, attempts = 0, failing_since = NULL, next_at = 0 WHERE id = $1";
                    connection.run(sql, list![*id, *reached]).await?
                }
            };
            answers.push(Ok(changed > 0));
        }
        Ok(answers)
    }
}

fn values(hook: &Hook) -> Vec<crate::engine::Arg> {
    list![
        hook.id,
        &hook.url,
        hook.granted,
        &hook.wants,
        &hook.description,
        &hook.sealed_secret,
        &hook.sealed_old_secret,
        hook.old_until,
        hook.enabled,
        &hook.stopped,
        now(),
    ]
}

impl Write for Told {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for told in group {
            let mut moved = true;
            if let Some((from, Progress { reached, attempts, failing_since, next_at })) = told.moved {
                let sql = "UPDATE hooks SET reached = $3, attempts = $4, failing_since = $5, next_at = $6 \
                           WHERE id = $1 AND reached = $2 AND enabled";
                let args = list![told.hook, from, reached, attempts, failing_since, next_at];
                moved = connection.run(sql, args).await? > 0;
            }
            if let (true, Some(why)) = (moved, &told.stopped) {
                let sql = "UPDATE hooks SET enabled = FALSE, stopped = $2 WHERE id = $1";
                connection.run(sql, list![told.hook, why]).await?;
            }
            if let Some(attempt) = &told.attempt {
                note(told.hook, attempt, connection).await?;
            }
            answers.push(Ok(moved));
        }
        Ok(answers)
    }
}

async fn note(hook: Uuid, attempt: &HookAttempt, connection: &mut Connection) -> Result<()> {
    let sql = "UPDATE hooks SET tried = tried + 1 WHERE id = $1 RETURNING tried";
    let Some((n,)) = connection.first::<(i64,)>(sql, list![hook]).await? else { return Ok(()) };
    let sql = "INSERT INTO hook_attempts (hook_id, n, seq, event_id, event, outcome, status, error, duration_ms, at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let args = list![
        hook,
        n,
        attempt.seq,
        attempt.event_id,
        &attempt.event,
        &attempt.outcome,
        attempt.status,
        &attempt.error,
        attempt.duration_ms,
        attempt.at,
    ];
    connection.run(sql, args).await?;
    connection.run("DELETE FROM hook_attempts WHERE hook_id = $1 AND n <= $2", list![hook, n - RING]).await?;
    Ok(())
}

/// Writes down what happened, in this order.
pub(crate) async fn insert_events<'e>(
    events: impl Iterator<Item = &'e HookEvent>,
    connection: &mut Connection,
) -> Result<()> {
    let row = |event: &HookEvent| {
        let HookEvent { id, event: name, origin, bot_id, channel_id, body, created_at, .. } = event;
        list![*id, name, origin, bot_id, *channel_id, body, *created_at]
    };
    let before = "INSERT INTO hook_events (id, event, origin, bot_id, channel_id, body, created_at) VALUES";
    connection.run_rows(before, events.map(row).collect(), "").await
}

/// What happened outside of runs that have steps.
struct Alone(Vec<HookEvent>);

impl Write for Alone {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        insert_events(group.iter().flat_map(|alone| &alone.0), connection).await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Newest first.
    pub async fn hooks(&self) -> Result<Vec<Hook>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM hooks ORDER BY id DESC"), list![]).await
    }

    pub async fn hook(&self, id: Uuid) -> Result<Option<Hook>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM hooks WHERE id = $1"), list![id]).await
    }

    /// It is told of what happens from now on. Answers false when its id is taken.
    pub async fn create_hook(&self, hook: Hook) -> Result<bool> {
        self.writer.write(Change::Create(hook)).await
    }

    /// Writes everything but its progress anew, and lets what waits go at once. Answers whether there is one.
    pub async fn put_hook(&self, hook: Hook) -> Result<bool> {
        self.writer.write(Change::Put(hook)).await
    }

    pub async fn delete_hook(&self, id: Uuid) -> Result<bool> {
        self.writer.write(Change::Delete(id)).await
    }

    /// Goes on after this event. Answers whether there is such an address.
    pub async fn move_hook(&self, id: Uuid, reached: i64) -> Result<bool> {
        self.writer.write(Change::Jump(id, reached)).await
    }

    /// Answers false when it moved meanwhile, was disabled or is gone.
    pub async fn told(&self, told: Told) -> Result<bool> {
        self.writer.write(told).await
    }

    pub async fn note_hook_events(&self, events: Vec<HookEvent>) -> Result<()> {
        self.writer.write(Alone(events)).await
    }

    pub async fn hook_events(&self, after: i64, limit: i64) -> Result<Vec<HookEvent>> {
        let sql = "SELECT seq, id, event, origin, bot_id, channel_id, body, created_at FROM hook_events \
                   WHERE seq > $1 ORDER BY seq LIMIT $2";
        self.engine.read(sql, list![after, limit]).await
    }

    /// The number of the last event before a time. As far as events are kept.
    pub async fn hook_events_before(&self, time: i64) -> Result<i64> {
        let sql = "SELECT COALESCE((SELECT MIN(seq) - 1 FROM hook_events WHERE created_at >= $1), \
                   (SELECT MAX(seq) FROM hook_events), 0)";
        Ok(self.engine.read_first::<(i64,)>(sql, list![time]).await?.unwrap_or_default().0)
    }

    /// Newest first.
    pub async fn hook_attempts(&self, hook: Uuid, before: Option<i64>, limit: i64) -> Result<Vec<HookAttempt>> {
        let sql = "SELECT n, seq, event_id, event, outcome, status, error, duration_ms, at FROM hook_attempts \
                   WHERE hook_id = $1 AND n < $2 ORDER BY n DESC LIMIT $3";
        self.engine.read(sql, list![hook, before.unwrap_or(i64::MAX), limit]).await
    }
}
