//! One process that answers, and who may stop it when.

use super::{
    Supervisor,
    client::{self, Client},
};
use crate::launch::{GRACE, Started, ending};
use rustix::process::Signal;
use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

pub struct Process {
    pub client: Client,
    pid: u32,
    open: AtomicUsize,
    /// When the last call ended.
    used: Mutex<Instant>,
    orders: mpsc::UnboundedSender<Order>,
    ended: watch::Receiver<Option<String>>,
}

enum Order {
    Dump,
    /// In order, if it is not needed.
    Leave,
    /// In order.
    End,
    /// At once; why.
    Kill(String),
}

/// The right to call a process.
pub struct Open(Arc<Process>);

impl Process {
    /// Takes over a process that answers. `key` is its key of the API, which ends with it.
    pub fn keep(supervisor: Supervisor, started: Started, client: Client, key: Uuid) -> Arc<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let (says, ended) = watch::channel(None);
        let used = Mutex::new(Instant::now());
        let process =
            Arc::new(Self { client, pid: started.running.id(), open: AtomicUsize::new(0), used, orders, ended });
        tokio::spawn(keep(supervisor, process.clone(), started, received, says, key));
        process
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn enter(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(self.clone())
    }

    /// Calls that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn is_idle(&self, idle: Duration) -> bool {
        let used = self.used.lock().expect("nothing panics while it holds this");
        self.open() == 0 && used.elapsed() >= idle
    }

    /// Asks what its threads do; the answer comes in its log.
    pub fn dump(&self) {
        let _ = self.orders.send(Order::Dump);
    }

    /// Ends it in order, unless a call has come meanwhile.
    pub fn leave(&self) {
        let _ = self.orders.send(Order::Leave);
    }

    pub fn kill(&self, reason: String) {
        let _ = self.orders.send(Order::Kill(reason));
    }

    /// Until it has ended; how.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "ended".into(),
        }
    }

    /// Waits for open calls, and stops it.
    pub async fn drain(&self, longest: Duration) {
        let until = tokio::time::Instant::now() + longest;
        let empty = async {
            // A call that was let in may not have reached it yet.
            while self.open() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let _ = self.client.send(client::empty("POST", "/v1/drain")).await;
        };
        let _ = tokio::time::timeout_at(until, empty).await;
        let _ = self.orders.send(Order::End);
        self.ended().await;
    }
}

impl Deref for Open {
    type Target = Arc<Process>;

    fn deref(&self) -> &Arc<Process> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Ok(mut used) = self.0.used.lock() {
            *used = Instant::now();
        }
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn keep(
    supervisor: Supervisor,
    process: Arc<Process>,
    mut started: Started,
    mut orders: mpsc::UnboundedReceiver<Order>,
    says: watch::Sender<Option<String>>,
    key: Uuid,
) {
    let idle = supervisor.0.spec.times.idle;
    let mut look = tokio::time::interval((idle / 10).max(Duration::from_millis(10)));
    let how = loop {
        tokio::select! {
            status = started.end() => {
                let how = ending(status);
                supervisor.failed(&process, &how, supervisor.0.log.last());
                break how;
            }
            Some(order) = orders.recv() => match order {
                Order::Dump => started.running.signal(Signal::USR1),
                Order::Leave => if supervisor.leave_if_idle(&process, Duration::ZERO) {
                    break ending(started.running.stop(GRACE).await);
                },
                Order::End => {
                    supervisor.phase().release(&process);
                    break ending(started.running.stop(GRACE).await);
                }
                Order::Kill(reason) => {
                    let how = format!("was ended, because {reason}");
                    supervisor.failed(&process, &how, None);
                    let _ = started.running.stop(Duration::ZERO).await;
                    break how;
                }
            },
            _ = look.tick() => if supervisor.leave_if_idle(&process, idle) {
                break ending(started.running.stop(GRACE).await);
            },
        }
    };
    supervisor.0.server.revoke(key);
    says.send_replace(Some(how));
}
