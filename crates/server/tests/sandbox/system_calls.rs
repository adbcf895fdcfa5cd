//! System calls that no folder needs.

use crate::world::world;
use tercel_hosts::sandbox::Network;

#[tokio::test]
async fn it_cannot_look_into_others_nor_leave_its_place() {
    let world = world().await;
    let numbers: Vec<(&str, i64)> = vec![
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("bpf", libc::SYS_bpf),
        ("keyctl", libc::SYS_keyctl),
        ("mount", libc::SYS_mount),
        ("chroot", libc::SYS_chroot),
        ("kexec_load", libc::SYS_kexec_load),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("perf_event_open", libc::SYS_perf_event_open),
    ];
    let mut code = String::new();
    let mut expected = Vec::new();
    for (name, number) in &numbers {
        code += &format!("tried('{name}', lambda: call({number}, 0, 0, 0, 0, 0))\n");
        expected.push(format!("{name} EPERM"));
    }
    code += &format!("tried('clone3', lambda: call({}, 0, 0))\n", libc::SYS_clone3);
    expected.push("clone3 ENOSYS".into());
    code +=
        &format!("tried('user namespace', lambda: call({}, {}, 0, 0, 0, 0))\n", libc::SYS_clone, libc::CLONE_NEWUSER);
    expected.push("user namespace EPERM".into());
    code += "import threading
thread = threading.Thread(target=lambda: print('thread done'))
thread.start()
thread.join()
";
    expected.push("thread done".into());
    if cfg!(target_arch = "x86_64") {
        code += &format!("tried('short pointers', lambda: call({}, 1, 1, 0))\n", libc::SYS_socket | 0x4000_0000);
        expected.push("short pointers EPERM".into());
    }
    for mut policy in world.policies() {
        assert_eq!(world.tried(&policy, &code).await, expected);
        policy.network = Network::Open;
        assert_eq!(world.tried(&policy, &code).await, expected);
    }
}

#[tokio::test]
async fn it_cannot_signal_the_server_nor_change_its_limits() {
    let world = world().await;
    let code = "import resource
server = os.getppid()
tried('signal', lambda: os.kill(server, 0))
tried('rank', lambda: os.setpriority(os.PRIO_PROCESS, server, 19))
tried('limit', lambda: resource.prlimit(server, resource.RLIMIT_NOFILE, (8, 8)))
tried('own child', lambda: os.kill(os.getpid(), 0))
";
    for policy in world.policies() {
        let said = world.tried(&policy, code).await;
        if policy.identity.is_none() && !world.sandbox.abilities().confines_signals() {
            println!("skipped: this kernel's Landlock knows no signals");
            assert_eq!(said[1..], ["rank EPERM", "limit EPERM", "own child done"]);
            continue;
        }
        assert_eq!(said, ["signal EPERM", "rank EPERM", "limit EPERM", "own child done"]);
    }
}
