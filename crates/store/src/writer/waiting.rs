//! The connection, what waits for it, and what is done while the database is away.

use super::{GROUP, QUEUE, State, Turn, Waiting};
use crate::{Error, Result, engine::Connection, workers};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, sleep_until, timeout},
};

/// How long writes wait for a database that is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same once the server is to stop.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Desk {
    pub connection: Connection,
    worker: i64,
    queue: mpsc::Receiver<Waiting>,
    stopped: watch::Receiver<bool>,
    jobs: VecDeque<Waiting>,
    /// Since when the oldest write of the present group waits.
    oldest: Instant,
    next_beat: Instant,
    state: Arc<State>,
}

impl Desk {
    pub fn new(
        connection: Connection,
        worker: i64,
        queue: mpsc::Receiver<Waiting>,
        stopped: watch::Receiver<bool>,
        state: Arc<State>,
    ) -> Self {
        Self {
            connection,
            worker,
            queue,
            stopped,
            jobs: VecDeque::new(),
            oldest: state.started,
            next_beat: state.started,
            state,
        }
    }

    /// Waits for writes, while the database is there. `None`: nothing more comes.
    pub async fn take(&mut self) -> Option<Vec<Box<dyn super::Job>>> {
        loop {
            if !self.connection.is_alive()
                && let Err(error) = self.revive(None).await
            {
                self.give_up(Duration::ZERO, &error);
                self.next_beat = Instant::now() + Duration::from_secs(1);
            }
            if let Some(beat) = self.connection.beat()
                && self.next_beat <= Instant::now()
            {
                self.beat().await;
                self.next_beat = Instant::now() + beat;
            }
            while self.jobs.len() < GROUP
                && let Ok(job) = self.queue.try_recv()
            {
                self.jobs.push_back(job);
            }
            if let Some((oldest, _)) = self.jobs.front() {
                self.oldest = *oldest;
                self.note_waiting(Some(*oldest));
                let size = self.jobs.len().min(GROUP);
                return Some(self.jobs.drain(..size).map(|(_, job)| job).collect());
            }
            self.note_waiting(None);
            tokio::select! {
                biased;
                // What was sent before the end is committed; what comes later is told.
                _ = self.stopped.changed(), if !self.queue.is_closed() => self.queue.close(),
                received = self.queue.recv() => self.jobs.push_back(received?),
                () = sleep_until(self.next_beat.into()), if self.connection.limit().is_some() => {}
            }
        }
    }

    /// After a group: whether the database took anything of it.
    pub fn done(&self, written: bool) {
        self.state.refused.store(!written, Ordering::Relaxed);
        self.note_waiting(None);
    }

    pub fn has_met(&self, error: &Error) {
        self.state.damage.look(error);
    }

    /// When the present group has waited for long enough, should the database be lost now.
    pub fn limit(&self) -> Instant {
        (self.oldest + PATIENCE).max(Instant::now() + LAST_PATIENCE)
    }

    pub fn has_waited(&self) -> bool {
        self.oldest.elapsed() > PATIENCE
    }

    /// Connects again, until it works or somebody gives up: at `until`, or soon after the server was told to stop.
    /// Meanwhile writes that have waited for long enough are told so.
    pub async fn revive(&mut self, until: Option<Instant>) -> Result<()> {
        let lost = Instant::now();
        let known = self.connection.newest();
        let mut pause = Duration::from_millis(10);
        loop {
            let again = timeout(PATIENCE, async {
                self.connection.revive().await?;
                workers::take_over(&mut self.connection, self.worker).await
            });
            let again = again.await.unwrap_or_else(|_| {
                self.connection.lose();
                Err(Error::Away("The database does not answer".into()))
            });
            let Err(error) = again else {
                if self.state.refused.swap(false, Ordering::Relaxed) {
                    tracing::info!("The database is back after {:.1} s", lost.elapsed().as_secs_f64());
                }
                if self.connection.newest() > known {
                    self.state.turn.send_modify(Turn::come_back);
                }
                return Ok(());
            };
            if self.connection.is_replaced() {
                self.state.turn.send_if_modified(Turn::lose);
            }
            if !self.state.refused.swap(true, Ordering::Relaxed) {
                tracing::warn!("The database is away, and tried again until it is back: {error}");
            }
            self.give_up(PATIENCE, &error);
            let now = Instant::now();
            let ends = self.queue.is_closed() && now > lost + LAST_PATIENCE;
            if ends || self.connection.is_replaced() || until.is_some_and(|until| now > until) {
                return Err(Error::Away(error.to_string()));
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.stopped.changed(), if !self.queue.is_closed() => self.queue.close(),
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Tells writes that have waited for so long that they will not be stored.
    fn give_up(&mut self, waited: Duration, error: &Error) {
        loop {
            while self.jobs.len() < QUEUE
                && let Ok(job) = self.queue.try_recv()
            {
                self.jobs.push_back(job);
            }
            let Some((since, _)) = self.jobs.front() else { return };
            if since.elapsed() < waited {
                // A group that waits, too, came before.
                if self.state.waiting_since.load(Ordering::Relaxed) < 0 {
                    self.note_waiting(Some(*since));
                }
                return;
            }
            if let Some((_, job)) = self.jobs.pop_front() {
                job.fail(Error::Away(error.to_string()));
            }
        }
    }

    async fn beat(&mut self) {
        let Connection::Postgres(session) = &mut self.connection else { return };
        match timeout(PATIENCE, session.beat()).await {
            Ok(Ok(size)) => self.state.size.store(size, Ordering::Relaxed),
            Ok(Err(error)) => tracing::warn!("The database did not answer an idle writer: {error}"),
            Err(_) => self.connection.lose(),
        }
    }

    fn note_waiting(&self, since: Option<Instant>) {
        let since = since.map_or(-1, |at| at.duration_since(self.state.started).as_millis() as i64);
        self.state.waiting_since.store(since, Ordering::Relaxed);
    }
}
