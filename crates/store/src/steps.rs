//! What a run has done: the log that it is resumed from, and the commit that ends it.

use crate::{
    Error, NewOutbox, Result, Store,
    engine::{Connection, list},
    now,
    writer::{Bell, Write},
};
use sqlx::FromRow;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

#[derive(Debug, Clone, FromRow)]
pub struct StepRow {
    pub task_id: Uuid,
    pub n: i64,
    pub attempt: i64,
    pub kind: String,
    /// JSON of an `agent::Step`.
    pub body: String,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct NewStep {
    pub n: i64,
    pub kind: String,
    pub body: String,
}

/// What a run did since its last commit. Refused as a whole when the run belongs to another worker or attempt by now.
#[derive(Debug, Clone)]
pub struct Commit {
    pub task: Uuid,
    pub attempt: i64,
    pub steps: Vec<NewStep>,
    pub tokens: i64,
    /// Counters that the tokens are added to: scope and bucket.
    pub scopes: Vec<(String, i64)>,
    pub end: Option<End>,
}

#[derive(Debug, Clone)]
pub enum End {
    /// The answer becomes a message of the session; its parts leave through the outbox.
    Complete {
        message_id: Uuid,
        text: String,
        trusted: bool,
        hops: u32,
        outbox: Vec<NewOutbox>,
    },
    /// JSON of an `sdk::Error`.
    Failed(String),
    Cancelled,
    /// Gives the session up until somebody sends the task on.
    Waiting(String),
}

struct Committing {
    worker: i64,
    commit: Commit,
}

impl Write for Committing {
    type Answer = ();
    const WAKES: &'static [Bell] = &[Bell::Steps, Bell::Outbox, Bell::Tasks];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let time = now();
        let mut held = insert_steps(group, connection, time).await?;
        count_tokens(group, connection).await?;
        held.extend(end_tasks(group, connection, time).await?);
        Ok(group.iter().map(|c| if held.contains(&c.commit.task) { Ok(()) } else { Err(Error::Fenced) }).collect())
    }
}

/// Answers the tasks that this worker still holds.
async fn insert_steps(group: &[&Committing], connection: &mut Connection, time: i64) -> Result<HashSet<Uuid>> {
    let rows = group
        .iter()
        .flat_map(|c| {
            c.commit
                .steps
                .iter()
                .map(|step| list![c.commit.task, c.worker, c.commit.attempt, step.n, &step.kind, &step.body, time])
        })
        .collect();
    let inserted: Vec<(Uuid,)> = connection
        .all_rows(
            "INSERT INTO steps (task_id, n, attempt, kind, body, created_at) \
             SELECT v.column1, v.column4, v.column3, v.column5, v.column6, v.column7 FROM (VALUES",
            rows,
            ") AS v JOIN tasks t ON t.id = v.column1 AND t.worker = v.column2 AND t.attempt = v.column3 AND t.status = 'running' \
             RETURNING task_id",
        )
        .await?;
    Ok(inserted.into_iter().map(|(task,)| task).collect())
}

async fn count_tokens(group: &[&Committing], connection: &mut Connection) -> Result<()> {
    let spent = group.iter().filter(|c| c.commit.tokens > 0);
    let mut scopes: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    let mut tasks = Vec::new();
    for c in spent {
        tasks.push(list![c.commit.task, c.commit.tokens]);
        for (scope, bucket) in &c.commit.scopes {
            *scopes.entry((scope, *bucket)).or_default() += c.commit.tokens;
        }
    }
    connection
        .run_rows(
            "UPDATE tasks SET tokens = tasks.tokens + v.column2 FROM (VALUES",
            tasks,
            ") AS v WHERE tasks.id = v.column1",
        )
        .await?;
    let scopes = scopes.into_iter().map(|((scope, bucket), tokens)| list![scope, bucket, 0_i64, tokens]).collect();
    connection.all_rows::<(String, i64, i64, i64)>(crate::usage::ADD.0, scopes, crate::usage::ADD.1).await.map(drop)
}

async fn end_tasks(group: &[&Committing], connection: &mut Connection, time: i64) -> Result<HashSet<Uuid>> {
    let ends: HashMap<Uuid, (&Committing, &End)> =
        group.iter().filter_map(|c| Some((c.commit.task, (*c, c.commit.end.as_ref()?)))).collect();
    let rows = ends
        .values()
        .map(|(c, end)| {
            let (status, result, error) = match end {
                End::Complete { text, .. } => ("complete", Some(text), None),
                End::Failed(error) => ("failed", None, Some(error)),
                End::Cancelled => ("cancelled", None, None),
                End::Waiting(error) => ("waiting", None, Some(error)),
            };
            let completed_at = (status != "waiting").then_some(time);
            list![c.commit.task, c.worker, c.commit.attempt, status, result.cloned(), error.cloned(), completed_at]
        })
        .collect();
    let ended: Vec<(Uuid, Uuid)> = connection
        .all_rows(
            "UPDATE tasks SET status = v.column4, result = v.column5, error = v.column6, completed_at = v.column7, \
             worker = NULL, ready = FALSE FROM (VALUES",
            rows,
            ") AS v WHERE tasks.id = v.column1 AND tasks.worker = v.column2 AND tasks.attempt = v.column3 \
             AND tasks.status = 'running' RETURNING id, session_id",
        )
        .await?;
    let sessions = ended
        .iter()
        .map(|(task, session)| list![*session, i64::from(matches!(ends[task].1, End::Complete { .. })), time])
        .collect();
    let sessions: Vec<(Uuid, i64, Option<Uuid>)> = connection
        .all_rows(
            "UPDATE sessions SET seq = sessions.seq + v.column2, last_at = v.column3, \
             head = (SELECT t.id FROM tasks t WHERE t.session_id = v.column1 AND t.status = 'pending' ORDER BY t.seq LIMIT 1) \
             FROM (VALUES",
            sessions,
            ") AS v WHERE sessions.id = v.column1 RETURNING id, seq, head",
        )
        .await?;
    let heads = sessions.iter().filter_map(|(_, _, head)| *head).map(|head| list![head]).collect();
    connection.run_rows("UPDATE tasks SET ready = TRUE WHERE id IN (VALUES", heads, ")").await?;
    let seqs: HashMap<Uuid, i64> = sessions.into_iter().map(|(id, seq, _)| (id, seq)).collect();
    let mut messages = Vec::new();
    let mut outbox = Vec::new();
    for (task, session) in &ended {
        if let End::Complete { message_id, text, trusted, hops, outbox: parts } = ends[task].1 {
            let source: Option<String> = None;
            let (delivery, metadata): (Option<Uuid>, Option<String>) = (None, None);
            messages.push(list![
                *message_id,
                *session,
                seqs[session],
                "assistant",
                text,
                source,
                *task,
                delivery,
                *trusted,
                *hops,
                metadata,
                time,
            ]);
            outbox.extend(parts);
        }
    }
    crate::messages::insert_all(messages, connection).await?;
    crate::outbox::insert_all(&outbox, connection, time).await?;
    Ok(ended.into_iter().map(|(task, _)| task).collect())
}

impl Store {
    /// # Errors
    /// `Fenced` when the task is no longer held by this worker in that attempt: its run must stop.
    pub async fn commit(&self, commit: Commit) -> Result<()> {
        self.writer.write(Committing { worker: self.worker, commit }).await
    }

    /// The steps of a task after the n-th.
    pub async fn steps(&self, task: Uuid, after: i64) -> Result<Vec<StepRow>> {
        let sql =
            "SELECT task_id, n, attempt, kind, body, created_at FROM steps WHERE task_id = $1 AND n > $2 ORDER BY n";
        self.engine.read(sql, list![task, after]).await
    }
}
