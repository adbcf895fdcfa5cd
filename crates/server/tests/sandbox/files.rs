//! Files: its own, and nobody else's.

use crate::world::{quoted, world};
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test]
async fn it_reads_its_own_files_and_no_others() {
    let world = world().await;
    let abilities = world.sandbox.abilities().clone();
    world.file("key", "secret", 0o600);
    // As if the rights were forgotten: only the kernel's rules are left.
    let loose =
        [world.file("folders/other/h/code.py", "theirs", 0o644), world.file("state/other/notes", "theirs", 0o644)];
    for policy in world.policies() {
        if policy.identity.is_none() && !abilities.confines_files() {
            println!("skipped for the server's user: this kernel has no Landlock");
            continue;
        }
        let snapshot = world.file("folders/tried/h/code.py", "ours", 0o644);
        let state = world.data().join("state/tried");
        fs::create_dir_all(&state).unwrap();
        if let Some(identity) = policy.identity {
            identity.lend(&world.data().join("folders/tried/h")).unwrap();
            identity.own(&state).unwrap();
        }
        // As the mask of a careful service leaves it.
        fs::set_permissions(world.data().join("folders"), fs::Permissions::from_mode(0o700)).unwrap();
        let policy = policy.read(snapshot.parent().unwrap()).write(&state);
        let mut code = format!(
            "own, state = {}, {}
tried('own', lambda: open(own).read())
tried('change', lambda: open(own, 'w'))
tried('remove', lambda: os.remove(own))
tried('state', lambda: open(state + '/kept', 'w').write('x'))
tried('again', lambda: open(state + '/kept').read())
tried('key', lambda: open({}).read())
tried('list', lambda: os.listdir({}))
tried('shadow', lambda: open('/etc/shadow').read())
tried('server', lambda: open(f'/proc/{{os.getppid()}}/environ').read())
tried('link', lambda: os.symlink({}, state + '/link'))
tried('through the link', lambda: open(state + '/link').read())
",
            quoted(&snapshot),
            quoted(&state),
            quoted(&world.data().join("key")),
            quoted(&world.data()),
            quoted(&world.data().join("key")),
        );
        let mut expected = vec![
            "own ours",
            "change EACCES",
            "remove EACCES",
            "state 1",
            "again x",
            "key EACCES",
            "list EACCES",
            "shadow EACCES",
            "server EACCES",
            "link done",
            "through the link EACCES",
        ];
        if abilities.confines_files() {
            for path in &loose {
                code += &format!("tried('other', lambda: open({}).read())\n", quoted(path));
                expected.push("other EACCES");
            }
        }
        assert_eq!(world.tried(&policy, &code).await, expected, "{policy:?}");
        fs::remove_dir_all(&state).unwrap();
    }
}

#[tokio::test]
async fn what_it_makes_is_private_and_programs_of_the_system_run() {
    let world = world().await;
    for policy in world.policies() {
        let state = tempfile::tempdir_in(world.data()).unwrap();
        if let Some(identity) = policy.identity {
            identity.own(state.path()).unwrap();
        }
        let code = format!(
            "import subprocess
made = {} + '/made'
open(made, 'w')
tried('rights', lambda: oct(os.stat(made).st_mode & 0o777))
tried('program', lambda: subprocess.run(['/bin/sh', '-c', 'echo hello'], capture_output=True, text=True).stdout.strip())
",
            quoted(state.path())
        );
        let expected = ["rights 0o600", "program hello"];
        assert_eq!(world.tried(&policy.write(state.path()), &code).await, expected);
    }
}
