//! The thread that starts processes.
//!
//! A process that asked to end with its parent ends when the thread that started it does. So that thread is one that
//! never ends, and not one of a pool.

use std::{
    io,
    sync::{OnceLock, mpsc},
    thread,
};
use tokio::{runtime::Handle, sync::oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Runs something there, in the context of the caller's runtime.
pub async fn run<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    static THREAD: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = THREAD.get_or_init(start);
    let (answer, answered) = oneshot::channel();
    let runtime = Handle::current();
    let job = Box::new(move || {
        let _context = runtime.enter();
        // Nobody waits any more: what was started is dropped, which ends it.
        let _ = answer.send(job());
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    jobs.send(job).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn start() -> mpsc::Sender<Job> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let work = move || jobs.into_iter().for_each(|job| job());
    thread::Builder::new().name("spawner".into()).spawn(work).expect("a thread can be started");
    sender
}
