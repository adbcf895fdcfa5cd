//! Runs that wait for a ceiling, and messages that one run shall answer together.

use crate::{
    Ceiling, NewTask, Result, Store,
    engine::{Arg, Connection, list, record},
    now,
    usage::{Asked, admit},
    writer::{Bell, Write},
};
use std::collections::HashMap;
use uuid::Uuid;

/// A run that a ceiling does not let go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The task, or the session whose messages wait.
    pub id: Uuid,
    pub bot_id: String,
    pub origin: String,
    pub client_id: String,
    pub execution_config: Option<String>,
    pub rehearse: bool,
    /// 0 for a task.
    pub messages: i64,
    /// The scope that was full.
    pub scope: String,
    pub created_at: i64,
}

record!(Held { id, bot_id, origin, client_id, execution_config, rehearse, messages, scope, created_at });

/// What shall go on if its ceilings let it.
#[derive(Debug, Clone)]
pub struct Release {
    pub held: Held,
    pub ceilings: Vec<Ceiling>,
    /// Who or what lets it.
    pub by: &'static str,
}

/// A message whose run waits for others.
pub(crate) struct Digest<'a> {
    pub session: Uuid,
    pub message: Uuid,
    pub seq: i64,
    pub task: &'a NewTask,
    pub delivery: Option<Uuid>,
    pub trusted: bool,
    pub hops: u32,
    pub scope: &'a str,
}

/// Makes tasks that were just inserted wait.
pub(crate) async fn park(tasks: &[(Uuid, &str)], connection: &mut Connection, time: i64) -> Result<()> {
    let error = |scope: &str| {
        let (message, hint) = match scope.strip_prefix("paused:") {
            Some(paused) => (format!("`{paused}` is paused"), "The run goes on when it is resumed"),
            None => (
                format!("The ceiling of `{scope}` is reached"),
                "The run goes on when the window of the ceiling is over, or when the ceiling is raised",
            ),
        };
        serde_json::json!({"code": "rate_limited", "message": message, "hint": hint}).to_string()
    };
    let rows = tasks.iter().map(|(task, scope)| list![*task, error(scope)]).collect();
    connection
        .run_rows(
            "UPDATE tasks SET status = 'waiting', ready = FALSE, error = v.column2 FROM (VALUES",
            rows,
            ") AS v WHERE tasks.id = v.column1",
        )
        .await?;
    note(tasks, false, connection, time).await
}

/// Notes for which ceiling tasks wait.
pub(crate) async fn note(tasks: &[(Uuid, &str)], counted: bool, connection: &mut Connection, time: i64) -> Result<()> {
    let rows = tasks.iter().map(|(task, scope)| list![*task, *scope, counted, time]).collect();
    let after = " ON CONFLICT (task_id) DO UPDATE SET scope = excluded.scope, counted = excluded.counted";
    connection.run_rows("INSERT INTO parked (task_id, scope, counted, created_at) VALUES", rows, after).await
}

/// Keeps the newest message of each session, and how many there are.
pub(crate) async fn gather(all: &[Digest<'_>], connection: &mut Connection, time: i64) -> Result<()> {
    let mut newest: HashMap<Uuid, (&Digest, i64)> = HashMap::new();
    for one in all {
        let entry = newest.entry(one.session).or_insert((one, 0));
        *entry = (one, entry.1 + 1);
    }
    let row = |(d, count): (&Digest, i64)| -> Vec<Arg> {
        let task = d.task;
        list![
            d.session,
            d.message,
            d.seq,
            task.channel_id,
            d.delivery,
            &task.bot_id,
            &task.origin,
            &task.execution_config,
            &task.sealed_target,
            d.trusted,
            d.hops,
            count,
            d.scope,
            time
        ]
    };
    let mut rows: Vec<_> = newest.into_values().map(row).collect();
    rows.sort();
    connection
        .run_rows(
            "INSERT INTO digests (session_id, message_id, seq, channel_id, delivery_id, bot_id, origin, execution_config, \
             sealed_target, trusted, hops, messages, scope, created_at) VALUES",
            rows,
            " ON CONFLICT (session_id) DO UPDATE SET message_id = excluded.message_id, seq = excluded.seq, \
             channel_id = excluded.channel_id, delivery_id = excluded.delivery_id, bot_id = excluded.bot_id, \
             origin = excluded.origin, execution_config = excluded.execution_config, sealed_target = excluded.sealed_target, \
             trusted = excluded.trusted AND digests.trusted, hops = excluded.hops, \
             messages = digests.messages + excluded.messages, scope = excluded.scope",
        )
        .await
}

struct Releasing(Vec<Release>);

impl Write for Releasing {
    type Answer = Vec<Uuid>;
    const WAKES: &'static [Bell] = &[Bell::Tasks];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<Uuid>>>> {
        let mut answers = Vec::new();
        for Self(all) in group {
            answers.push(Ok(release(all, connection).await?));
        }
        Ok(answers)
    }
}

/// The tasks that go on.
async fn release(all: &[Release], connection: &mut Connection) -> Result<Vec<Uuid>> {
    let time = now();
    let (digests, tasks): (Vec<&Release>, Vec<&Release>) = all.iter().partition(|one| one.held.messages > 0);
    let mut released = Vec::new();

    let ids = |all: &[&Release]| all.iter().map(|one| list![one.held.id]).collect::<Vec<_>>();
    let waiting: HashMap<Uuid, bool> = connection
        .all_rows(
            "SELECT p.task_id, p.counted FROM parked p CROSS JOIN tasks t WHERE t.id = p.task_id AND t.status = 'waiting' \
             AND p.task_id IN (VALUES",
            ids(&tasks),
            ")",
        )
        .await?
        .into_iter()
        .collect();
    let (tasks, gone): (Vec<&Release>, Vec<&Release>) =
        tasks.into_iter().partition(|one| waiting.contains_key(&one.held.id));
    connection.run_rows("DELETE FROM parked WHERE task_id IN (VALUES", ids(&gone), ")").await?;
    let asked: Vec<Asked> =
        tasks.iter().map(|one| Asked { ceilings: &one.ceilings, is_counted: waiting[&one.held.id] }).collect();
    let full = admit(&asked, connection).await?;
    for (one, _) in tasks.iter().zip(full).filter(|(_, full)| full.is_none()) {
        released.extend(crate::tasks::go_on(Some(one.held.id), one.by, connection, time).await?);
    }

    let sql = "SELECT session_id, messages, created_at FROM digests WHERE session_id IN (VALUES";
    let open: Vec<(Uuid, i64, i64)> = connection.all_rows(sql, ids(&digests), ")").await?;
    // One to which a message has come since it was read waits for the next look: its run would not be that message's.
    let is_as_read = |Held { id, messages, created_at, .. }: &Held| open.contains(&(*id, *messages, *created_at));
    let digests: Vec<&Release> = digests.into_iter().filter(|one| is_as_read(&one.held)).collect();
    let asked: Vec<Asked> = digests.iter().map(|one| Asked { ceilings: &one.ceilings, is_counted: false }).collect();
    let full = admit(&asked, connection).await?;
    for (one, _) in digests.iter().zip(full).filter(|(_, full)| full.is_none()) {
        released.push(answer_together(one, connection, time).await?);
    }
    Ok(released)
}

/// Makes the one run of a session's messages, as the newest of them has it.
async fn answer_together(one: &Release, connection: &mut Connection, time: i64) -> Result<Uuid> {
    let (session, task) = (one.held.id, Uuid::now_v7());
    let head: Option<(Option<Uuid>,)> = connection
        .first("UPDATE sessions SET head = COALESCE(head, $2) WHERE id = $1 RETURNING head", list![session, task])
        .await?;
    let sql = "INSERT INTO tasks (id, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, ready, \
               execution_config, sealed_target, trusted, hops, rehearse, status, attempt, cancelled, tokens, run_at, created_at) \
               SELECT $2, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, $3, $4, sealed_target, trusted, \
               hops, FALSE, 'pending', 0, FALSE, 0, $5, $5 FROM digests WHERE session_id = $1";
    let is_ready = head == Some((Some(task),));
    connection.run(sql, list![session, task, is_ready, &one.held.execution_config, time]).await?;
    let sql = "UPDATE messages SET task_id = $2 WHERE id = (SELECT message_id FROM digests WHERE session_id = $1)";
    connection.run(sql, list![session, task]).await?;
    connection.run("DELETE FROM digests WHERE session_id = $1", list![session]).await?;
    Ok(task)
}

impl Store {
    /// Tasks that wait for a ceiling, oldest first, after that one.
    pub async fn parked(&self, after: Option<&Held>, limit: i64) -> Result<Vec<Held>> {
        let (at, id) = after.map_or((0, Uuid::nil()), |held| (held.created_at, held.id));
        let sql = "SELECT p.task_id AS id, t.bot_id, t.origin, s.client_id, t.execution_config, t.rehearse, \
                   CAST(0 AS BIGINT) AS messages, p.scope, p.created_at \
                   FROM parked p CROSS JOIN tasks t CROSS JOIN sessions s WHERE t.id = p.task_id AND s.id = t.session_id \
                   AND (p.created_at, p.task_id) > ($1, $2) ORDER BY p.created_at, p.task_id LIMIT $3";
        self.engine.read(sql, list![at, id, limit]).await
    }

    /// Sessions with messages that wait for their one run, longest first, after that one.
    pub async fn digests(&self, after: Option<&Held>, limit: i64) -> Result<Vec<Held>> {
        let (at, id) = after.map_or((0, Uuid::nil()), |held| (held.created_at, held.id));
        let sql = "SELECT d.session_id AS id, d.bot_id, d.origin, s.client_id, d.execution_config, FALSE AS rehearse, \
                   d.messages, d.scope, d.created_at \
                   FROM digests d CROSS JOIN sessions s WHERE s.id = d.session_id \
                   AND (d.created_at, d.session_id) > ($1, $2) ORDER BY d.created_at, d.session_id LIMIT $3";
        self.engine.read(sql, list![at, id, limit]).await
    }

    /// Lets go on what its ceilings let. Answers the tasks.
    pub async fn release(&self, all: Vec<Release>) -> Result<Vec<Uuid>> {
        self.writer.write(Releasing(all)).await
    }
}
