//! What a run has done: the log that it is resumed from, and the commit that ends it.

use crate::{
    ClientCalls, Counts, Error, HookEvent, NewOutbox, Result, Spent, Store, client_calls,
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct StepRow {
    pub task_id: Uuid,
    pub n: i64,
    pub attempt: i64,
    pub kind: String,
    /// JSON of an `agent::Step`.
    pub body: String,
    pub created_at: i64,
}

record!(StepRow { task_id, n, attempt, kind, body, created_at });

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
    /// What models took for it.
    pub used: Counts,
    /// The same, where it is counted.
    pub spent: Vec<Spent>,
    /// The ceiling that a run which ends waiting waits for.
    pub parked: Option<String>,
    pub client: ClientCalls,
    /// What happened, for those outside who want to know.
    pub events: Vec<HookEvent>,
    /// It may have shown the beginning of an answer, so that the end looks for one.
    pub begun: bool,
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
    const WAKES: &'static [Bell] = &[Bell::Outbox, Bell::Tasks];

    fn followed(&self) -> Option<Uuid> {
        Some(self.commit.task)
    }

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let time = now();
        let held = fence(group, connection).await?;
        let holding: Vec<&Commit> =
            group.iter().zip(&held).filter(|(_, held)| **held).map(|(c, _)| &c.commit).collect();
        insert_steps(&holding, connection, time).await?;
        count_tokens(&holding, connection).await?;
        let client: Vec<(Uuid, &ClientCalls)> = holding.iter().map(|commit| (commit.task, &commit.client)).collect();
        client_calls::change(&client, connection).await?;
        end_tasks(&holding, connection, time).await?;
        client_calls::look(&client, connection, time).await?;
        let parked: Vec<(Uuid, &str)> =
            holding.iter().filter_map(|commit| Some((commit.task, commit.parked.as_deref()?))).collect();
        crate::parked::note(&parked, true, connection, time).await?;
        crate::hooks::insert_events(holding.iter().flat_map(|commit| &commit.events), connection).await?;
        Ok(held.into_iter().map(|held| if held { Ok(()) } else { Err(Error::Fenced) }).collect())
    }
}

/// Whether each commit's worker holds the task in that attempt. In one group nothing may come after an end.
async fn fence(group: &[&Committing], connection: &mut Connection) -> Result<Vec<bool>> {
    let rows = group.iter().map(|c| list![c.commit.task, c.worker, c.commit.attempt]).collect();
    let hold = connection.dialect().hold();
    let mut held: HashSet<(Uuid, i64)> = connection
        .all_rows(
            "SELECT t.id, t.attempt FROM (VALUES",
            rows,
            &format!(
                ") AS v CROSS JOIN tasks t WHERE t.id = v.column1 AND t.worker = v.column2 AND t.attempt = v.column3 \
                 AND t.status = 'running' ORDER BY t.id{hold}"
            ),
        )
        .await?
        .into_iter()
        .collect();
    let holds = |c: &&Committing| {
        let key = (c.commit.task, c.commit.attempt);
        if c.commit.end.is_some() { held.remove(&key) } else { held.contains(&key) }
    };
    Ok(group.iter().map(holds).collect())
}

async fn insert_steps(commits: &[&Commit], connection: &mut Connection, time: i64) -> Result<()> {
    let rows = commits
        .iter()
        .flat_map(|c| c.steps.iter().map(|step| list![c.task, step.n, c.attempt, &step.kind, &step.body, time]))
        .collect();
    connection.run_rows("INSERT INTO steps (task_id, n, attempt, kind, body, created_at) VALUES", rows, "").await
}

async fn count_tokens(commits: &[&Commit], connection: &mut Connection) -> Result<()> {
    let mut tasks: BTreeMap<Uuid, Counts> = BTreeMap::new();
    for commit in commits.iter().filter(|commit| commit.used != Counts::default()) {
        *tasks.entry(commit.task).or_default() += commit.used;
    }
    let row = |(task, used): (Uuid, Counts)| list![task, used.tokens(), used.completion_tokens, used.cost];
    connection
        .run_rows(
            "UPDATE tasks SET tokens = tasks.tokens + v.column2, completion_tokens = tasks.completion_tokens + v.column3, \
             cost = tasks.cost + v.column4 FROM (VALUES",
            tasks.into_iter().map(row).collect(),
            ") AS v WHERE tasks.id = v.column1",
        )
        .await?;
    crate::usage::spend(commits.iter().flat_map(|commit| &commit.spent), connection).await
}

async fn end_tasks(commits: &[&Commit], connection: &mut Connection, time: i64) -> Result<()> {
    let begun: HashSet<Uuid> = commits.iter().filter(|commit| commit.begun).map(|commit| commit.task).collect();
    let ends: HashMap<Uuid, &End> = commits.iter().filter_map(|c| Some((c.task, c.end.as_ref()?))).collect();
    let rows = commits
        .iter()
        .filter_map(|commit| Some((commit.task, commit.end.as_ref()?)))
        .map(|(task, end)| {
            let (status, result, error) = match end {
                End::Complete { text, .. } => ("complete", Some(text), None),
                End::Failed(error) => ("failed", None, Some(error)),
                End::Cancelled => ("cancelled", None, None),
                End::Waiting(error) => ("waiting", None, Some(error)),
            };
            list![task, status, result.cloned(), error.cloned(), time]
        })
        .collect();
    // Who asked a run to stop shall not find it waiting.
    let ended: Vec<(Uuid, Uuid, String)> = connection
        .all_rows(
            "UPDATE tasks SET status = CASE WHEN v.column2 = 'waiting' AND tasks.cancelled THEN 'cancelled' ELSE v.column2 END, \
             result = v.column3, error = v.column4, worker = NULL, ready = FALSE, \
             completed_at = CASE WHEN v.column2 = 'waiting' AND NOT tasks.cancelled THEN NULL ELSE v.column5 END FROM (VALUES",
            rows,
            ") AS v WHERE tasks.id = v.column1 RETURNING id, session_id, status",
        )
        .await?;
    connection.lock("sessions", "id", ended.iter().map(|(_, session, _)| list![*session]).collect()).await?;
    let sessions = ended
        .iter()
        .map(|(task, session, _)| list![*session, i64::from(matches!(ends[task], End::Complete { .. })), time])
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
    for (task, session, status) in &ended {
        if begun.contains(task) && status != "waiting" {
            let answers = if let End::Complete { outbox, .. } = ends[task] { outbox.as_slice() } else { &[] };
            crate::outbox::take_back(*task, answers, connection, time).await?;
        }
        if let End::Complete { message_id, text, trusted, hops, outbox: parts } = ends[task] {
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
    crate::outbox::insert_all(&outbox, connection, time).await
}

impl Store {
    /// # Errors
    /// `Fenced` when the task is no longer held by this worker in that attempt: its run must stop.
    pub async fn commit(&self, commit: Commit) -> Result<()> {
        self.writer.write(Committing { worker: self.worker, commit }).await
    }

    /// The steps of a task after the n-th.
    pub async fn first_step(&self, task: Uuid) -> Result<Option<StepRow>> {
        let sql = "SELECT task_id, n, attempt, kind, body, created_at FROM steps WHERE task_id = $1 ORDER BY n LIMIT 1";
        self.engine.read_first(sql, list![task]).await
    }

    pub async fn steps(&self, task: Uuid, after: i64) -> Result<Vec<StepRow>> {
        let sql =
            "SELECT task_id, n, attempt, kind, body, created_at FROM steps WHERE task_id = $1 AND n > $2 ORDER BY n";
        self.engine.read(sql, list![task, after]).await
    }

    /// What tools answered in a run.
    pub async fn tool_steps(&self, task: Uuid) -> Result<Vec<String>> {
        let sql = "SELECT body FROM steps WHERE task_id = $1 AND kind = 'tool' ORDER BY n";
        let rows: Vec<(String,)> = self.engine.read(sql, list![task]).await?;
        Ok(rows.into_iter().map(|(body,)| body).collect())
    }
}
