//! A store in a directory of its own, short ways to say what goes in, and what must hold whatever happened.

#[path = "../../../../tests/harness/postgres.rs"]
pub mod postgres;

use postgres::{Database, Postgres};
use rusqlite::types::ValueRef;
use sqlx::{AssertSqlSafe, Column, Connection, PgConnection, Row, TypeInfo, postgres::PgRow};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tercel_store::{
    Accept, Accepted, Action, Announcement, AttemptEnd, Ceiling, ClientCalls, Commit, Counts, DirectoryLock, End,
    Error, Fire, Gap, Item, NewDelivery, NewMessage, NewOutbox, NewStep, NewSync, NewTask, Placed, Polled,
    PostgresOptions, Result, Schedule, SessionRef, Spent, Store, Task, Uuid,
    accept::{Busy, Fewer},
};
use tokio::{runtime::Runtime, sync::Mutex};

pub struct World {
    pub store: Arc<Store>,
    pub directory: TempDir,
    lock: Option<DirectoryLock>,
    database: Option<Database>,
    /// Looks at the database from outside.
    eye: Mutex<Option<PgConnection>>,
}

/// On SQLite.
pub async fn store() -> World {
    let directory = tempfile::tempdir().unwrap();
    let lock = DirectoryLock::take(directory.path()).unwrap();
    let store = Store::open(&lock, directory.path()).await.unwrap();
    World { store, directory, lock: Some(lock), database: None, eye: Mutex::default() }
}

/// On PostgreSQL.
pub async fn postgres_store() -> World {
    let database = Postgres::shared().with_tables(|empty| {
        // With a runtime of its own: who asks for the store is in the middle of one.
        let make = || Runtime::new().unwrap().block_on(async { open(empty).await.unwrap().close().await });
        std::thread::scope(|scope| scope.spawn(make).join()).unwrap();
    });
    world_on(database).await
}

pub async fn world_on(database: Database) -> World {
    let store = open(&database).await.unwrap();
    World {
        store,
        directory: tempfile::tempdir().unwrap(),
        lock: None,
        database: Some(database),
        eye: Mutex::default(),
    }
}

pub async fn open(database: &Database) -> Result<Arc<Store>> {
    Store::open_postgres(&database.url.clone().into(), PostgresOptions::default()).await
}

/// Whether a write was refused because its process is not the one that counts any more.
pub fn is_out<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(Error::Fenced | Error::Away(_)))
}

impl World {
    /// A new process on the same database; answers what the old one still holds.
    pub async fn restart(&mut self) -> Arc<Store> {
        let store = match &self.database {
            Some(database) => {
                cut(database).await;
                open(database).await.unwrap()
            }
            None => {
                drop(self.lock.take());
                let lock = DirectoryLock::take(self.directory.path()).unwrap();
                let store = Store::open(&lock, self.directory.path()).await.unwrap();
                self.lock = Some(lock);
                store
            }
        };
        std::mem::replace(&mut self.store, store)
    }

    /// Another one on the same engine.
    pub async fn another(&self) -> Self {
        match self.database {
            Some(_) => postgres_store().await,
            None => store().await,
        }
    }

    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("it is on PostgreSQL")
    }

    pub async fn accept(&self, accept: Accept) -> Placed {
        placed(self.store.accept(accept).await)
    }

    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("tercel.db")).unwrap()
    }

    /// The rows of a query, their columns joined.
    pub async fn rows(&self, sql: &'static str) -> Vec<String> {
        match &self.database {
            None => {
                let connection = self.sql();
                let mut statement = connection.prepare(sql).unwrap();
                let columns = statement.column_count();
                let lines = statement.query_map((), |row| Ok(sqlite_line(row, columns))).unwrap();
                lines.collect::<Result<_, _>>().unwrap()
            }
            Some(database) => {
                let mut eye = self.eye.lock().await;
                if eye.is_none() {
                    *eye = Some(self::eye(&database.url).await);
                }
                let rows = sqlx::query(sql).fetch_all(eye.as_mut().unwrap()).await.unwrap();
                rows.iter().map(postgres_line).collect()
            }
        }
    }

    /// Each query names what is wrong; none may find anything.
    pub async fn is_consistent(&self) {
        for sql in [
            "SELECT 'not one head', s.id FROM sessions s WHERE (s.head IS NOT NULL) <> EXISTS \
             (SELECT 1 FROM tasks t WHERE t.session_id = s.id AND t.status IN ('pending', 'running'))",
            "SELECT 'head is not live', s.id FROM sessions s JOIN tasks t ON t.id = s.head \
             WHERE t.status NOT IN ('pending', 'running') OR NOT t.ready OR t.session_id <> s.id",
            "SELECT 'ready without being head', t.id FROM tasks t JOIN sessions s ON s.id = t.session_id \
             WHERE t.status IN ('pending', 'running') AND t.ready AND t.id <> s.head",
            "SELECT 'runs without being head', t.id FROM tasks t JOIN sessions s ON s.id = t.session_id \
             WHERE t.status = 'running' AND t.id <> s.head",
            "SELECT 'a hole in the messages', s.id FROM sessions s LEFT JOIN messages m ON m.session_id = s.id \
             GROUP BY s.id HAVING COUNT(m.id) <> s.seq OR COALESCE(MAX(m.seq), 0) <> s.seq",
            "SELECT 'a task without its message', t.id FROM tasks t LEFT JOIN messages m ON m.id = t.message_id \
             WHERE m.seq IS DISTINCT FROM t.seq OR m.task_id IS DISTINCT FROM t.id",
            "SELECT 'not one head', t.key FROM targets t WHERE (t.head IS NOT NULL) <> EXISTS \
             (SELECT 1 FROM outbox o WHERE o.target = t.key AND o.state IN ('pending', 'sending'))",
            "SELECT 'head is not live', t.key FROM targets t JOIN outbox o ON o.id = t.head \
             WHERE o.state NOT IN ('pending', 'sending') OR NOT o.ready OR o.target <> t.key",
            "SELECT 'leaves without being head', o.id FROM outbox o JOIN targets t ON t.key = o.target \
             WHERE (o.state = 'sending' OR o.state = 'pending' AND o.ready) AND o.id IS DISTINCT FROM t.head",
            "SELECT 'an attempt too few or too many', o.id FROM outbox o \
             WHERE o.attempts <> (SELECT COUNT(*) FROM attempts a WHERE a.outbox_id = o.id)",
        ] {
            assert_eq!(self.rows(sql).await, Vec::<String>::new(), "{sql}");
        }
        if self.database.is_none() {
            assert_eq!(self.rows("SELECT * FROM pragma_integrity_check").await, ["ok"]);
            assert_eq!(self.rows("SELECT * FROM pragma_foreign_key_check").await, Vec::<String>::new());
        }
    }

    /// Claims the one task that is due.
    pub async fn claim(&self) -> Task {
        let mut claimed = self.store.claim_tasks(2).await.unwrap().tasks;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        claimed.remove(0)
    }

    pub async fn end(&self, task: &Task, end: End) {
        self.store.commit(commit(task, Some(end))).await.unwrap();
    }

    /// Puts an answer of some parts on its way.
    pub async fn answer(&self, target: &str, parts: u32) -> Vec<Uuid> {
        self.accept(ask(&format!("{target}/{}", Uuid::now_v7()))).await;
        let task = self.claim().await;
        let outbox: Vec<_> = (1..=parts).map(|part| leaving(&task, target, part, parts)).collect();
        let ids = outbox.iter().map(|row| row.id).collect();
        self.end(&task, complete(outbox)).await;
        ids
    }

    /// The states of outbox rows in order of their making, as `part:state`.
    pub async fn outbox(&self) -> Vec<String> {
        self.rows("SELECT text || ':' || state FROM outbox ORDER BY target, seq").await
    }

    pub async fn statuses(&self) -> Vec<String> {
        self.rows("SELECT status FROM tasks ORDER BY session_id, seq").await
    }
}

fn sqlite_line(row: &rusqlite::Row, columns: usize) -> String {
    let cell = |i| match row.get_ref_unwrap(i) {
        ValueRef::Null => "-".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8(text.into()).unwrap(),
        ValueRef::Blob(bytes) => hex::encode(bytes),
    };
    (0..columns).map(cell).collect::<Vec<_>>().join(" ")
}

/// As SQLite would show them.
fn postgres_line(row: &PgRow) -> String {
    let cell = |i: usize| {
        match row.column(i).type_info().name() {
            "BOOL" => row.get::<Option<bool>, _>(i).map(|truth| u8::from(truth).to_string()),
            "INT4" => row.get::<Option<i32>, _>(i).map(|n| n.to_string()),
            "INT8" => row.get::<Option<i64>, _>(i).map(|n| n.to_string()),
            "UUID" => row.get::<Option<Uuid>, _>(i).map(|id| id.simple().to_string()),
            "BYTEA" => row.get::<Option<Vec<u8>>, _>(i).map(hex::encode),
            _ => row.get::<Option<String>, _>(i),
        }
        .unwrap_or("-".into())
    };
    (0..row.len()).map(cell).collect::<Vec<_>>().join(" ")
}

/// Ends all sessions of servers on a database.
pub async fn cut(database: &Database) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE 'tercel%'";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Runs what is due, one at a time, and sends what is due; answers how much there was.
pub async fn answer_all(store: &Store) -> usize {
    let tasks = store.claim_tasks(99).await.unwrap().tasks;
    for task in &tasks {
        let answer = leaving(task, &task.session_id.to_string(), 1, 1);
        store.commit(commit(task, Some(complete(vec![answer])))).await.unwrap();
    }
    let rows = store.claim_outbox(99).await.unwrap().rows;
    for row in &rows {
        store.end_attempt(row, AttemptEnd::Sent("{}".into())).await.unwrap();
    }
    tasks.len() + rows.len()
}

/// Waits for something that another session is seen to do.
pub async fn until_seen(database: &str, condition: &str) {
    let mut eye = eye(database).await;
    let sql = format!("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE {condition})");
    let begun = Instant::now();
    loop {
        let (seen,): (bool,) = sqlx::query_as(AssertSqlSafe(sql.clone())).fetch_one(&mut eye).await.unwrap();
        if seen {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never seen: {condition}");
        tokio::task::yield_now().await;
    }
}

/// A session that is not taken for one of a server.
pub async fn eye(database: &str) -> PgConnection {
    PgConnection::connect(&format!("{database}&application_name=eye")).await.unwrap()
}

/// A message that starts a run in the session of a client, which is made if need be.
pub fn ask(client: &str) -> Accept {
    let session =
        SessionRef::Key { client_id: client.into(), bot_id: "default".into(), thread: String::new(), channel_id: None };
    Accept { items: vec![item(session)], ..Accept::default() }
}

pub fn item(session: SessionRef) -> Item {
    let task = NewTask {
        id: Uuid::now_v7(),
        bot_id: "default".into(),
        channel_id: None,
        origin: "api".into(),
        execution_config: None,
        sealed_target: None,
        rehearse: false,
        fewer: Fewer::default(),
    };
    let message = NewMessage {
        id: Uuid::now_v7(),
        role: "user",
        content: "hello".into(),
        source: Some("test".into()),
        trusted: true,
        hops: 0,
        metadata: None,
        attachments: Vec::new(),
    };
    Item { session, message, task: Some(task), ceilings: Vec::new(), busy: Busy::Enqueue, shown: Vec::new() }
}

pub fn delivered(mut accept: Accept, keys: &[&str]) -> Accept {
    accept.delivery = Some(NewDelivery {
        id: Uuid::now_v7(),
        integration: "example".into(),
        connection: "default".into(),
        event: "opened".into(),
        outcome: "run",
        reason: None,
        verified_by: "hmac".into(),
        headers: "{}".into(),
        body: b"{\"a\": 1}".to_vec(),
        answer: Some("ok".into()),
        sealed_request: None,
    });
    accept.dedupe = keys.iter().map(|key| ((*key).to_owned(), i64::MAX)).collect();
    accept
}

pub fn placed(answer: Result<Accepted>) -> Placed {
    match answer.unwrap() {
        Accepted::New(mut placed) if placed.len() == 1 => placed.remove(0),
        other => panic!("{other:?}"),
    }
}

pub fn step(n: i64) -> NewStep {
    NewStep { n, kind: "model".into(), body: format!("{{\"n\":{n}}}") }
}

pub fn commit(task: &Task, end: Option<End>) -> Commit {
    Commit {
        task: task.id,
        attempt: task.attempt,
        steps: Vec::new(),
        used: Counts::default(),
        spent: Vec::new(),
        parked: None,
        client: ClientCalls::default(),
        events: Vec::new(),
        begun: true,
        end,
    }
}

/// A ceiling of an hour, without limits.
pub fn ceiling(scope: &str, hour: i64) -> Ceiling {
    Ceiling { scope: scope.into(), since: hour, hour, runs: None, tokens: None, cost: None, action: Action::Store }
}

pub fn spent(scope: &str, hour: i64, tokens: i64) -> Spent {
    let counts = Counts { calls: 1, prompt_tokens: tokens, ..Counts::default() };
    Spent { scope: scope.into(), hour, counts }
}

pub fn announcement() -> Announcement {
    let row = NewOutbox {
        id: Uuid::nil(),
        target: "notice:chat".into(),
        task_id: None,
        session_id: None,
        bot_id: "notices".into(),
        dispatch_type: "chat".into(),
        sealed_target: "{}".into(),
        text: "Something is wrong".into(),
        part: 1,
        parts: 1,
        hops: 1,
        rehearse: false,
        expires_at: None,
    };
    Announcement { row, most: 300 }
}

pub fn complete(outbox: Vec<NewOutbox>) -> End {
    End::Complete { message_id: Uuid::now_v7(), text: "answer".into(), trusted: true, hops: 0, outbox }
}

pub fn leaving(task: &Task, target: &str, part: u32, parts: u32) -> NewOutbox {
    NewOutbox {
        id: Uuid::now_v7(),
        target: target.into(),
        task_id: Some(task.id),
        session_id: Some(task.session_id),
        bot_id: "default".into(),
        dispatch_type: "example".into(),
        sealed_target: "{}".into(),
        text: format!("{part}/{parts}"),
        part,
        parts,
        hops: 0,
        rehearse: false,
        expires_at: None,
    }
}

pub fn schedule(next_at: Option<i64>) -> Schedule {
    Schedule {
        id: Uuid::now_v7(),
        name: "morning".into(),
        definition: "{}".into(),
        sealed_target: None,
        active: true,
        next_at,
        last_at: None,
        last_task: None,
        fires: 0,
        runs: 0,
        missed: 0,
        skipped: 0,
        created_at: 1,
        updated_at: 1,
    }
}

/// A time of a schedule that has come, and the run it starts.
pub fn fire(schedule: &Schedule, due_at: Option<i64>, next_at: Option<i64>) -> Fire {
    let key = format!("schedule/{}/{}", schedule.id, due_at.unwrap_or_default());
    let accept = Accept { dedupe: vec![(key, i64::MAX)], ..ask(&format!("schedule:{}", schedule.id)) };
    Fire { schedule: schedule.id, updated_at: schedule.updated_at, due_at, next_at, missed: 0, accept: Some(accept) }
}

pub fn polled(bookmark: &str, accepts: Vec<Accept>) -> Polled {
    Polled {
        integration: "example".into(),
        connection: "default".into(),
        name: "posts".into(),
        bookmark: bookmark.into(),
        accepts,
    }
}

pub fn gap(since: i64, up_to: i64) -> Gap {
    Gap { integration: "example".into(), connection: "default".into(), since, up_to }
}

/// A sync of all jobs, of the connection `default` of `a`.
pub fn sync() -> NewSync {
    NewSync {
        id: Uuid::now_v7(),
        integration: "a".into(),
        connection: "default".into(),
        collection: "jobs".into(),
        origin: "api",
        dry_run: false,
        asked: None,
        records: Vec::new(),
        items: None,
    }
}
