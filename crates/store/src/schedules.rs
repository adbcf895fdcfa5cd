//! Runs that begin by the clock. That a time came and the run it starts are one commit: a crash loses and doubles none.

use crate::{
    Accept, Accepted, Placed, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

/// Rows of its history that a schedule keeps.
const KEPT: i64 = 200;
const COLUMNS: &str = "id, name, definition, sealed_target, active, next_at, last_at, last_task, fires, runs, missed, \
                       skipped, created_at, updated_at";

#[derive(Debug, Clone)]
pub struct Schedule {
    pub id: Uuid,
    pub name: String,
    /// JSON object, the server's to understand.
    pub definition: String,
    pub sealed_target: Option<String>,
    /// False while it is paused.
    pub active: bool,
    /// Absent when it never fires again.
    pub next_at: Option<i64>,
    pub last_at: Option<i64>,
    pub last_task: Option<Uuid>,
    pub fires: i64,
    pub runs: i64,
    pub missed: i64,
    pub skipped: i64,
    pub created_at: i64,
    /// Who read it before fires nothing of it after.
    pub updated_at: i64,
}

record!(Schedule {
    id,
    name,
    definition,
    sealed_target,
    active,
    next_at,
    last_at,
    last_task,
    fires,
    runs,
    missed,
    skipped,
    created_at,
    updated_at
});

/// One row of a schedule's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireRow {
    pub n: i64,
    /// Absent when somebody asked for it.
    pub due_at: Option<i64>,
    pub fired_at: i64,
    /// `run`, `skipped`, `missed`, `refused` or `repeated`.
    pub outcome: String,
    pub missed: i64,
    pub task_id: Option<Uuid>,
    pub reason: Option<String>,
}

record!(FireRow { n, due_at, fired_at, outcome, missed, task_id, reason });

/// What happens when a time has come.
#[derive(Debug, Clone)]
pub struct Fire {
    pub schedule: Uuid,
    /// As it was read: what was changed since does not fire.
    pub updated_at: i64,
    /// The time that has come; absent when somebody asks for a run now.
    pub due_at: Option<i64>,
    pub next_at: Option<i64>,
    /// Times that came after this one and are not made up for.
    pub missed: i64,
    /// One message and its run; absent when it stays silent though the time has come.
    pub accept: Option<Accept>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fired {
    Run(Placed),
    /// Its last run is still open: nothing was started.
    Open(Uuid),
    /// This was there before; the message that came first.
    Repeated(Uuid),
    /// Nothing was started, as was asked.
    Silent,
    /// It was changed, paused, deleted or fired meanwhile.
    Gone,
}

enum Change {
    Create(Box<Schedule>),
    /// All but what is counted.
    Put(Box<Schedule>),
    Delete(Uuid),
    /// When it fires next, unless it was changed meanwhile.
    Move {
        id: Uuid,
        from: Option<i64>,
        to: Option<i64>,
    },
}

impl Write for Change {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let changed = match change {
                Self::Create(new) => {
                    let sql = "INSERT INTO schedules (id, name, definition, sealed_target, active, next_at, fires, runs, missed, \
                               skipped, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, 0, $7, $7) \
                               ON CONFLICT (id) DO NOTHING";
                    let args = list![
                        new.id,
                        &new.name,
                        &new.definition,
                        &new.sealed_target,
                        new.active,
                        new.next_at,
                        new.created_at
                    ];
                    connection.run(sql, args).await?
                }
                Self::Put(new) => {
                    let sql = "UPDATE schedules SET name = $2, definition = $3, sealed_target = $4, active = $5, next_at = $6, \
                               updated_at = $7 WHERE id = $1";
                    let args = list![
                        new.id,
                        &new.name,
                        &new.definition,
                        &new.sealed_target,
                        new.active,
                        new.next_at,
                        new.updated_at
                    ];
                    connection.run(sql, args).await?
                }
                Self::Delete(id) => {
                    connection.run("DELETE FROM fires WHERE schedule_id = $1", list![*id]).await?;
                    connection.run("DELETE FROM schedules WHERE id = $1", list![*id]).await?
                }
                Self::Move { id, from, to } => {
                    let sql = "UPDATE schedules SET next_at = $3 WHERE id = $1 AND next_at = $2 AND active";
                    connection.run(sql, list![*id, *from, *to]).await?
                }
            };
            answers.push(Ok(changed > 0));
        }
        Ok(answers)
    }
}

impl Write for Fire {
    type Answer = Fired;
    const WAKES: &'static [Bell] = &[Bell::Tasks, Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Fired>>> {
        let mut answers = Vec::with_capacity(group.len());
        for fire in group {
            answers.push(Ok(fire.happen(connection).await?));
        }
        Ok(answers)
    }
}

impl Fire {
    async fn happen(&self, connection: &mut Connection) -> Result<Fired> {
        let hold = connection.dialect().hold();
        let sql = format!(
            "SELECT t.last_task FROM schedules t WHERE t.id = $1 AND t.updated_at = $2 AND ($3 IS NULL OR (t.next_at = $3 AND t.active)){hold}"
        );
        let args = list![self.schedule, self.updated_at, self.due_at];
        let Some((last,)) = connection.first::<(Option<Uuid>,)>(sql, args).await? else { return Ok(Fired::Gone) };
        let Some(accept) = &self.accept else {
            let reason = Some("Its time passed while the server was away, and now it is to be silent".into());
            self.note("missed", None, reason, connection).await?;
            return Ok(Fired::Silent);
        };
        if let Some(last) = last {
            let sql = "SELECT status FROM tasks WHERE id = $1 AND status IN ('pending', 'running', 'waiting')";
            if connection.first::<(String,)>(sql, list![last]).await?.is_some() {
                // Who asks for a run is told; only times that came by themselves are part of the history.
                if self.due_at.is_some() {
                    let reason = Some(format!("Its last run, {last}, was still open"));
                    self.note("skipped", None, reason, connection).await?;
                }
                return Ok(Fired::Open(last));
            }
        }
        let answer = Accept::run(&[accept], connection).await?.pop().expect("each accept has an answer")?;
        match answer {
            Accepted::New(mut placed) => {
                let placed = placed.pop().expect("each item has a place");
                let refused = placed.refused.as_ref().map(|scope| format!("The ceiling of `{scope}` is reached"));
                let outcome = if refused.is_some() { "refused" } else { "run" };
                self.note(outcome, placed.task_id, refused, connection).await?;
                Ok(Fired::Run(placed))
            }
            Accepted::Duplicate(first) => {
                if self.due_at.is_some() {
                    let reason = Some("This time was there before the clock was put back".into());
                    self.note("repeated", None, reason, connection).await?;
                }
                Ok(Fired::Repeated(first))
            }
        }
    }

    /// Counts, moves on, and writes the history.
    async fn note(
        &self,
        outcome: &str,
        task: Option<Uuid>,
        reason: Option<String>,
        connection: &mut Connection,
    ) -> Result<()> {
        let time = now();
        let one = |is: &str| i64::from(outcome == is);
        let sql = "UPDATE schedules SET next_at = CASE WHEN $2 THEN $3 ELSE next_at END, last_at = $4, \
                   last_task = COALESCE($5, last_task), fires = fires + 1, runs = runs + $6, skipped = skipped + $7, \
                   missed = missed + $8 WHERE id = $1 RETURNING fires";
        let args = list![
            self.schedule,
            self.due_at.is_some(),
            self.next_at,
            time,
            task,
            one("run"),
            one("skipped"),
            self.missed
        ];
        let (n,): (i64,) = connection.first(sql, args).await?.unwrap_or_default();
        let sql = "INSERT INTO fires (schedule_id, n, due_at, fired_at, outcome, missed, task_id, reason) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let args = list![self.schedule, n, self.due_at, time, outcome, self.missed, task, reason];
        connection.run(sql, args).await?;
        let sql = "DELETE FROM fires WHERE schedule_id = $1 AND n <= $2";
        connection.run(sql, list![self.schedule, n - KEPT]).await.map(drop)
    }
}

impl Store {
    /// Newest first.
    pub async fn schedules(&self, after: Option<Uuid>, limit: i64) -> Result<Vec<Schedule>> {
        let sql = format!("SELECT {COLUMNS} FROM schedules WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
        self.engine.read(sql, list![after, limit]).await
    }

    pub async fn schedule(&self, id: Uuid) -> Result<Option<Schedule>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM schedules WHERE id = $1"), list![id]).await
    }

    /// Those whose time has come, the longest waiting first, and when the next one's will.
    pub async fn due_schedules(&self, time: i64, limit: i64) -> Result<(Vec<Schedule>, Option<i64>)> {
        let sql = format!("SELECT {COLUMNS} FROM schedules WHERE active AND next_at <= $1 ORDER BY next_at LIMIT $2");
        let due = self.engine.read(sql, list![time, limit]).await?;
        let sql = "SELECT MIN(next_at) FROM schedules WHERE active AND next_at > $1";
        let next = self.engine.read_first::<(Option<i64>,)>(sql, list![time]).await?;
        Ok((due, next.and_then(|(at,)| at)))
    }

    /// Answers false when its id is taken.
    pub async fn create_schedule(&self, new: Schedule) -> Result<bool> {
        self.writer.write(Change::Create(Box::new(new))).await
    }

    /// Answers whether there was one. What is counted stays.
    pub async fn put_schedule(&self, new: Schedule) -> Result<bool> {
        self.writer.write(Change::Put(Box::new(new))).await
    }

    /// With its history. Answers whether there was one.
    pub async fn delete_schedule(&self, id: Uuid) -> Result<bool> {
        self.writer.write(Change::Delete(id)).await
    }

    /// Corrects when a schedule fires next, unless that was changed meanwhile.
    pub async fn move_schedule(&self, id: Uuid, from: Option<i64>, to: Option<i64>) -> Result<bool> {
        self.writer.write(Change::Move { id, from, to }).await
    }

    pub async fn fire(&self, fire: Fire) -> Result<Fired> {
        self.writer.write(fire).await
    }

    /// What came first under a key that makes repetitions known.
    pub async fn first_of(&self, key: &str) -> Result<Option<Uuid>> {
        let sql = "SELECT subject FROM dedupe WHERE key = $1 AND expires_at > $2";
        let first = self.engine.read_first::<(Uuid,)>(sql, list![key, now()]).await?;
        Ok(first.map(|(subject,)| subject))
    }

    /// The history of a schedule, newest first.
    pub async fn fires(&self, schedule: Uuid, before: Option<i64>, limit: i64) -> Result<Vec<FireRow>> {
        let sql = "SELECT n, due_at, fired_at, outcome, missed, task_id, reason FROM fires \
                   WHERE schedule_id = $1 AND n < $2 ORDER BY n DESC LIMIT $3";
        self.engine.read(sql, list![schedule, before.unwrap_or(i64::MAX), limit]).await
    }
}
