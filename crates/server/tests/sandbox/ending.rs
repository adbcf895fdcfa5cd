//! Ends: nothing outlives the server, or the process that started it.

use crate::world::world;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::{
    io::Read,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Whether it ends within ten seconds. What is dead and waited for by nobody has ended too.
pub async fn ends(pid: i32) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if test_kill_process(Pid::from_raw(pid).unwrap()).is_err() || status.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
#[ignore = "it is the server that the next test kills"]
async fn a_server_that_is_killed() {
    let world = world().await;
    let mut running = Vec::new();
    for policy in world.policies() {
        let one = world.start(&policy, "import time\ntime.sleep(600)").await;
        println!("started {}", one.id());
        running.push(one);
    }
    println!("all started");
    // Run by hand it ends when its input does.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_confined_ends_with_the_server_that_is_killed() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ending::a_server_that_is_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = server.stdout.take().unwrap();
    let lines = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let lines = std::io::BufReader::new(output).lines().map(Result::unwrap);
        lines.take_while(|line| line != "all started").collect::<Vec<_>>()
    });
    let lines = lines.await.unwrap();
    let started: Vec<i32> =
        lines.iter().filter_map(|line| line.split("started ").nth(1)?.trim().parse().ok()).collect();
    assert!(!started.is_empty(), "{lines:?}");
    kill_process(Pid::from_child(&server), Signal::KILL).unwrap();
    server.wait().unwrap();
    for pid in started {
        assert!(ends(pid).await, "{pid} goes on");
    }
}

#[tokio::test]
async fn what_it_started_ends_with_it() {
    let world = world().await;
    for policy in world.policies() {
        let code = "import subprocess
print(subprocess.Popen(['/bin/sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid, flush=True)
input()";
        let mut running = world.start(&policy, code).await;
        let line = BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
        let child = line.parse().unwrap();
        drop(running.stdin.take());
        running.wait().await.unwrap();
        assert!(ends(child).await);

        let mut running = world.start(&policy, code).await;
        let line = BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
        drop(running);
        assert!(ends(line.parse().unwrap()).await);
    }
}

#[tokio::test]
async fn who_does_not_listen_when_it_shall_stop_is_killed() {
    let world = world().await;
    for policy in world.policies() {
        let code = "import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(600)";
        let mut running = world.start(&policy, code).await;
        BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
        let status = running.stop(Duration::from_millis(100)).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));

        let mut running = world.start(&policy, "import time\nprint('ready', flush=True)\ntime.sleep(600)").await;
        BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
        let status = running.stop(Duration::from_secs(30)).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    }
}
