//! How a confined process begins, and what is said when it cannot.

use crate::world::{ended, world};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Command,
};

#[tokio::test]
async fn it_has_exactly_the_descriptors_and_variables_that_it_is_given() {
    let world = world().await;
    // One that a shell or a service manager left open.
    let _open = rustix::io::dup(File::open("/dev/null").unwrap()).unwrap();
    for policy in world.policies() {
        let code = "import os
print(sorted(int(number) for number in os.listdir('/proc/self/fd'))[:-1])
print(dict(sorted(os.environ.items())))
print(os.getcwd(), os.getsid(0) == os.getpid())";
        let mut command = world.command(&policy, code).current_dir("/usr").env("GREETING", "hello").env("EMPTY", "");
        assert_eq!(command.inherit(File::open("/dev/null").unwrap().into()), 3);
        assert_eq!(command.inherit(File::open("/dev/zero").unwrap().into()), 4);
        let ended = ended(command.spawn().await.unwrap()).await;
        let shown = ended.output.replace(", 'LC_CTYPE': 'C.UTF-8'", "");
        assert_eq!(shown, "[0, 1, 2, 3, 4]\n{'EMPTY': '', 'GREETING': 'hello'}\n/usr True\n", "{ended:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let world = world().await;
    for policy in world.policies() {
        let missing = world.sandbox.command("no-such-program", policy.clone()).env("PATH", "/usr/bin:/bin");
        let ended = ended(missing.spawn().await.unwrap()).await;
        assert_eq!(ended.code, Some(126));
        assert_eq!(
            ended.errors,
            "error: `no-such-program` cannot be started: No such file or directory (os error 2)\n"
        );

        let nowhere = world.sandbox.command("true", policy.clone()).current_dir("/no/such/place");
        let error = nowhere.spawn().await.err().unwrap().to_string();
        assert_eq!(error, "`true` cannot be started: /no/such/place does not exist");
    }
}

#[test]
fn the_hidden_command_is_not_for_people() {
    for arguments in
        [&["sandbox-exec"][..], &["sandbox-exec", "99"], &["sandbox-exec", "x; rm"], &["sandbox-exec", "0"]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tercel")).args(arguments).stdin(File::open("/dev/null").unwrap()).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(126), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[tokio::test]
async fn each_integration_keeps_a_user_of_its_own() {
    let world = world().await;
    let Some(first) = world.sandbox.identity("first").unwrap() else {
        println!("skipped: {:?}", world.sandbox.abilities().no_users);
        return;
    };
    let second = world.sandbox.identity("second").unwrap().unwrap();
    assert_ne!(first, second);
    let again = tercel_hosts::sandbox::Sandbox::open(env!("CARGO_BIN_EXE_tercel"), &world.data());
    assert_eq!(again.identity("second").unwrap(), Some(second));
    assert_eq!(again.identity("first").unwrap(), Some(first));
    let kept = world.data().join("users.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&kept, "{").unwrap();
    let damaged = tercel_hosts::sandbox::Sandbox::open(env!("CARGO_BIN_EXE_tercel"), &world.data());
    assert_eq!(damaged.identity("first").unwrap(), None);
    assert!(damaged.abilities().no_users.as_ref().unwrap().contains("users.json"));
    let policy = world.policies().pop().unwrap();
    let said = world.tried(&policy, "print(os.getuid() == os.geteuid() == os.getgid(), os.getgroups())").await;
    assert_eq!(said, ["True []"]);
}
