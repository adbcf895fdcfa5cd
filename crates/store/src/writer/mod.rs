//! The one writer: takes what waits, commits it as a group, answers after the commit.
//!
//! A write is a value, so that it can be tried again alone when its group fails, and as it is when the database was
//! lost in the middle. Writes of one kind in one group share multi-row statements.

mod commit;
mod group;
mod turn;
mod waiting;

pub(crate) use group::{Bell, Write};
pub use turn::Turn;

use crate::{
    Error, Result, Wake,
    engine::{Connection, sqlite::Damage},
};
use group::{Asked, Job};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Writes in one group at the most: bounds the time that the first of them waits.
const GROUP: usize = 256;
/// Writes that may wait before callers do.
const QUEUE: usize = 4096;

pub(crate) struct Writer {
    queue: mpsc::Sender<Waiting>,
    state: Arc<State>,
    ended: Mutex<Option<oneshot::Receiver<Connection>>>,
    stop: watch::Sender<bool>,
}

/// A write and since when it waits.
type Waiting = (Instant, Box<dyn Job>);

/// What can be seen of the writer from outside.
struct State {
    started: Instant,
    /// Milliseconds after `started` when the oldest write in progress began to wait; -1 when idle.
    waiting_since: AtomicI64,
    /// Nothing of the last group could be written, for a reason that may pass.
    refused: AtomicBool,
    damage: Damage,
    /// Bytes of a database that is elsewhere.
    size: AtomicU64,
    /// The writer ended though nobody asked it to.
    broken: watch::Sender<bool>,
    turn: watch::Sender<Turn>,
}

impl Writer {
    pub fn start(connection: Connection, worker: i64, wake: Arc<Wake>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(State {
            started: Instant::now(),
            waiting_since: AtomicI64::new(-1),
            refused: AtomicBool::new(false),
            damage: Damage::default(),
            size: AtomicU64::new(0),
            broken: watch::Sender::new(false),
            turn: watch::Sender::new(Turn::Ours),
        });
        let desk = waiting::Desk::new(connection, worker, waiting, stopped, state.clone());
        // The embedded database works on the thread that asks.
        let runtime = tokio::runtime::Handle::current();
        let (end, ended) = oneshot::channel();
        let seen = state.clone();
        let write = move || match catch_unwind(AssertUnwindSafe(|| runtime.block_on(write_all(desk, wake)))) {
            // Nobody waits for the end of a store that was dropped.
            Ok(connection) => _ = end.send(connection),
            // What it was at is not committed; what it would do next, nobody knows.
            Err(_) => _ = seen.broken.send_replace(true),
        };
        std::thread::Builder::new().name("writer".into()).spawn(write).expect("the machine has a thread to give");
        Self { queue, state, ended: Mutex::new(Some(ended)), stop }
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
        match self.state.waiting_since.load(Ordering::Relaxed) {
            -1 => Duration::ZERO,
            since => self.state.started.elapsed().saturating_sub(Duration::from_millis(since as u64)),
        }
    }

    /// Whether the database took nothing of what it was given last.
    pub fn is_refused(&self) -> bool {
        self.state.refused.load(Ordering::Relaxed) || *self.state.broken.borrow()
    }

    /// Whether a write has met damage.
    pub fn is_damaged(&self) -> bool {
        self.state.damage.is_there()
    }

    /// Returns when the writer has a fault and writes nothing any more.
    pub async fn is_broken(&self) {
        let mut broken = self.state.broken.subscribe();
        // The sender lives as long as this.
        let _ = broken.wait_for(|broken| *broken).await;
    }

    pub fn turn(&self) -> watch::Receiver<Turn> {
        self.state.turn.subscribe()
    }

    pub fn has_read_anew(&self, turn: Turn) {
        self.state.turn.send_if_modified(|now| now.settle(turn));
    }

    pub fn size(&self) -> u64 {
        self.state.size.load(Ordering::Relaxed)
    }

    /// Commits what was sent and answers the connection, once.
    pub async fn stop(&self, worker: i64) -> Option<Connection> {
        self.stop.send_replace(true);
        let ended = self.ended.lock().expect("no holder of this lock panics").take();
        let mut connection = ended?.await.ok()?;
        match tokio::time::timeout(Duration::from_secs(5), crate::workers::leave(&mut connection, worker)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("The orderly end could not be noted: {error}"),
            Err(_) => connection.lose(),
        }
        Some(connection)
    }
}

async fn write_all(mut desk: waiting::Desk, wake: Arc<Wake>) -> Connection {
    while let Some(jobs) = desk.take().await {
        let begun = Instant::now();
        let size = jobs.len();
        let mut groups = group::sort(jobs.into_iter());
        let written = commit::commit(&mut desk, &mut groups).await;
        desk.done(written);
        metrics::histogram!("tercel_store_group_size").record(size as f64);
        metrics::histogram!("tercel_store_commit_seconds").record(begun.elapsed().as_secs_f64());
        for group in groups {
            group.answer(&wake);
        }
    }
    desk.connection
}
