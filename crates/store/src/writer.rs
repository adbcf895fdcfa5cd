//! The one writer: takes what waits, commits it as a group, answers after the commit.
//!
//! A write is a value, so that it can be tried again alone when its group fails. Writes of one kind in one group share
//! multi-row statements.

use crate::{Error, Result, Wake, engine::Connection, failpoint};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// One kind of write.
pub(crate) trait Write: Send + Sync + Sized + 'static {
    type Answer: Send + 'static;
    /// Who has work to do once this is committed.
    const WAKES: &'static [Bell] = &[];

    /// Runs the writes in an open transaction. Answers in the order of `group`; an answer that is an error has changed
    /// nothing and does not undo the others.
    fn run(
        group: &[&Self],
        connection: &mut Connection,
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer>>>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bell {
    Tasks,
    Outbox,
    Steps,
}

/// A write with the place for its answer, whatever its kind.
trait Job: Send {
    fn kind(&self) -> std::any::TypeId;
    fn join(self: Box<Self>) -> Box<dyn Group>;
    fn any(self: Box<Self>) -> Box<dyn std::any::Any>;
}

/// Writes of one kind that are committed together.
trait Group: Send {
    fn push(&mut self, job: Box<dyn Job>);
    fn len(&self) -> usize;
    /// Runs all of them, or the i-th alone; keeps the answers.
    fn run<'a>(
        &'a mut self,
        connection: &'a mut Connection,
        only: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
    /// Forgets the answers of a transaction that was rolled back.
    fn forget(&mut self, only: Option<usize>);
    fn fail(&mut self, i: usize, error: Error);
    fn answer(self: Box<Self>) -> &'static [Bell];
}

struct Asked<W: Write> {
    write: W,
    reply: oneshot::Sender<Result<W::Answer>>,
}

struct Kind<W: Write> {
    asked: Vec<Asked<W>>,
    answers: Vec<Option<Result<W::Answer>>>,
}

impl<W: Write> Job for Asked<W> {
    fn kind(&self) -> std::any::TypeId {
        std::any::TypeId::of::<W>()
    }

    fn join(self: Box<Self>) -> Box<dyn Group> {
        Box::new(Kind { asked: vec![*self], answers: vec![None] })
    }

    fn any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

impl<W: Write> Group for Kind<W> {
    fn push(&mut self, job: Box<dyn Job>) {
        self.asked.push(*job.any().downcast::<Asked<W>>().expect("jobs are grouped by their kind"));
        self.answers.push(None);
    }

    fn len(&self) -> usize {
        self.asked.len()
    }

    fn run<'a>(
        &'a mut self,
        connection: &'a mut Connection,
        only: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            let range = only.map_or(0..self.asked.len(), |i| i..i + 1);
            let group: Vec<&W> = self.asked[range.clone()].iter().map(|asked| &asked.write).collect();
            let answers = W::run(&group, connection).await?;
            for (i, answer) in range.zip(answers) {
                self.answers[i] = Some(answer);
            }
            Ok(())
        })
    }

    fn forget(&mut self, only: Option<usize>) {
        for i in only.map_or(0..self.answers.len(), |i| i..i + 1) {
            self.answers[i] = None;
        }
    }

    fn fail(&mut self, i: usize, error: Error) {
        self.answers[i] = Some(Err(error));
    }

    fn answer(self: Box<Self>) -> &'static [Bell] {
        let mut any = false;
        for (asked, answer) in self.asked.into_iter().zip(self.answers) {
            let answer = answer.unwrap_or(Err(Error::Stopping));
            any |= answer.is_ok();
            // Nobody waits any more: the write is committed all the same.
            let _ = asked.reply.send(answer);
        }
        if any { W::WAKES } else { &[] }
    }
}

/// Writes in one group at the most: bounds the time that the first of them waits.
const GROUP: usize = 256;
/// Writes that may wait before callers do.
const QUEUE: usize = 4096;

pub(crate) struct Writer {
    queue: mpsc::Sender<(Instant, Box<dyn Job>)>,
    started: Instant,
    /// Milliseconds after `started` when the group in progress began to wait; -1 when idle.
    waiting_since: Arc<AtomicI64>,
    task: Mutex<Option<tokio::task::JoinHandle<Connection>>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Writer {
    pub fn start(connection: Connection, wake: Arc<Wake>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let waiting_since = Arc::new(AtomicI64::new(-1));
        let started = Instant::now();
        let task = tokio::spawn(write_all(connection, waiting, stopped, wake, started, waiting_since.clone()));
        Self { queue, started, waiting_since, task: Mutex::new(Some(task)), stop }
    }

    pub async fn write<W: Write>(&self, write: W) -> Result<W::Answer> {
        let (reply, answer) = oneshot::channel();
        self.queue.send((Instant::now(), Box::new(Asked { write, reply }))).await.map_err(|_| Error::Stopping)?;
        answer.await.map_err(|_| Error::Stopping)?
    }

    /// Leaves a write that nobody waits for; answers false when the queue is full.
    pub fn leave<W: Write>(&self, write: W) -> bool {
        let (reply, _) = oneshot::channel();
        self.queue.try_send((Instant::now(), Box::new(Asked { write, reply }))).is_ok()
    }

    pub fn lag(&self) -> Duration {
        match self.waiting_since.load(Ordering::Relaxed) {
            -1 => Duration::ZERO,
            since => self.started.elapsed().saturating_sub(Duration::from_millis(since as u64)),
        }
    }

    /// Commits what was sent and answers the connection, once.
    pub async fn stop(&self, worker: i64) -> Option<Connection> {
        self.stop.send_replace(true);
        let task = self.task.lock().expect("no holder of this lock panics").take();
        let mut connection = task?.await.ok()?;
        if let Err(error) = crate::workers::leave(&mut connection, worker).await {
            tracing::warn!("The orderly end could not be noted: {error}");
        }
        Some(connection)
    }
}

async fn write_all(
    mut connection: Connection,
    mut queue: mpsc::Receiver<(Instant, Box<dyn Job>)>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
    wake: Arc<Wake>,
    started: Instant,
    waiting_since: Arc<AtomicI64>,
) -> Connection {
    let mut jobs = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            // What was sent before the end is committed; what comes later is told.
            _ = stopped.changed(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
            received = queue.recv() => match received {
                Some(job) => jobs.push_back(job),
                None => return connection,
            },
        }
        while jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            jobs.push_back(job);
        }
        let oldest = jobs.front().map_or(started, |(at, _)| *at);
        waiting_since.store(oldest.duration_since(started).as_millis() as i64, Ordering::Relaxed);
        let begun = Instant::now();
        let size = jobs.len();
        let mut groups: Vec<(std::any::TypeId, Box<dyn Group>)> = Vec::new();
        for (_, job) in jobs.drain(..) {
            let kind = job.kind();
            match groups.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, group)) => group.push(job),
                None => groups.push((kind, job.join())),
            }
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(_, group)| group).collect();
        commit(&mut connection, &mut groups).await;
        waiting_since.store(-1, Ordering::Relaxed);
        metrics::histogram!("tercel_store_group_size").record(size as f64);
        metrics::histogram!("tercel_store_commit_seconds").record(begun.elapsed().as_secs_f64());
        for bell in groups.into_iter().flat_map(|group| group.answer()) {
            match bell {
                Bell::Tasks => wake.tasks.notify_one(),
                Bell::Outbox => wake.outbox.notify_one(),
                Bell::Steps => wake.steps.notify_waiters(),
            }
        }
    }
}

/// All of it in one transaction. When that fails, again with each write apart, so that one failure costs one more
/// commit; when even that fails (the disk is full), each in a transaction of its own.
async fn commit(connection: &mut Connection, groups: &mut [Box<dyn Group>]) {
    let Err(error) = transact(connection, groups, Way::Together).await else { return };
    let total: usize = groups.iter().map(|group| group.len()).sum();
    if total == 1 {
        groups[0].fail(0, error);
        return;
    }
    if error.is_locked() {
        // Each try waits for seconds; what the first met, the others would.
        for group in groups {
            for i in 0..group.len() {
                group.fail(i, Error::Database(sqlx::Error::Io(std::io::Error::other(error.to_string()))));
            }
        }
        return;
    }
    tracing::warn!("A group of {total} writes failed and each is tried apart: {error}");
    if transact(connection, groups, Way::Apart).await.is_ok() {
        return;
    }
    for g in 0..groups.len() {
        for i in 0..groups[g].len() {
            if let Err(error) = transact(connection, &mut groups[g..=g], Way::Only(i)).await {
                groups[g].fail(i, error);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Together,
    Apart,
    Only(usize),
}

async fn transact(connection: &mut Connection, groups: &mut [Box<dyn Group>], way: Way) -> Result<()> {
    let done = async {
        connection.begin().await?;
        for group in groups.iter_mut() {
            match way {
                Way::Together => group.run(connection, None).await?,
                Way::Only(i) => group.run(connection, Some(i)).await?,
                Way::Apart => {
                    for i in 0..group.len() {
                        run_apart(group.as_mut(), i, connection).await?;
                    }
                }
            }
        }
        failpoint::hit("commit.before");
        connection.commit().await?;
        failpoint::hit("commit.after");
        Ok(())
    }
    .await;
    if done.is_err() {
        for group in groups.iter_mut() {
            group.forget(if let Way::Only(i) = way { Some(i) } else { None });
        }
        // Fails when the transaction never began or was rolled back by the engine itself.
        let _ = connection.rollback().await;
    }
    done
}

/// Keeps the failure of a write as its answer. What waiting may mend fails the transaction instead.
async fn run_apart(group: &mut dyn Group, i: usize, connection: &mut Connection) -> Result<()> {
    connection.savepoint().await?;
    match group.run(connection, Some(i)).await {
        Ok(()) => connection.release().await,
        Err(error) if error.is_passing() => Err(error),
        Err(error) => {
            connection.undo().await?;
            group.fail(i, error);
            Ok(())
        }
    }
}
