//! Disks that are full, locked, read-only or broken: a clear word, nothing overwritten, and all well afterwards.

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tercel_tests::{
    Engine, FakeModel, Options, Server, Turn, World,
    disk::{Lock, Mount, ReadOnly, SmallDisk},
    events, until,
    wait::pause,
};

/// A server that had one event, stopped.
fn used() -> (World, String) {
    let mut world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    world.server.stop();
    (world, task)
}

fn database(server: &Server) -> PathBuf {
    server.options.data_directory().join("tercel.db")
}

fn world_on(disk: &SmallDisk) -> World {
    World::start_with(|options| options.data(&disk.directory().join("data")))
}

/// Starting fails, says what is wrong, and leaves the database as it is.
fn does_not_start(world: &World, words: &[&str]) {
    let before = world.server.options.stored();
    let failure = Server::until_it_dies(world.server.options.clone());
    assert!(!failure.status.success());
    let log = failure.log.to_lowercase();
    let tail = &log[log.len().saturating_sub(2_000)..];
    for word in words {
        assert!(tail.contains(&word.to_lowercase()), "`{word}` is not in: {tail}");
    }
    assert!(world.server.options.stored() == before, "the database was changed");
}

#[test]
fn a_second_server_on_the_same_data_says_whose_they_are() {
    let world = World::start();
    let failure = Server::until_it_dies(Options::new().beside(&world.server));
    assert!(!failure.status.success());
    let directory = world.server.options.data_directory().to_str().unwrap();
    for word in [directory, "TERCEL_DATA_DIR", &world.server.pid().to_string()] {
        assert!(failure.log.contains(word), "`{word}` is not in: {}", failure.log);
    }
    world.server.get("/ready").expect(200);
    assert_eq!(world.server.github(&events::pull_request("opened", 1)).accepted()["status"], "processed");
}

#[test]
fn the_directory_is_free_after_a_kill() {
    let (mut world, task) = used();
    world.server.start_again();
    world.server.kill9();
    world.server.start_again();
    assert_eq!(world.server.task(&task)["status"], "complete");
}

#[test]
fn a_file_that_is_no_database_is_not_overwritten() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let (world, _) = used();
    fs::write(database(&world.server), "Dear diary, this is no database.".repeat(1_000)).unwrap();
    does_not_start(&world, &["tercel.db", "no database"]);
}

#[test]
fn a_damaged_database_is_not_overwritten() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let (world, _) = used();
    let path = database(&world.server);
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 8 * 4_096, "{} bytes", bytes.len());
    for byte in bytes.iter_mut().skip(4_096).step_by(3) {
        *byte = byte.wrapping_add(0x5a);
    }
    fs::write(&path, bytes).unwrap();
    does_not_start(&world, &["tercel.db", "damaged"]);
}

#[test]
fn a_database_that_was_cut_short_is_not_overwritten() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let (world, _) = used();
    let path = database(&world.server);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2 / 4_096 * 4_096]).unwrap();
    does_not_start(&world, &["tercel.db", "damaged"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let (world, _) = used();
    let migrations = "version, description, installed_on, success, checksum, execution_time";
    world.server.options.sql(&format!(
        "INSERT INTO _sqlx_migrations ({migrations}) SELECT 9999, {} FROM _sqlx_migrations LIMIT 1",
        migrations.trim_start_matches("version, ")
    ));
    does_not_start(&world, &["database", "newer", "9999", "Nothing was changed"]);
}

#[test]
fn a_key_that_does_not_open_the_secrets_is_refused() {
    let (mut world, _) = used();
    world.server.start_again();
    world
        .server
        .put("/api/v1/admin/integrations/github/settings", json!({"settings": {"GITHUB_TOKEN": "ghp_sealed"}}))
        .accepted();
    world.server.stop();
    let other = world.server.options.clone().env("ENCRYPTION_KEY", &"ab".repeat(32));
    let failure = Server::until_it_dies(other);
    for word in ["ENCRYPTION_KEY", "key.id"] {
        assert!(failure.log.contains(word), "`{word}` is not in: {}", failure.log);
    }
    world.server.start_again();
    let settings = world.server.get("/api/v1/admin/integrations/github/settings").expect(200);
    let token = settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "GITHUB_TOKEN");
    assert_eq!(token.unwrap()["source"], "db", "what was sealed with the right key is still there");
}

#[test]
fn a_locked_database_is_waited_for_and_nothing_is_lost() {
    let world = World::start();
    let lock = Lock::against_writing(&world.server.options);
    let event = events::pull_request("opened", 1);
    let sender = world.server.anonymous();
    let sent = event.clone();
    let sending = std::thread::spawn(move || sender.github(&sent));
    pause(Duration::from_millis(500));
    assert!(!sending.is_finished() || sending.join().unwrap().status == 503, "accepted though it could not be stored");
    drop(lock);
    let status = until("the event is taken", || {
        let answer = world.server.github(&event);
        (answer.status < 300).then(|| answer.json()["status"].clone())
    });
    assert!(status == "processed" || status == "duplicate", "{status}");
    let tasks = world.server.list("/api/v1/tasks");
    assert_eq!(tasks.len(), 1, "{tasks:#?}");
    world.server.complete(tasks[0]["id"].as_str().unwrap());
    world.github.wait_for_comments(1);
}

#[test]
fn a_database_that_stays_locked_is_reported_and_the_server_lives() {
    let world = World::start();
    let lock = Lock::against_writing(&world.server.options);
    let event = events::pull_request("opened", 1);
    let answer = world.server.github(&event);
    answer.refused(503, "unavailable");
    assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    let ready = until("/ready says that the writer is stuck", || {
        Some(world.server.get("/ready")).filter(|answer| answer.status == 503)
    });
    assert!(ready.text().contains("writ"), "{ready}");
    assert_eq!(world.server.get("/health").status, 200);
    drop(lock);
    until("/ready is well again", || (world.server.get("/ready").status == 200).then_some(()));
    world.server.github_task(&event);
}

#[test]
fn a_database_that_is_locked_at_the_start_says_so() {
    let (mut world, _) = used();
    let lock = Lock::against_everything(&world.server.options);
    let failure = Server::until_it_dies(world.server.options.clone());
    let log = failure.log.to_lowercase();
    assert!(log.contains("locked") && log.contains("database"), "{log}");
    drop(lock);
    world.server.start_again();
}

#[test]
fn a_directory_that_cannot_be_written_says_so() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    let mount = Mount::tmpfs(&data, 16, "ro");
    if mount.is_none() {
        // Whoever may not mount is not root, and a mode is enough to keep the server out.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let failure = Server::until_it_dies(Options::new().data(&data));
    for word in [data.to_str().unwrap(), "TERCEL_DATA_DIR"] {
        assert!(failure.log.contains(word), "`{word}` is not in: {}", failure.log);
    }
}

#[test]
fn a_disk_that_is_nearly_full_stops_accepting_until_there_is_room() {
    let Some(small) = SmallDisk::make() else { return };
    let world = world_on(&small);
    world.server.github_task(&events::pull_request("opened", 1));
    small.fill(1);
    let event = events::pull_request("opened", 2);
    let refused =
        until("new work is refused", || Some(world.server.github(&event)).filter(|answer| answer.status == 503));
    assert!(refused.header("retry-after").is_some());
    let detail = refused.refused(503, "unavailable");
    assert!(detail.to_lowercase().contains("disk"), "{detail}");
    assert_eq!(world.server.get("/ready").status, 503);
    world.server.notice("disk");
    assert_eq!(world.server.list("/api/v1/tasks").len(), 1, "reading goes on");
    small.empty();
    until("new work is taken", || (world.server.github(&event).status < 300).then_some(()));
    until("/ready is well again", || (world.server.get("/ready").status == 200).then_some(()));
    let is_open = || world.server.list("/api/v1/notices?open=true").iter().any(|notice| notice["key"] == "disk");
    until("the notice is over", || (!is_open()).then_some(()));
}

#[test]
fn a_disk_that_fills_up_under_load_loses_nothing_that_was_accepted() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let Some(small) = SmallDisk::make() else { return };
    let mut world = world_on(&small);
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        if number == 20 {
            small.fill(0);
        }
        // A body that takes room, and is different each time.
        let mut event = events::push();
        event.body["filler"] = "x".repeat(50_000).into();
        match world.server.try_github(&event) {
            Ok(answer) if answer.status < 300 => accepted.push(answer.json()["delivery_id"].clone()),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer}");
                refused += 1;
            }
            Err(error) => panic!("the server did not survive: {error}"),
        }
        if refused >= 20 {
            break;
        }
    }
    assert!(refused >= 20, "the disk did not fill up");
    small.empty();
    until("new work is taken", || (world.server.github(&events::push()).status < 300).then_some(()));
    world.server.kill9();
    world.server.start_again();
    let listed: Vec<Value> =
        world.server.list("/api/v1/deliveries?limit=500").into_iter().map(|delivery| delivery["id"].clone()).collect();
    let lost: Vec<&Value> = accepted.iter().filter(|id| !listed.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), accepted.len());
}

#[test]
fn a_commit_that_meets_a_full_disk_is_made_when_there_is_room() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let Some(small) = SmallDisk::make() else { return };
    let world = world_on(&small);
    // More than fits into what the journal has room for already.
    let long = "word ".repeat(1_000_000);
    let (piece, gate) = Turn::pieces(&[&long]);
    world.model.queue([piece]);
    let session = world.server.session("web:alice");
    let task = world.server.ask(&session, "hello");
    world.model.wait_for_calls(1);
    small.fill(0);
    gate.add_permits(9);
    until("the commit of the answer meets the full disk", || {
        let log = world.server.log();
        (log.contains("The commit of a step is tried again") && log.contains("full")).then_some(())
    });
    assert_eq!(world.server.task(&task)["status"], "running");
    small.empty();
    assert_eq!(world.server.complete(&task)["result"], long.trim());
    assert_eq!(world.model.calls(), 1, "an answer that was paid for is not asked for again");
}

#[test]
fn a_database_that_becomes_read_only_is_reported_and_all_is_written_when_it_can_be() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let mut world = World::start_with(Options::hearing_of_limits);
    let first = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&first);
    world.server.outbox(&first, &["sent"]);
    let (piece, gate) = Turn::pieces(&["At last."]);
    world.model.queue([piece]);
    let under_way = world.server.ask(&world.server.session("web:alice"), "hello");
    world.model.wait_for_calls(2);
    let read_only = ReadOnly::make(&world.server);
    gate.add_permits(9);

    let event = events::pull_request("opened", 2);
    let refused = world.server.github(&event);
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    let detail = refused.refused(503, "unavailable");
    assert!(detail.contains("disk") && detail.contains("nothing was stored"), "{detail}");
    let ready = until("/ready says it", || Some(world.server.get("/ready")).filter(|answer| answer.status == 503));
    assert!(ready.text().contains("could not be written"), "{ready}");
    assert_eq!(world.server.get("/health").status, 200);
    assert_eq!(world.server.task(&first)["status"], "complete", "reading goes on");
    until("the answer meets it", || world.server.log().contains("The commit of a step is tried again").then_some(()));
    assert_eq!(world.server.task(&under_way)["status"], "running");

    drop(read_only);
    until("/ready is well again", || (world.server.get("/ready").status == 200).then_some(()));
    assert_eq!(world.server.complete(&under_way)["result"], "At last.");
    assert_eq!(world.model.calls(), 2, "an answer that was paid for is not asked for again");
    let second = world.server.github_task(&event);
    world.server.kill9();
    world.server.start_again();
    world.server.complete(&second);
    assert_eq!(world.server.list("/api/v1/tasks").len(), 3);
}

#[test]
fn a_database_that_is_damaged_while_it_is_used_is_reported() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let (mut world, task) = used();
    world.server.start_again();
    let file = fs::File::options().read(true).write(true).open(database(&world.server)).unwrap();
    let mut pages = vec![0; file.metadata().unwrap().len() as usize - 4_096];
    file.read_exact_at(&mut pages, 4_096).unwrap();
    // All but the first page, which says what kind of file it is.
    file.write_all_at(&vec![0xee; pages.len()], 4_096).unwrap();

    let mut accepted = Vec::new();
    let refused = until("the damage is met", || {
        // Some pages are still in memory, and what is written meanwhile is good.
        let answer = world.server.github(&events::push());
        if answer.status < 300 {
            accepted.push(answer.json()["delivery_id"].clone());
        }
        [answer, world.server.get("/api/v1/keys")].into_iter().find(|answer| answer.status >= 300)
    });
    let detail = refused.refused(503, "unavailable");
    assert!(detail.contains("damaged") && detail.contains("backup"), "{detail}");
    let ready = world.server.get("/ready");
    assert!(ready.status == 503 && ready.text().contains("damaged"), "{ready}");
    assert_eq!(world.server.get("/health").status, 200);
    assert!(world.server.log().contains("The database is damaged"), "{}", world.server.log());
    world.server.kill9();
    does_not_start(&world, &["tercel.db", "damaged", "Restore a backup"]);

    // What was written before, and what was accepted meanwhile, is there once the pages are.
    file.write_all_at(&pages, 4_096).unwrap();
    world.server.start_again();
    assert_eq!(world.server.task(&task)["status"], "complete");
    let listed: Vec<Value> =
        world.server.list("/api/v1/deliveries?limit=500").into_iter().map(|delivery| delivery["id"].clone()).collect();
    assert!(accepted.iter().all(|id| listed.contains(id)), "accepted: {accepted:?}, there: {listed:?}");
    world.server.github_task(&events::pull_request("opened", 2));
}

#[test]
fn files_of_the_server_are_its_own() {
    let world = World::start();
    let data = world.server.options.data_directory();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data), 0o711);
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let shown = ["address"].iter().any(|name| path.ends_with(name)) || path.is_dir();
        assert!(shown || mode(&path) & 0o077 == 0, "{path:?} is open to others: {:o}", mode(&path));
    }
}

#[test]
fn what_was_to_run_tomorrow_by_a_clock_that_was_put_back_runs_now() {
    let model = FakeModel::start();
    model.script(|_| Turn::text("Done."));
    let mut server = Server::start(Options::new().model(&model).env("TERCEL_OPEN_RUNS", "0"));
    let task = server.ask(&server.session("web:alice"), "hello");
    server.stop();
    server.options.sql("UPDATE tasks SET run_at = run_at + 86400000000 RETURNING status");
    server.start_again_with(|options| options.without("TERCEL_OPEN_RUNS"));
    server.complete(&task);
    assert!(server.log().contains("The clock was put back: 1 runs and answers"), "{}", server.log());
}
