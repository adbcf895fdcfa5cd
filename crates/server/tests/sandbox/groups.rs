//! Limits for all that a process starts, together: where this machine has cgroups of version 2 that can be divided.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A group that is a test's own, with memory and processes in it.
struct Given(PathBuf);

impl Given {
    /// # Errors
    /// Exactly why there is none here.
    fn make() -> Result<Self, String> {
        let mounted = mounted()?;
        let said = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let list = mounted.join("cgroup.controllers");
        let has = fs::read_to_string(&list).map_err(|error| said(&list, error))?;
        if !["memory", "pids"].iter().all(|kind| has.split_whitespace().any(|one| one == *kind)) {
            let elsewhere = fs::read_to_string("/proc/cgroups").unwrap_or_default();
            let of = |name: &str| elsewhere.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            return Err(format!(
                "the cgroups of version 2 at {} have `{}` and not memory and pids; /proc/cgroups says `{}` and `{}`: a \
                 hierarchy that is not 0 is one of version 1",
                mounted.display(),
                has.trim(),
                of("memory"),
                of("pids")
            ));
        }
        let control = mounted.join("cgroup.subtree_control");
        fs::write(&control, "+memory +pids").map_err(|error| said(&control, error))?;
        let group = mounted.join(format!("tercel-tests-{}", std::process::id()));
        fs::create_dir(&group).map_err(|error| said(&group, error))?;
        Ok(Self(group))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..100 {
            let _ = fs::remove_dir(self.0.join("server"));
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Where they are; mounted by us where nobody did and we may.
fn mounted() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    if let Some(found) = found {
        return Ok(found.into());
    }
    let place = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
    let mounted = Command::new("mount").args(["-t", "cgroup2", "none"]).arg(&place).output();
    match mounted {
        Ok(output) if output.status.success() => Ok(place),
        Ok(output) => Err(format!("none is mounted: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("none is mounted, and mount cannot be run: {error}")),
    }
}

#[test]
fn limits_hold_for_all_processes_of_an_integration_together() {
    let given = match Given::make() {
        Ok(given) => given,
        Err(why) => return println!("skipped: {why}"),
    };
    // A server is alone in its group, and so is a test.
    let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    let inside = Command::new("sh")
        .args(["-c", enter])
        .arg(&given.0)
        .arg(std::env::current_exe().unwrap())
        .args(["groups::inside::", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = [inside.stdout, inside.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(inside.status.success() && said.contains("4 passed"), "{said}");
    let left = fs::read_dir(&given.0).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["server"], "groups are removed when what was in them has ended");
    println!("seen in {}", given.0.display());
}

mod inside {
    use crate::{
        ending::ends,
        world::{ended, world},
    };
    use std::time::Duration;
    use tercel_hosts::sandbox::Sandbox;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        time::timeout,
    };

    #[tokio::test]
    #[ignore = "it runs in a group of its own, which the test above makes"]
    async fn memory_is_counted_together_and_its_neighbour_is_not_hurt() {
        let world = world().await;
        assert!(world.sandbox.abilities().cgroup, "{:?}", world.sandbox.abilities());
        for mut policy in world.policies() {
            policy.limits.memory = 256 << 20;
            let mut neighbour = world.start(&policy, "print(input()[::-1])").await;
            // Each of them has less than it may.
            let code = "import os, time
for _ in range(3):
    if os.fork() == 0:
        kept = b'x' * (150 << 20)
        time.sleep(600)
time.sleep(600)";
            let hog = world.run(&policy, code).await;
            assert_eq!(hog.code, None, "it was killed: {hog:?}");
            neighbour.stdin.take().unwrap().write_all(b"olleh\n").await.unwrap();
            let neighbour = ended(neighbour).await;
            assert_eq!((neighbour.code, neighbour.output.as_str()), (Some(0), "hello\n"));
        }
    }

    #[tokio::test]
    #[ignore = "it runs in a group of its own, which the test above makes"]
    async fn a_fork_bomb_stops_at_its_limit_whoever_it_is() {
        let world = world().await;
        for mut policy in world.policies() {
            policy.limits.processes = 24;
            let code = "import os, time
count = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        count += 1
except OSError as error:
    print(error.errno == 11, 0 < count < 24, flush=True)
";
            let mut running = world.start(&policy, code).await;
            let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
            let said = timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap();
            assert_eq!(said.as_deref(), Some("True True"));
            running.wait().await.unwrap();
        }
    }

    /// In a session of its own, and deaf.
    const LEAVES: &str = "import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    time.sleep(600)
time.sleep(600)";

    #[tokio::test]
    #[ignore = "it runs in a group of its own, which the test above makes"]
    async fn what_left_its_process_group_ends_with_it_all_the_same() {
        let world = world().await;
        for policy in world.policies() {
            let mut running = world.start(&policy, LEAVES).await;
            let line = BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
            running.stop(Duration::from_secs(1)).await.unwrap();
            assert!(ends(line.parse().unwrap()).await);
        }
    }

    #[tokio::test]
    #[ignore = "it runs in a group of its own, which the test above makes"]
    async fn what_an_earlier_server_left_is_ended() {
        let world = world().await;
        for policy in world.policies() {
            let mut running = world.start(&policy, LEAVES).await;
            let line = BufReader::new(running.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
            // Nobody ends it.
            std::mem::forget(running);
            let again = Sandbox::open(env!("CARGO_BIN_EXE_tercel"), &world.data());
            assert!(again.abilities().cgroup);
            assert!(ends(line.parse().unwrap()).await);
        }
        // Groups are removed a moment after what was in them.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
