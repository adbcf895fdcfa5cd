//! Calls of tools that the client of a conversation has: asked for when the run begins to wait, answered by whoever speaks
//! for the client, taken up when the run goes on.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    tasks::go_on,
    writer::{Bell, Write},
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCall {
    pub session_id: Uuid,
    /// Unique in its task.
    pub call_id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
    /// JSON, once it is there.
    pub answer: Option<String>,
    pub asked_at: i64,
    pub expires_at: i64,
}

record!(ClientCall { session_id, call_id, name, arguments, answer, asked_at, expires_at });

const COLUMNS: &str = "session_id, call_id, name, arguments, answer, asked_at, expires_at";

/// What a commit of a run changes in them.
#[derive(Debug, Clone, Default)]
pub struct ClientCalls {
    /// Those that the run waits for. One that was asked for before keeps its time.
    pub asked: Vec<ClientCall>,
    /// Those whose results are among the steps.
    pub done: Vec<String>,
}

/// Before the runs end that begin to wait.
pub(crate) async fn change(all: &[(Uuid, &ClientCalls)], connection: &mut Connection) -> Result<()> {
    let done = all.iter().flat_map(|(task, calls)| calls.done.iter().map(|call| list![*task, call])).collect();
    connection.run_rows("DELETE FROM client_calls WHERE (task_id, call_id) IN (VALUES", done, ")").await?;
    let row = |task: Uuid, call: &ClientCall| {
        let ClientCall { session_id, call_id, name, arguments, asked_at, expires_at, .. } = call;
        list![task, *session_id, call_id, name, arguments, *asked_at, *expires_at]
    };
    let asked = all.iter().flat_map(|(task, calls)| calls.asked.iter().map(|call| row(*task, call))).collect();
    let sql = "INSERT INTO client_calls (task_id, session_id, call_id, name, arguments, asked_at, expires_at) VALUES";
    connection.run_rows(sql, asked, " ON CONFLICT DO NOTHING").await
}

/// After they have ended: what was answered meanwhile is waited for no more.
pub(crate) async fn look(all: &[(Uuid, &ClientCalls)], connection: &mut Connection, time: i64) -> Result<()> {
    for (task, _) in all.iter().filter(|(_, calls)| !calls.asked.is_empty()) {
        go_on_when_answered(*task, connection, time).await?;
    }
    Ok(())
}

async fn go_on_when_answered(task: Uuid, connection: &mut Connection, time: i64) -> Result<()> {
    let sql = "SELECT call_id FROM client_calls WHERE task_id = $1 AND answer IS NULL LIMIT 1";
    let open: Option<(String,)> = connection.first(sql, list![task]).await?;
    if open.is_none() {
        go_on(Some(task), "the client", connection, time).await?;
    }
    Ok(())
}

struct Answer {
    task: Uuid,
    call_id: String,
    answer: String,
}

impl Write for Answer {
    type Answer = bool;
    const WAKES: &'static [Bell] = &[Bell::Tasks];

    fn followed(&self) -> Option<Uuid> {
        Some(self.task)
    }

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for Self { task, call_id, answer } in group {
            let sql = "UPDATE client_calls SET answer = COALESCE(answer, $3) WHERE task_id = $1 AND call_id = $2 \
                       AND EXISTS (SELECT 1 FROM tasks t WHERE t.id = $1 AND t.status IN ('pending', 'running', 'waiting') \
                       AND NOT t.cancelled)";
            let is_taken = connection.run(sql, list![*task, call_id, answer]).await? > 0;
            if is_taken {
                go_on_when_answered(*task, connection, now()).await?;
            }
            answers.push(Ok(is_taken));
        }
        Ok(answers)
    }
}

/// Sends on what waited long enough, and forgets the calls of runs that have ended.
struct Expire;

impl Write for Expire {
    type Answer = ();
    const WAKES: &'static [Bell] = &[Bell::Tasks];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let time = now();
        let sql = "SELECT DISTINCT c.task_id, t.status FROM client_calls c CROSS JOIN tasks t \
                   WHERE c.expires_at <= $1 AND t.id = c.task_id";
        for (task, status) in connection.all::<(Uuid, String)>(sql, list![time]).await? {
            match status.as_str() {
                "waiting" => drop(go_on(Some(task), "the end of the wait for the client", connection, time).await?),
                "pending" | "running" => {}
                _ => drop(connection.run("DELETE FROM client_calls WHERE task_id = $1", list![task]).await?),
            }
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// The calls that a task waits for, or waited for and has not taken up yet.
    pub async fn client_calls(&self, task: Uuid) -> Result<Vec<ClientCall>> {
        let sql = format!("SELECT {COLUMNS} FROM client_calls WHERE task_id = $1 ORDER BY asked_at, call_id");
        self.engine.read(sql, list![task]).await
    }

    /// Answers a call, unless it has an answer; its run goes on when all its calls have one. Answers whether there is
    /// such a call of a task that has not ended.
    pub async fn answer_client_call(&self, task: Uuid, call_id: String, answer: String) -> Result<bool> {
        self.writer.write(Answer { task, call_id, answer }).await
    }

    /// The newest task of a session that waits for its client; for this call, if one is named.
    pub async fn task_of_client(&self, session: Uuid, call_id: Option<&str>) -> Result<Option<Uuid>> {
        let sql = "SELECT c.task_id FROM client_calls c WHERE c.session_id = $1 AND ($2 IS NULL OR c.call_id = $2) \
                   AND (SELECT t.status FROM tasks t WHERE t.id = c.task_id) IN ('pending', 'running', 'waiting') \
                   ORDER BY c.asked_at DESC LIMIT 1";
        let row: Option<(Uuid,)> = self.engine.read_first(sql, list![session, call_id]).await?;
        Ok(row.map(|(task,)| task))
    }

    /// Sends on the runs whose clients did not answer in time. Answers when the next one has waited long enough.
    pub async fn expire_client_calls(&self) -> Result<Option<i64>> {
        let sql = "SELECT MIN(expires_at) FROM client_calls WHERE expires_at > $1";
        let due = "SELECT task_id FROM client_calls WHERE expires_at <= $1 LIMIT 1";
        let time = now();
        if self.engine.read_first::<(Uuid,)>(due, list![time]).await?.is_some() {
            self.writer.write(Expire).await?;
        }
        Ok(self.engine.read_first::<(Option<i64>,)>(sql, list![time]).await?.and_then(|(at,)| at))
    }
}
