//! Answers on their way out: one row per part, in order per target.

use crate::{
    Error, Result, Store,
    engine::{Arg, Connection, list, record},
    now,
    writer::{Bell, Write},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct NewOutbox {
    pub id: Uuid,
    /// What rows that must keep their order have in common: dispatch type and address.
    pub target: String,
    pub task_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub bot_id: String,
    pub dispatch_type: String,
    /// JSON, secrets sealed.
    pub sealed_target: String,
    pub text: String,
    pub part: u32,
    pub parts: u32,
    pub hops: u32,
    pub rehearse: bool,
    pub expires_at: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct OutboxRow {
    pub id: Uuid,
    pub target: String,
    pub seq: i64,
    pub task_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub bot_id: String,
    pub dispatch_type: String,
    pub sealed_target: String,
    pub text: String,
    pub part: i64,
    pub parts: i64,
    pub hops: i64,
    pub rehearse: bool,
    pub state: String,
    pub attempts: i64,
    pub unknown: bool,
    pub next_at: i64,
    pub receipt: Option<String>,
    /// JSON of an `sdk::Error`.
    pub error: Option<String>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub ended_at: Option<i64>,
}

record!(OutboxRow {
    id,
    target,
    seq,
    task_id,
    session_id,
    bot_id,
    dispatch_type,
    sealed_target,
    text,
    part,
    parts,
    hops,
    rehearse,
    state,
    attempts,
    unknown,
    next_at,
    receipt,
    error,
    created_at,
    expires_at,
    ended_at
});

#[derive(Debug, Clone)]
pub struct Attempt {
    pub outbox_id: Uuid,
    pub n: i64,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub outcome: Option<String>,
    pub error: Option<String>,
}

record!(Attempt { outbox_id, n, started_at, ended_at, outcome, error });

/// Rows that a worker now sends, and when the next one that is not yet due will be.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub rows: Vec<OutboxRow>,
    pub next_at: Option<i64>,
}

/// How an attempt ended. Errors are JSON of an `sdk::Error`.
#[derive(Debug, Clone)]
pub enum AttemptEnd {
    /// With the receipt, JSON.
    Sent(String),
    /// A rehearsal: shown, never sent.
    Withheld,
    /// To be tried again at that time.
    Retry {
        at: i64,
        error: String,
        unknown: bool,
    },
    /// Nobody knows whether it arrived, and nothing can tell.
    Held(String),
    /// Waits for a person to mend the connection.
    Parked(String),
    /// Will never work as it is.
    Dead(String),
    Expired,
}

impl AttemptEnd {
    /// State, outcome of the attempt, receipt, error.
    fn columns(&self) -> (&'static str, &'static str, Option<&String>, Option<&String>) {
        match self {
            Self::Sent(receipt) => ("sent", "sent", Some(receipt), None),
            Self::Withheld => ("withheld", "withheld", None, None),
            Self::Retry { error, unknown: false, .. } => ("pending", "not_sent", None, Some(error)),
            Self::Retry { error, unknown: true, .. } => ("pending", "unknown", None, Some(error)),
            Self::Held(error) => ("held", "unknown", None, Some(error)),
            Self::Parked(error) => ("parked", "not_sent", None, Some(error)),
            Self::Dead(error) => ("dead", "refused", None, Some(error)),
            Self::Expired => ("expired", "not_sent", None, None),
        }
    }
}

const COLUMNS: &str = "id, target, seq, task_id, session_id, bot_id, dispatch_type, sealed_target, text, part, parts, hops, \
                       rehearse, state, attempts, unknown, next_at, receipt, error, created_at, expires_at, ended_at";

/// What has an index of its own: the few rows that wait for a person.
const STUCK: &str = "state IN ('held', 'parked', 'dead')";

/// Puts rows at the end of their targets' queues.
pub(crate) async fn insert_all(rows: &[&NewOutbox], connection: &mut Connection, time: i64) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut targets: BTreeMap<&str, (i64, Uuid)> = BTreeMap::new();
    for row in rows {
        targets.entry(&row.target).or_insert((0, row.id)).0 += 1;
    }
    let values = targets.iter().map(|(key, (count, head))| list![*key, *count, *head]).collect();
    let queues: Vec<(String, i64, Option<Uuid>)> = connection
        .all_rows(
            "INSERT INTO targets (key, seq, head) VALUES",
            values,
            " ON CONFLICT (key) DO UPDATE SET seq = targets.seq + excluded.seq, head = COALESCE(targets.head, excluded.head) \
             RETURNING key, seq, head",
        )
        .await?;
    let mut next: HashMap<&str, (i64, Option<Uuid>)> =
        queues.iter().map(|(key, seq, head)| (key.as_str(), (seq - targets[key.as_str()].0, *head))).collect();
    let values = rows
        .iter()
        .map(|row| {
            let (seq, head) = next.get_mut(row.target.as_str()).expect("every target was upserted");
            *seq += 1;
            list![
                row.id,
                &row.target,
                *seq,
                *head == Some(row.id),
                row.task_id,
                row.session_id,
                &row.bot_id,
                &row.dispatch_type,
                &row.sealed_target,
                &row.text,
                row.part,
                row.parts,
                row.hops,
                row.rehearse,
                "pending",
                0_i64,
                false,
                time,
                time,
                row.expires_at,
            ]
        })
        .collect();
    connection
        .run_rows(
            "INSERT INTO outbox (id, target, seq, ready, task_id, session_id, bot_id, dispatch_type, sealed_target, text, part, \
             parts, hops, rehearse, state, attempts, unknown, next_at, created_at, expires_at) VALUES",
            values,
            "",
        )
        .await
}

/// Makes the first pending row of each target its head, unless one is on its way.
async fn promote(targets: BTreeSet<String>, connection: &mut Connection) -> Result<()> {
    let rows: Vec<_> = targets.into_iter().map(|target| list![target]).collect();
    connection.lock("targets", "key", rows.clone()).await?;
    // A row that was sent again may stand before the one that was next.
    connection
        .run_rows(
            "UPDATE outbox SET ready = FALSE WHERE state = 'pending' AND id IN (SELECT head FROM targets WHERE key IN (VALUES",
            rows.clone(),
            "))",
        )
        .await?;
    let heads: Vec<(Option<Uuid>,)> = connection
        .all_rows(
            "UPDATE targets SET head = (SELECT o.id FROM outbox o WHERE o.target = targets.key AND o.state = 'pending' \
             ORDER BY o.seq LIMIT 1) WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = targets.head AND o.state = 'sending') \
             AND key IN (VALUES",
            rows,
            ") RETURNING head",
        )
        .await?;
    let heads = heads.into_iter().filter_map(|(head,)| head).map(|head| list![head]).collect();
    connection.run_rows("UPDATE outbox SET ready = TRUE WHERE id IN (VALUES", heads, ")").await
}

struct Claim {
    worker: i64,
    limit: i64,
    /// Dispatch types that have enough on their way.
    but: Vec<String>,
}

impl Write for Claim {
    type Answer = Leaving;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Leaving>>> {
        let mut answers = Vec::new();
        for claim in group {
            let time = now();
            let skip_locked = connection.dialect().skip_locked();
            let due: String = (4..).zip(&claim.but).map(|(n, _)| format!(" AND dispatch_type <> ${n}")).collect();
            let sql = format!(
                "WITH due AS MATERIALIZED \
                 (SELECT id FROM outbox WHERE ready AND state = 'pending' AND next_at <= $2{due} ORDER BY next_at LIMIT $3 {skip_locked}) \
                 UPDATE outbox SET state = 'sending', attempts = attempts + 1, worker = $1 WHERE id IN (SELECT id FROM due) \
                 RETURNING {COLUMNS}"
            );
            let mut args = list![claim.worker, time, claim.limit];
            args.extend(claim.but.iter().map(Arg::from));
            let mut rows: Vec<OutboxRow> = connection.all(sql, args).await?;
            rows.sort_by_key(|row| row.next_at);
            let attempts = rows.iter().map(|row| list![row.id, row.attempts, time]).collect();
            connection.run_rows("INSERT INTO attempts (outbox_id, n, started_at) VALUES", attempts, "").await?;
            let next_at = if (rows.len() as i64) < claim.limit {
                let due: String = (1..).zip(&claim.but).map(|(n, _)| format!(" AND dispatch_type <> ${n}")).collect();
                let sql = format!("SELECT MIN(next_at) FROM outbox WHERE ready AND state = 'pending'{due}");
                let args = claim.but.iter().map(Arg::from).collect();
                connection.first::<(Option<i64>,)>(sql, args).await?.and_then(|(at,)| at)
            } else {
                Some(time)
            };
            answers.push(Ok(Leaving { rows, next_at }));
        }
        Ok(answers)
    }
}

struct EndAttempt {
    worker: i64,
    id: Uuid,
    attempt: i64,
    end: AttemptEnd,
}

impl Write for EndAttempt {
    type Answer = ();
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let time = now();
        let mut ends: BTreeMap<(Uuid, i64), &Self> = BTreeMap::new();
        for end in group {
            ends.entry((end.id, end.attempt)).or_insert(end);
        }
        let rows = ends
            .values()
            .map(|e| {
                let (state, _, receipt, error) = e.end.columns();
                let (next_at, unknown) = match &e.end {
                    AttemptEnd::Retry { at, unknown, .. } => (*at, Some(*unknown)),
                    AttemptEnd::Held(_) => (time, Some(true)),
                    AttemptEnd::Sent(_) | AttemptEnd::Withheld => (time, Some(false)),
                    // What an earlier attempt left open is open still.
                    AttemptEnd::Parked(_) | AttemptEnd::Dead(_) | AttemptEnd::Expired => (time, None),
                };
                let ended_at = (state != "pending").then_some(time);
                list![e.id, e.worker, e.attempt, state, receipt.cloned(), error.cloned(), next_at, unknown, ended_at]
            })
            .collect();
        let ended: Vec<Ended> = connection
            .all_rows(
                "UPDATE outbox SET state = v.column4, receipt = v.column5, error = v.column6, next_at = v.column7, \
                 unknown = COALESCE(v.column8, outbox.unknown), ended_at = v.column9, worker = NULL FROM (VALUES",
                rows,
                ") AS v WHERE outbox.id = v.column1 AND outbox.worker = v.column2 AND outbox.attempts = v.column3 \
                 AND outbox.state = 'sending' RETURNING id, attempts, target, state, part, parts, task_id, seq",
            )
            .await?;
        let held: HashMap<(Uuid, i64), &Self> =
            ended.iter().filter_map(|row| ends.remove_entry(&(row.id, row.attempts))).collect();
        let rows = held
            .values()
            .map(|e| {
                let (_, outcome, _, error) = e.end.columns();
                list![e.id, e.attempt, outcome, error.cloned(), time]
            })
            .collect();
        connection
            .run_rows(
                "UPDATE attempts SET outcome = v.column3, error = v.column4, ended_at = v.column5 FROM (VALUES",
                rows,
                ") AS v WHERE attempts.outbox_id = v.column1 AND attempts.n = v.column2",
            )
            .await?;
        for row in ended.iter().filter(|row| row.part < row.parts) {
            match row.state.as_str() {
                "sent" => release_parts(row, connection).await?,
                "held" | "parked" | "dead" | "expired" => hold_parts(row, connection).await?,
                _ => {}
            }
        }
        promote(ended.into_iter().map(|row| row.target).collect(), connection).await?;
        let answer = |e: &&Self| match held.get(&(e.id, e.attempt)) {
            Some(first) if std::ptr::eq(*first, *e) => Ok(()),
            _ => Err(Error::Fenced),
        };
        Ok(group.iter().map(answer).collect())
    }
}

/// A row whose state has just changed.
struct Ended {
    id: Uuid,
    attempts: i64,
    target: String,
    state: String,
    part: i64,
    parts: i64,
    task_id: Option<Uuid>,
    seq: i64,
}

record!(Ended { id, attempts, target, state, part, parts, task_id, seq });

impl From<&OutboxRow> for Ended {
    fn from(row: &OutboxRow) -> Self {
        let OutboxRow { id, attempts, part, parts, task_id, seq, .. } = *row;
        Self { id, attempts, target: row.target.clone(), state: row.state.clone(), part, parts, task_id, seq }
    }
}

/// A part must not arrive without the one before it. The parts of an answer stand in a row.
async fn hold_parts(row: &Ended, connection: &mut Connection) -> Result<()> {
    let message = format!("Part {} of this answer was not delivered", row.part);
    let error = serde_json::json!({"code": "error", "message": message}).to_string();
    let sql = "UPDATE outbox SET state = 'held', ready = FALSE, error = $5 \
               WHERE target = $1 AND task_id = $2 AND seq > $3 AND seq <= $4 AND state = 'pending'";
    let last = row.seq + row.parts - row.part;
    connection.run(sql, list![&row.target, row.task_id, row.seq, last, error]).await.map(drop)
}

async fn release_parts(row: &Ended, connection: &mut Connection) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'pending', error = NULL \
               WHERE target = $1 AND task_id = $2 AND seq > $3 AND seq <= $4 AND state = 'held' AND attempts = 0";
    let last = row.seq + row.parts - row.part;
    connection.run(sql, list![&row.target, row.task_id, row.seq, last]).await.map(drop)
}

/// What an operator does to rows.
enum Order {
    /// Sends one again. `resolve`: it is looked for first.
    Retry {
        id: Uuid,
        resolve: bool,
    },
    Drop {
        id: Uuid,
    },
    /// Sends on what was parked for a dispatch type.
    Unpark {
        dispatch_type: String,
    },
}

impl Write for Order {
    type Answer = Vec<OutboxRow>;
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<OutboxRow>>>> {
        let mut answers = Vec::new();
        for order in group {
            let time = now();
            let rows: Vec<OutboxRow> = match order {
                Self::Retry { id, resolve } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'pending', ready = FALSE, next_at = $2, unknown = (unknown AND $3), ended_at = NULL, \
                         expires_at = NULL WHERE id = $1 AND state IN ('held', 'parked', 'dead', 'expired', 'pending') \
                         RETURNING {COLUMNS}"
                    );
                    connection.all(sql, list![*id, time, *resolve]).await?
                }
                Self::Drop { id } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'dropped', ready = FALSE, ended_at = $2 \
                         WHERE id = $1 AND state IN ('held', 'parked', 'dead', 'expired', 'pending') RETURNING {COLUMNS}"
                    );
                    let dropped: Vec<OutboxRow> = connection.all(sql, list![*id, time]).await?;
                    for row in dropped.iter().filter(|row| row.part < row.parts) {
                        hold_parts(&Ended::from(row), connection).await?;
                    }
                    dropped
                }
                Self::Unpark { dispatch_type } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'pending', ready = FALSE, next_at = $2, ended_at = NULL \
                         WHERE dispatch_type = $1 AND state = 'parked' AND {STUCK} RETURNING {COLUMNS}"
                    );
                    connection.all(sql, list![dispatch_type, time]).await?
                }
            };
            promote(rows.iter().map(|row| row.target.clone()).collect(), connection).await?;
            answers.push(Ok(rows));
        }
        Ok(answers)
    }
}

impl Store {
    /// Takes rows that are due, first of their targets; each begins an attempt.
    pub async fn claim_outbox(&self, limit: i64) -> Result<Leaving> {
        self.claim_outbox_but(limit, Vec::new()).await
    }

    /// The same, without rows of these dispatch types.
    pub async fn claim_outbox_but(&self, limit: i64, but: Vec<String>) -> Result<Leaving> {
        self.writer.write(Claim { worker: self.worker, limit, but }).await
    }

    pub async fn end_attempt(&self, row: &OutboxRow, end: AttemptEnd) -> Result<()> {
        self.writer.write(EndAttempt { worker: self.worker, id: row.id, attempt: row.attempts, end }).await
    }

    /// # Errors
    /// `Conflict` when the row is on its way, was delivered or dropped.
    pub async fn retry_outbox(&self, id: Uuid, resolve: bool) -> Result<OutboxRow> {
        let rows = self.writer.write(Order::Retry { id, resolve }).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::Conflict("Only a row that is not on its way, delivered or dropped can be sent again".into())
        })
    }

    /// # Errors
    /// `Conflict` when the row is on its way, was delivered or dropped.
    pub async fn drop_outbox(&self, id: Uuid) -> Result<OutboxRow> {
        let rows = self.writer.write(Order::Drop { id }).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::Conflict("Only a row that is not on its way, delivered or dropped can be dropped".into())
        })
    }

    /// Answers how many rows go on.
    pub async fn unpark_outbox(&self, dispatch_type: &str) -> Result<usize> {
        Ok(self.writer.write(Order::Unpark { dispatch_type: dispatch_type.into() }).await?.len())
    }

    pub async fn outbox_row(&self, id: Uuid) -> Result<Option<OutboxRow>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM outbox WHERE id = $1"), list![id]).await
    }

    /// Newest first, older than the row `after`.
    pub async fn outbox(&self, state: Option<&str>, after: Option<Uuid>, limit: i64) -> Result<Vec<OutboxRow>> {
        let by_state = match state {
            None => "$1 IS NULL".to_owned(),
            Some("pending") => "state = 'pending' AND state = $1".to_owned(),
            Some("sending") => "state = 'sending' AND state = $1".to_owned(),
            Some("held" | "parked" | "dead") => format!("{STUCK} AND state = $1"),
            Some(_) => "state = $1".to_owned(),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox WHERE {by_state} AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
        );
        self.engine.read(sql, list![state, after, limit]).await
    }

    pub async fn outbox_of(&self, task: Uuid) -> Result<Vec<OutboxRow>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM outbox WHERE task_id = $1 ORDER BY part"), list![task]).await
    }

    pub async fn attempts(&self, row: Uuid) -> Result<Vec<Attempt>> {
        let sql =
            "SELECT outbox_id, n, started_at, ended_at, outcome, error FROM attempts WHERE outbox_id = $1 ORDER BY n";
        self.engine.read(sql, list![row]).await
    }

    /// Which states that wait for a person rows of a dispatch type are in. Messages about notices do not count: a notice
    /// about them would be about itself.
    pub async fn stuck(&self, dispatch_type: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT DISTINCT state FROM outbox WHERE {STUCK} AND dispatch_type = $1 AND target NOT LIKE 'notice:%'"
        );
        let rows: Vec<(String,)> = self.engine.read(sql, list![dispatch_type]).await?;
        Ok(rows.into_iter().map(|(state,)| state).collect())
    }

    /// Whether rows of a dispatch type have been tried and are to be tried again. Those about notices do not count.
    pub async fn is_tried_again(&self, dispatch_type: &str) -> Result<bool> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM outbox WHERE state = 'pending' AND attempts > 0 AND dispatch_type = $1 \
                   AND target NOT LIKE 'notice:%' UNION ALL \
                   SELECT CAST(1 AS BIGINT) FROM outbox WHERE state = 'sending' AND attempts > 1 AND dispatch_type = $1 \
                   AND target NOT LIKE 'notice:%' LIMIT 1";
        Ok(self.engine.read_first::<(i64,)>(sql, list![dispatch_type]).await?.is_some())
    }

    /// Rows by state, and when the oldest pending one was made.
    pub async fn outbox_backlog(&self) -> Result<(Vec<(String, i64)>, Option<i64>)> {
        let sql = format!(
            "SELECT 'pending', COUNT(*) FROM outbox WHERE state = 'pending' UNION ALL \
             SELECT state, COUNT(*) FROM outbox WHERE {STUCK} GROUP BY state"
        );
        let counts = self.engine.read(sql, list![]).await?;
        let sql = "SELECT MIN(created_at) FROM outbox WHERE state = 'pending'";
        let oldest: Option<(Option<i64>,)> = self.engine.read_first(sql, list![]).await?;
        Ok((counts, oldest.and_then(|(at,)| at)))
    }
}
