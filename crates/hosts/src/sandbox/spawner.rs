//! The thread that starts processes.
//!
//! The kernel ends a process whose parent is gone when the *thread* that started it ends. Threads of the runtime come
//! and go; this one stays.

use std::{
    io,
    process::Command,
    sync::{OnceLock, mpsc},
    thread,
};
use tokio::{process::Child, runtime::Handle, sync::oneshot};

struct Job {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

pub async fn spawn(command: Command) -> io::Result<Child> {
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let (answer, started) = oneshot::channel();
    let jobs = JOBS.get_or_init(|| {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new()
            .name("spawner".into())
            .stack_size(256 << 10)
            .spawn(move || work(&queue))
            .expect("a server that cannot have one more thread at its start cannot run");
        jobs
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    jobs.send(Job { command, runtime: Handle::current(), answer }).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}

fn work(queue: &mpsc::Receiver<Job>) {
    for Job { command, runtime, answer } in queue {
        let _runtime = runtime.enter();
        let mut command = tokio::process::Command::from(command);
        // When nobody waits for it any more, it is dropped here, and so ended.
        let _ = answer.send(command.kill_on_drop(true).spawn());
    }
}
