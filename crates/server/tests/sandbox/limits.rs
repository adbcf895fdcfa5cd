//! Limits: who takes too much hurts itself.

use crate::world::{ended, quoted, world};
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};

#[tokio::test]
async fn who_takes_too_much_memory_ends_and_its_neighbour_does_not() {
    let world = world().await;
    for mut policy in world.policies() {
        policy.limits.memory = 256 << 20;
        let mut neighbour = world.start(&policy, "print(input()[::-1])").await;
        let hog = world.run(&policy, "kept = bytearray(2 << 30)\nprint('had it')").await;
        assert_ne!(hog.code, Some(0));
        assert_eq!(hog.output, "");
        neighbour.stdin.take().unwrap().write_all(b"olleh\n").await.unwrap();
        let neighbour = ended(neighbour).await;
        assert_eq!((neighbour.code, neighbour.output.as_str()), (Some(0), "hello\n"));
    }
}

#[tokio::test]
async fn a_fork_bomb_stops_at_its_limit() {
    let world = world().await;
    for mut policy in world.policies() {
        if policy.identity.is_none() && rustix::process::geteuid().is_root() && !world.sandbox.abilities().cgroup {
            println!("skipped for root itself: without cgroups nothing limits its processes");
            continue;
        }
        policy.limits.processes = 24;
        let code = "import os, time
count = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as error:
    print(error.errno == 11, 0 < count < 60, flush=True)
";
        let mut running = world.start(&policy, code).await;
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let said = timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap();
        assert_eq!(said.as_deref(), Some("True True"));
        running.wait().await.unwrap();
    }
}

#[tokio::test]
async fn files_and_descriptors_have_a_limit() {
    let world = world().await;
    for mut policy in world.policies() {
        policy.limits.file_size = 1 << 20;
        policy.limits.open_files = 32;
        let state = tempfile::tempdir_in(world.data()).unwrap();
        if let Some(identity) = policy.identity {
            identity.own(state.path()).unwrap();
        }
        let code = format!(
            "import resource
tried('small', lambda: open({0} + '/small', 'wb').write(b'x' * 1000))
tried('large', lambda: open({0} + '/large', 'wb', 0).write(b'x' * (1 << 20)) and open({0} + '/large', 'ab', 0).write(b'x'))
kept = []
tried('many', lambda: [kept.append(os.dup(0)) for _ in range(100)])
print('core', resource.getrlimit(resource.RLIMIT_CORE))
print('nice', os.nice(0))
",
            quoted(state.path())
        );
        let said = world.tried(&policy.write(state.path()), &code).await;
        assert_eq!(said[..4], ["small 1000", "large EFBIG", "many EMFILE", "core (0, 0)"]);
        assert!(said[4].strip_prefix("nice ").unwrap().parse::<i32>().unwrap() >= 5);
    }
}
