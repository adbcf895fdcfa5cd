//! Agent runs: made by `accept`, claimed by a worker, ended by a commit of steps.

use crate::{
    Error, Result, Store,
    engine::{Arg, Connection, list, record},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Task {
    pub id: Uuid,
    pub session_id: Uuid,
    pub message_id: Uuid,
    pub channel_id: Option<Uuid>,
    pub delivery_id: Option<Uuid>,
    pub bot_id: String,
    pub origin: String,
    pub seq: i64,
    pub status: String,
    /// JSON.
    pub execution_config: Option<String>,
    /// JSON, secrets sealed. Absent: the session's, else the channel's.
    pub sealed_target: Option<String>,
    pub trusted: bool,
    pub hops: i64,
    pub rehearse: bool,
    pub attempt: i64,
    pub cancelled: bool,
    pub run_at: i64,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub context_seq: Option<i64>,
    pub result: Option<String>,
    /// JSON of an `sdk::Error`.
    pub error: Option<String>,
    pub tokens: i64,
    /// How many of them were written by models.
    pub completion_tokens: i64,
    /// Millionths of a dollar.
    pub cost: i64,
}

record!(Task {
    id,
    session_id,
    message_id,
    channel_id,
    delivery_id,
    bot_id,
    origin,
    seq,
    status,
    execution_config,
    sealed_target,
    trusted,
    hops,
    rehearse,
    attempt,
    cancelled,
    run_at,
    created_at,
    started_at,
    completed_at,
    context_seq,
    result,
    error,
    tokens,
    completion_tokens,
    cost,
});

const COLUMNS: &str = "id, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, status, execution_config, \
                       sealed_target, trusted, hops, rehearse, attempt, cancelled, run_at, created_at, started_at, \
                       completed_at, context_seq, result, error, tokens, completion_tokens, cost";

pub(crate) async fn insert_all(rows: Vec<Vec<Arg>>, connection: &mut Connection) -> Result<()> {
    let rows = rows
        .into_iter()
        .map(|mut row| {
            // The last two are when it is to run, and when it was made.
            let times = row.split_off(row.len() - 2);
            row.extend(list!["pending", 0_i64, false, 0_i64]);
            row.extend(times);
            row
        })
        .collect();
    connection
        .run_rows(
            "INSERT INTO tasks (id, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, ready, execution_config, \
             sealed_target, trusted, hops, rehearse, status, attempt, cancelled, tokens, run_at, created_at) VALUES",
            rows,
            "",
        )
        .await
}

/// Tasks that a worker now holds, and when the next one that is not yet due will be.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub tasks: Vec<Task>,
    pub next_at: Option<i64>,
}

struct Claim {
    worker: i64,
    limit: i64,
}

impl Write for Claim {
    type Answer = Claimed;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Claimed>>> {
        let mut answers = Vec::new();
        for claim in group {
            let time = now();
            let skip_locked = connection.dialect().skip_locked();
            let sql = format!(
                "WITH due AS MATERIALIZED \
                 (SELECT id FROM tasks WHERE ready AND status = 'pending' AND run_at <= $2 ORDER BY run_at LIMIT $3 {skip_locked}) \
                 UPDATE tasks SET status = 'running', worker = $1, attempt = attempt + 1, started_at = COALESCE(started_at, $2), \
                 context_seq = COALESCE(context_seq, (SELECT s.seq FROM sessions s WHERE s.id = tasks.session_id)) \
                 WHERE id IN (SELECT id FROM due) RETURNING {COLUMNS}"
            );
            let mut tasks: Vec<Task> = connection.all(sql, list![claim.worker, time, claim.limit]).await?;
            tasks.sort_by_key(|task| task.run_at);
            let next_at = if (tasks.len() as i64) < claim.limit {
                let sql = "SELECT MIN(run_at) FROM tasks WHERE ready AND status = 'pending'";
                connection.first::<(Option<i64>,)>(sql, list![]).await?.and_then(|(at,)| at)
            } else {
                Some(time)
            };
            answers.push(Ok(Claimed { tasks, next_at }));
        }
        Ok(answers)
    }
}

/// What asking a task to stop came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    pub status: String,
    /// It did not run, and ended by this.
    pub at_once: bool,
}

struct Cancel {
    id: Uuid,
}

impl Write for Cancel {
    type Answer = Cancelled;
    const WAKES: &'static [Bell] = &[Bell::Tasks, Bell::Outbox];

    fn followed(&self) -> Option<Uuid> {
        Some(self.id)
    }

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Cancelled>>> {
        let mut answers = Vec::new();
        for cancel in group {
            let sql = "UPDATE tasks SET cancelled = TRUE, \
                       completed_at = CASE WHEN status IN ('pending', 'waiting') THEN $2 ELSE completed_at END, \
                       status = CASE WHEN status IN ('pending', 'waiting') THEN 'cancelled' ELSE status END \
                       WHERE id = $1 AND status IN ('pending', 'waiting', 'running') RETURNING status, session_id";
            let row: Option<(String, Uuid)> = connection.first(sql, list![cancel.id, now()]).await?;
            answers.push(match row {
                Some((status, session)) => {
                    let at_once = status == "cancelled";
                    if at_once {
                        leave_session(connection, session, cancel.id).await?;
                        crate::outbox::take_back(cancel.id, &[], connection, now()).await?;
                    }
                    Ok(Cancelled { status, at_once })
                }
                None => match connection.first("SELECT status FROM tasks WHERE id = $1", list![cancel.id]).await? {
                    Some((status,)) => Ok(Cancelled { status, at_once: false }),
                    None => Err(Error::NotFound(format!("There is no task {}", cancel.id))),
                },
            });
        }
        Ok(answers)
    }
}

/// Makes the next task of a session its head, if this one was.
async fn leave_session(connection: &mut Connection, session: Uuid, task: Uuid) -> Result<()> {
    connection.lock("sessions", "id", vec![list![session]]).await?;
    let sql = "UPDATE sessions SET head = (SELECT t.id FROM tasks t WHERE t.session_id = sessions.id AND t.status = 'pending' \
               ORDER BY t.seq LIMIT 1) WHERE id = $1 AND head = $2 RETURNING head";
    if let Some((Some(head),)) = connection.first::<(Option<Uuid>,)>(sql, list![session, task]).await? {
        connection.run("UPDATE tasks SET ready = TRUE WHERE id = $1", list![head]).await?;
    }
    Ok(())
}

/// Sends waiting tasks on: one, or all.
struct Resume {
    id: Option<Uuid>,
    by: &'static str,
}

impl Write for Resume {
    type Answer = Vec<Uuid>;
    const WAKES: &'static [Bell] = &[Bell::Tasks];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<Uuid>>>> {
        let mut answers = Vec::new();
        for resume in group {
            answers.push(Ok(go_on(resume.id, resume.by, connection, now()).await?));
        }
        Ok(answers)
    }
}

/// Sends on one waiting task, or all that wait neither for a ceiling nor for their client.
pub(crate) async fn go_on(id: Option<Uuid>, by: &str, connection: &mut Connection, time: i64) -> Result<Vec<Uuid>> {
    let sql = "UPDATE tasks SET status = 'pending', ready = FALSE, run_at = $1, error = NULL WHERE status = 'waiting' \
               AND (id = $2 OR $2 IS NULL AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.task_id = tasks.id) \
               AND NOT EXISTS (SELECT 1 FROM client_calls c WHERE c.task_id = tasks.id)) \
               RETURNING id, session_id, attempt";
    let rows: Vec<(Uuid, Uuid, i64)> = connection.all(sql, list![time, id]).await?;
    for (task, session, attempt) in &rows {
        // One that never began has nothing to resume.
        if *attempt > 0 {
            let body = serde_json::json!({"kind": "resumed", "by": by}).to_string();
            let sql = "INSERT INTO steps (task_id, n, attempt, kind, body, created_at) \
                       SELECT $1, COALESCE(MAX(n), 0) + 1, $2, 'resumed', $3, $4 FROM steps WHERE task_id = $1";
            connection.run(sql, list![*task, *attempt, body, time]).await?;
        }
        let sql = "UPDATE sessions SET head = COALESCE(head, $2) WHERE id = $1 RETURNING head";
        let head: Option<(Option<Uuid>,)> = connection.first(sql, list![*session, *task]).await?;
        if head == Some((Some(*task),)) {
            connection.run("UPDATE tasks SET ready = TRUE WHERE id = $1", list![*task]).await?;
        }
        connection.run("DELETE FROM parked WHERE task_id = $1", list![*task]).await?;
    }
    Ok(rows.into_iter().map(|(id, _, _)| id).collect())
}

struct Retarget {
    id: Uuid,
    attempt: i64,
    worker: i64,
    sealed_target: String,
}

impl Write for Retarget {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for task in group {
            let sql = "UPDATE tasks SET sealed_target = $4 WHERE id = $1 AND worker = $2 AND attempt = $3 AND status = 'running'";
            let args = list![task.id, task.worker, task.attempt, &task.sealed_target];
            answers.push(if connection.run(sql, args).await? > 0 { Ok(()) } else { Err(Error::Fenced) });
        }
        Ok(answers)
    }
}

impl Store {
    /// Takes up to `limit` tasks that are due, oldest first, at most one of each session.
    pub async fn claim_tasks(&self, limit: i64) -> Result<Claimed> {
        self.writer.write(Claim { worker: self.worker, limit }).await
    }

    /// Sends the answer of a running task elsewhere than it was to go.
    pub async fn retarget_task(&self, task: &Task, sealed_target: String) -> Result<()> {
        let (id, attempt, worker) = (task.id, task.attempt, self.worker);
        self.writer.write(Retarget { id, attempt, worker, sealed_target }).await
    }

    /// Ends a task that does not run, asks one that runs to stop.
    pub async fn cancel_task(&self, id: Uuid) -> Result<Cancelled> {
        self.writer.write(Cancel { id }).await
    }

    /// Sends a waiting task on, or all of them but those that wait for a ceiling or for their client. Answers which.
    pub async fn resume_tasks(&self, id: Option<Uuid>, by: &'static str) -> Result<Vec<Uuid>> {
        self.writer.write(Resume { id, by }).await
    }

    pub async fn task(&self, id: Uuid) -> Result<Option<Task>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM tasks WHERE id = $1"), list![id]).await
    }

    /// Newest first, older than the task `after`.
    pub async fn tasks(
        &self,
        status: Option<&str>,
        session: Option<Uuid>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Task>> {
        // The few that have not ended are not looked for among all: each of their states has an index.
        let by_status = match status {
            None => "$1 IS NULL",
            Some("pending") => "status = 'pending' AND status = $1",
            Some("running") => "status = 'running' AND status = $1",
            Some("waiting") => "status = 'waiting' AND status = $1",
            Some(_) => "status = $1",
        };
        let by_session = match session {
            None => "$2 IS NULL",
            Some(_) => "id IN (SELECT m.task_id FROM messages m WHERE m.session_id = $2)",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM tasks WHERE {by_status} AND {by_session} AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4"
        );
        self.engine.read(sql, list![status, session, after, limit]).await
    }

    pub async fn tasks_with(&self, delivery: Uuid) -> Result<Vec<Task>> {
        self.engine
            .read(format!("SELECT {COLUMNS} FROM tasks WHERE delivery_id = $1 ORDER BY id"), list![delivery])
            .await
    }

    /// Tasks that have not ended by status, for metrics; and since when the oldest pending one is due.
    pub async fn queue(&self) -> Result<(Vec<(String, i64)>, Option<i64>)> {
        let sql = "SELECT 'pending', COUNT(*) FROM tasks WHERE status = 'pending' UNION ALL \
                   SELECT 'running', COUNT(*) FROM tasks WHERE status = 'running' UNION ALL \
                   SELECT 'waiting', COUNT(*) FROM tasks WHERE status = 'waiting'";
        let counts = self.engine.read(sql, list![]).await?;
        let oldest: Option<(Option<i64>,)> =
            self.engine.read_first("SELECT MIN(run_at) FROM tasks WHERE ready AND status = 'pending'", list![]).await?;
        Ok((counts, oldest.and_then(|(at,)| at)))
    }
}
