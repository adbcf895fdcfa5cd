//! From the first need to the last call: starting, reloading, resting, ending.

use crate::world::{World, call, is_alive, log, pid, tool, until};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_hosts::{Change, Folder, Loaded, Root, RootKind};

fn says(word: &str) -> String {
    tool("crm_say", &format!("def crm_say():\n    return '{word}'"))
}

async fn said(loaded: &Loaded) -> serde_json::Value {
    call(loaded, "crm_say", json!({})).await.unwrap()
}

#[tokio::test]
async fn nothing_runs_before_something_needs_it() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let crm = world.load("crm").await;
    until("the process that described the folder rests", || crm.worker.state().pid.is_none()).await;
    assert_eq!(said(&crm).await, json!("one"));
    assert!(is_alive(pid(&crm)));
}

#[tokio::test]
async fn a_worker_that_nobody_needs_any_more_stops_and_starts_again() {
    let mut world = World::new();
    world.write(
        "crm/integration.yaml",
        "schema: 1\nname: crm\nworker: {limits: {idle: 1s}}\ntools: [{name: crm_say, description: Says it.}]\n",
    );
    world.write("crm/tools/say.py", &says("one"));
    let crm = world.load("crm").await;
    assert_eq!(crm.problems, []);
    assert_eq!(said(&crm).await, json!("one"));
    let first = pid(&crm);
    until("it stops by itself", || crm.worker.state().state == "stopped" && !is_alive(first)).await;
    assert_eq!(said(&crm).await, json!("one"));
    assert_eq!(crm.worker.state().restarts, 0, "resting is no failure");
}

#[tokio::test]
async fn known_folders_are_there_without_starting_anything() {
    let mut world = World::new();
    for number in 0..50 {
        let name = format!("crm_{number}");
        world.write(&format!("{name}/tools/say.py"), &tool(&format!("{name}_say"), "def say():\n    return 1"));
    }
    world.load("crm_0").await;
    let folders = world.hosts.scan().folders;
    let load = |folder: Folder| {
        let hosts = world.hosts.clone();
        async move { hosts.load(&folder, None).await }
    };
    futures::future::join_all(folders.iter().cloned().map(load)).await;
    let started = world.server.minted.lock().unwrap().len();
    let found = world.hosts.scan();
    let loaded = futures::future::join_all(found.folders.into_iter().map(load)).await;
    assert!(loaded.iter().all(|loaded| loaded.problems.is_empty() && loaded.integration.tools.len() == 1));
    assert_eq!(world.server.minted.lock().unwrap().len(), started, "something was started");
}

#[tokio::test]
async fn a_known_state_is_loaded_without_running_anything() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let first = world.load("crm").await;
    let started = world.server.minted.lock().unwrap().len();
    let second = world.load("crm").await;
    assert_eq!(world.server.minted.lock().unwrap().len(), started, "something was started");
    assert_eq!(first.hash, second.hash);
    assert_eq!(said(&second).await, json!("one"));
}

#[tokio::test]
async fn a_saved_file_is_live() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let first = world.load("crm").await;
    assert_eq!(said(&first).await, json!("one"));
    world.write("crm/tools/say.py", &says("two"));
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folder("crm".into()));
    let second = world.reload("crm", Some(&first)).await;
    assert_eq!(said(&second).await, json!("two"));
    let old = pid(&first);
    first.worker.drain(None).await;
    assert!(!is_alive(old));
    assert_eq!(said(&second).await, json!("two"));
}

#[tokio::test]
async fn a_state_that_does_not_load_leaves_the_last_good_one_whole() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    world.write("crm/tools/more.py", &tool("crm_more", "def crm_more():\n    return 1"));
    let first = world.load("crm").await;
    world.write("crm/tools/say.py", "def broken(:\n");
    let kept = world.reload("crm", Some(&first)).await;
    assert!(kept.kept);
    assert_eq!(kept.problems[0].file, "tools/say.py");
    assert_eq!(said(&kept).await, json!("one"));
    assert!(Arc::ptr_eq(&kept.worker, &first.worker));
    world.write("crm/tools/say.py", &says("three"));
    let mended = world.reload("crm", Some(&kept)).await;
    assert_eq!((mended.kept, mended.problems.len()), (false, 0));
    assert_eq!(said(&mended).await, json!("three"));
}

#[tokio::test]
async fn going_back_to_the_good_state_keeps_its_worker() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let first = world.load("crm").await;
    world.write("crm/tools/say.py", "def broken(:\n");
    let kept = world.reload("crm", Some(&first)).await;
    world.write("crm/tools/say.py", &says("one"));
    let back = world.reload("crm", Some(&kept)).await;
    assert_eq!((back.kept, back.problems.len()), (false, 0));
    assert!(Arc::ptr_eq(&back.worker, &first.worker));
}

#[tokio::test]
async fn a_changed_setting_is_in_the_environment_of_a_new_process() {
    let mut world = World::new();
    world.write("crm/config.py", "import os\nWORD = os.environ.get('CRM_WORD', 'none')\n");
    world.write("crm/setup.py", "SETUP = {'env_vars': [{'key': 'CRM_WORD', 'required': False}]}\n");
    let body = "def crm_say():\n    from integrations.crm.config import WORD\n    return WORD";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    world.set("CRM_WORD", "first");
    let first = world.load("crm").await;
    assert_eq!(said(&first).await, json!("first"));
    let same = world.reload("crm", Some(&first)).await;
    assert!(Arc::ptr_eq(&same.worker, &first.worker));
    world.set("CRM_WORD", "second");
    let second = world.reload("crm", Some(&first)).await;
    assert_eq!(said(&second).await, json!("second"));
}

#[tokio::test]
async fn an_open_call_ends_on_the_old_state_and_new_ones_begin_on_the_new() {
    let mut world = World::new();
    let body = "async def crm_say():\n    import asyncio\n    print('begun', flush=True)\n    await asyncio.sleep(1)\n\
                \x20   return 'old'";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    let old = world.load("crm").await;
    world.write("crm/tools/say.py", &says("new"));
    let new = world.reload("crm", Some(&old)).await;
    let open = crate::world::handler(&old, "crm_say")(crate::world::host(30.0), json!({}).into());
    let open = tokio::spawn(open);
    until("the call is open", || log(&old).iter().any(|line| line == "begun")).await;
    let draining = tokio::spawn(old.worker.drain(None));
    assert_eq!(said(&new).await, json!("new"));
    assert_eq!(open.await.unwrap().unwrap(), json!("old"));
    draining.await.unwrap();
}

#[tokio::test]
async fn who_found_the_old_state_calls_the_new_one_when_the_old_has_ended() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("old"));
    let old = world.load("crm").await;
    world.write("crm/tools/say.py", &says("new"));
    let new = world.reload("crm", Some(&old)).await;
    // One waits for the start of the old process while it is replaced.
    let waiting = tokio::spawn(crate::world::handler(&old, "crm_say")(crate::world::host(30.0), json!({}).into()));
    until("the old process starts", || old.worker.state().state == "starting").await;
    old.worker.drain(Some(new.worker.clone())).await;
    assert_eq!(waiting.await.unwrap().unwrap(), json!("new"));
    assert_eq!(said(&old).await, json!("new"), "and one comes late");
    assert!(old.worker.state().pid.is_none(), "{:?}", old.worker.state());
    new.worker.drain(None).await;
    let error = call(&old, "crm_say", json!({})).await.unwrap_err();
    assert!(error.message.contains("it has been stopped"), "{error:?}");
}

#[tokio::test]
async fn the_key_of_a_process_is_worth_nothing_after_its_end() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let crm = world.load("crm").await;
    said(&crm).await;
    crm.worker.drain(None).await;
    let (mut minted, mut revoked) =
        (world.server.minted.lock().unwrap().clone(), world.server.revoked.lock().unwrap().clone());
    minted.sort();
    revoked.sort();
    assert_eq!(minted, revoked);
}

#[tokio::test]
async fn files_that_code_makes_beside_itself_go_along_and_are_no_change() {
    let mut world = World::new();
    let body = "def crm_say():\n    import pathlib\n    place = pathlib.Path(__file__).parent / 'made.txt'\n    \
                made = place.exists()\n    place.write_text('by me')\n    return made";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    let first = world.load("crm").await;
    assert_eq!(said(&first).await, json!(false));
    world.write("crm/README.md", "# Changed\n");
    let second = world.reload("crm", Some(&first)).await;
    assert_ne!(first.hash, second.hash);
    assert_eq!(said(&second).await, json!(true));
    assert!(!world.root().join("crm/tools/made.txt").exists());
    let third = world.reload("crm", Some(&second)).await;
    assert_eq!(second.hash, third.hash);
}

#[tokio::test]
async fn code_has_a_place_for_temporary_files_whatever_it_did_to_the_last_one() {
    let mut world = World::new();
    let body = "def crm_say(what):\n    import os, shutil, tempfile\n    place = os.environ['TMPDIR']\n    try:\n        \
                tempfile.NamedTemporaryFile(dir=place, delete=False).close()\n    except OSError as error:\n        return \
                type(error).__name__\n    if what != 'stay':\n        shutil.rmtree(place)\n    if what == 'link':\n        \
                os.symlink('/etc', place)\n    return 'done'";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    let owner = fs::metadata("/etc").unwrap().uid();
    let temporary = world.path().join("data/state/crm/tmp");
    for (what, expected) in
        [("stay", "done"), ("remove", "done"), ("stay", "done"), ("link", "done"), ("stay", "PermissionError")]
    {
        let crm = world.load("crm").await;
        assert_eq!(call(&crm, "crm_say", json!({"what": what})).await.unwrap(), json!(expected), "{what}");
        crm.worker.drain(None).await;
    }
    assert!(fs::symlink_metadata(&temporary).unwrap().is_symlink(), "that is its own doing");
    assert_eq!(fs::metadata("/etc").unwrap().uid(), owner, "and what it links to is not given to it");
    fs::remove_file(&temporary).unwrap();
    fs::create_dir(&temporary).unwrap();
    fs::write(temporary.join("left"), "").unwrap();
    let _next = world.again();
    assert!(!temporary.exists(), "a server begins without what an earlier one left");
}

#[tokio::test]
async fn code_cannot_change_itself() {
    let mut world = World::new();
    let body = "def crm_say():\n    try:\n        open(__file__, 'a').write('#')\n        return 'changed'\n    except OSError as \
                error:\n        return type(error).__name__";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    let crm = world.load("crm").await;
    assert_eq!(said(&crm).await, json!("PermissionError"));
}

#[tokio::test]
async fn what_was_imported_from_another_folder_changes_with_it() {
    let mut world = World::new();
    world.write("words/config.py", "WORD = 'first'\n");
    world.write("words/setup.py", "SETUP = {}\n");
    let body = "def crm_say():\n    from integrations.words.config import WORD\n    return WORD";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    let first = world.load("crm").await;
    assert_eq!(said(&first).await, json!("first"), "{:?}", log(&first));
    assert_eq!(first.siblings.keys().collect::<Vec<_>>(), ["words"]);
    world.write("words/config.py", "WORD = 'second'\n");
    let second = world.reload("crm", Some(&first)).await;
    assert_eq!(said(&second).await, json!("second"));
}

fn states(world: &World, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path().join(folder)).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.contains('.'));
    names.sort();
    names
}

#[tokio::test]
async fn old_states_are_removed_when_nothing_runs_them() {
    let mut world = World::new();
    let body = "async def crm_say():\n    import asyncio\n    print('it begins')\n    await asyncio.sleep(2)\n    from integrations.crm.late import \
                WORD\n    return WORD";
    world.write("crm/tools/say.py", &tool("crm_say", body));
    world.write("crm/late.py", "WORD = 'one'\n");
    let first = world.load("crm").await;
    let open = tokio::spawn(crate::world::handler(&first, "crm_say")(crate::world::host(30.0), json!({}).into()));
    until("the call is open", || log(&first).contains(&"it begins".to_owned())).await;
    world.write("crm/late.py", "WORD = 'two'\n");
    let second = world.reload("crm", Some(&first)).await;
    let old = first.hash.clone();
    let draining = tokio::spawn({
        let worker = first.worker.clone();
        async move { worker.drain(None).await }
    });
    drop(first);
    world.hosts.clean().await.unwrap();
    assert_eq!(states(&world, "data/folders/crm").len(), 2, "a call is still open on the old one");
    assert_eq!(open.await.unwrap().unwrap(), json!("one"), "what it imports late is there");
    draining.await.unwrap();
    world.hosts.clean().await.unwrap();
    assert_eq!(states(&world, "data/folders/crm"), [second.hash.as_str()]);
    assert!(!world.path().join(format!("data/folders/crm/{old}.described.json")).exists());
    assert_eq!(said(&second).await, json!("two"));
    world.hosts.remove("crm").unwrap();
    assert!(!world.path().join("data/folders/crm").exists());
}

#[tokio::test]
async fn the_last_good_state_stays_and_of_a_folder_that_does_not_run_all_does() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    world.write("off/tools/say.py", &tool("off_say", "def off_say():\n    return 1"));
    drop(world.load("off").await);
    let good = world.load("crm").await;
    world.write("crm/tools/say.py", "def broken(:\n");
    let kept = world.reload("crm", Some(&good)).await;
    assert!(kept.kept);
    drop(good);
    // The process that was asked what the other one has ends first.
    let end = Instant::now() + Duration::from_secs(20);
    while states(&world, "data/folders/crm").len() > 1 {
        assert!(Instant::now() < end);
        world.hosts.clean().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(states(&world, "data/folders/crm"), [kept.hash.as_str()]);
    assert_eq!(states(&world, "data/folders/off").len(), 1);
    assert_eq!(said(&kept).await, json!("one"));
}

#[tokio::test]
async fn copies_of_what_is_imported_go_when_it_is_not_imported_any_more() {
    let mut world = World::new();
    for name in ["words", "numbers"] {
        world.write(&format!("{name}/setup.py"), "SETUP = {}\n");
    }
    let imports = |name: &str| {
        let body = format!("def crm_say():\n    import integrations.{name}.setup as it\n    return it.__name__");
        tool("crm_say", &body)
    };
    world.write("crm/tools/say.py", &imports("words"));
    let first = world.load("crm").await;
    assert_eq!(states(&world, "data/siblings/crm"), ["words"]);
    world.write("crm/tools/say.py", &imports("numbers"));
    let second = world.reload("crm", Some(&first)).await;
    drop(first);
    until("nothing runs the old one", || {
        // Its worker had ended when it was described.
        states(&world, "data/siblings/crm").len() == 2
    })
    .await;
    world.hosts.clean().await.unwrap();
    assert_eq!(states(&world, "data/siblings/crm"), ["numbers"]);
    assert_eq!(said(&second).await, json!("integrations.numbers.setup"));
}

#[tokio::test]
async fn a_state_that_was_not_looked_at_does_not_run() {
    let world = World::new();
    world.write("crm/tools/say.py", "raise RuntimeError('this ran')\n");
    let folder = world.hosts.scan().folders.remove(0);
    let seen = world.hosts.hash(&folder).await.unwrap();
    world.write("crm/tools/say.py", "raise RuntimeError('this ran too')\n");
    let loaded = world.hosts.load_state(&folder, None, &seen).await;
    assert!(loaded.problems[0].message.contains("was changed since"), "{:?}", loaded.problems);
    assert_eq!(log(&loaded), [] as [&str; 0]);
    assert_eq!(world.server.minted.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn stopping_ends_every_process() {
    let mut world = World::new();
    world.write("crm/tools/say.py", &says("one"));
    let first = world.load("crm").await;
    said(&first).await;
    world.write("crm/tools/say.py", &says("two"));
    let second = world.reload("crm", Some(&first)).await;
    said(&second).await;
    let pids = [pid(&first), pid(&second)];
    world.hosts.stop().await;
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn a_root_that_is_made_later_or_replaced_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let later = place.path().join("deep/down/integrations");
    let linked = place.path().join("linked");
    let old = place.path().join("old");
    fs::create_dir(&old).unwrap();
    std::os::unix::fs::symlink(&old, &linked).unwrap();
    let mut world = World::with(|config| {
        let root = |path: &std::path::Path| Root { path: path.into(), kind: RootKind::Operator };
        config.roots.extend([root(&later), root(&linked)]);
        config.usual.insert(later.clone());
    });
    let found = world.hosts.scan();
    assert_eq!((found.folders.len(), found.problems), (0, Vec::new()));
    let put = |root: &std::path::Path, id: &str| {
        fs::create_dir_all(root.join(id)).unwrap();
        fs::write(root.join(id).join("router.py"), "").unwrap();
    };
    put(&later, "late");
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folders);
    assert_eq!(world.hosts.scan().folders.len(), 1);
    // From now on it is watched like any other.
    put(&later, "later");
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folders);
    assert_eq!(world.hosts.scan().folders.len(), 2);
    // A link that leads elsewhere is how new versions are put in place.
    let new = place.path().join("new");
    put(&new, "released");
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink(&new, &linked).unwrap();
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folders);
    assert_eq!(world.hosts.scan().folders.len(), 3);
    // Gone and back, sooner than anybody looks.
    fs::remove_dir_all(&later).unwrap();
    put(&later, "again");
    while world.hosts.scan().folders.iter().all(|folder| folder.id != "again") {
        world.changed(Duration::from_secs(5)).await;
    }
    // What is on its way of all that.
    while tokio::time::timeout(Duration::from_secs(2), world.changes.recv()).await.is_ok() {
        world.hosts.scan();
    }
    fs::write(later.join("again/router.py"), "# changed").unwrap();
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folder("again".into()));
}

#[tokio::test]
async fn a_folder_that_comes_or_goes_is_noticed() {
    let mut world = World::new();
    world.hosts.scan();
    world.write("crm/tools/say.py", &says("one"));
    assert_eq!(world.changed(Duration::from_secs(5)).await, Change::Folders);
    assert_eq!(world.hosts.scan().folders.len(), 1);
    fs::remove_dir_all(world.root().join("crm")).unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&Change::Folders) {
        seen.push(world.changed(Duration::from_secs(5)).await);
    }
    assert_eq!(world.hosts.scan().folders.len(), 0);
}
