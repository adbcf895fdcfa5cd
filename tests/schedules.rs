//! Runs that begin by the clock, in the whole program: each time starts one run, whatever happens around it.

use serde_json::{Value, json};
use std::{collections::BTreeSet, os::unix::process::ExitStatusExt};
use tercel_tests::{FakeModel, Options, Server, Turn, until, wait::until_within};

struct World {
    server: Server,
    model: FakeModel,
}

fn options(model: &FakeModel) -> Options {
    Options::new().model(model).ceilings(0, 0)
}

fn world() -> World {
    let model = FakeModel::start();
    model.script(|_| Turn::text("Done."));
    World { server: Server::start(options(&model)), model }
}

fn every(span: &str) -> Value {
    json!({"kind": "interval", "every": span})
}

fn once(at: &str) -> Value {
    json!({"kind": "once", "at": at})
}

#[track_caller]
fn make(server: &Server, when: Value, more: Value) -> String {
    let mut body = json!({"name": "Look around", "when": when, "prompt": "What is new?"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/api/v1/schedules", body).expect(201)["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn show(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/schedules/{id}")).expect(200)
}

#[track_caller]
fn history(server: &Server, id: &str) -> Vec<Value> {
    server.list(&format!("/api/v1/schedules/{id}/history"))
}

#[track_caller]
fn act(server: &Server, id: &str, action: &str) -> tercel_tests::Answer {
    server.post(&format!("/api/v1/schedules/{id}/{action}"), json!({}))
}

/// The times for which a run was started, as their messages say.
fn due_times(server: &Server, id: &str) -> Vec<String> {
    let sessions = server.list(&format!("/api/v1/sessions?client_id=schedule:{id}"));
    let messages = sessions.iter().flat_map(|session| server.messages(session["id"].as_str().unwrap()));
    let asked = messages.filter(|message| message["role"] == "user");
    asked.map(|message| message["metadata"]["due_at"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_interval_starts_a_run_each_second() {
    let World { server, model } = world();
    let id = make(&server, every("1s"), json!({"execution_config": {"system_preamble": "Be brief."}}));
    until("three runs", || (show(&server, &id)["runs"].as_i64().unwrap() >= 3).then_some(()));
    assert_eq!(act(&server, &id, "pause").expect(200)["state"], "paused");
    let runs = show(&server, &id)["runs"].as_u64().unwrap() as usize;
    let times = due_times(&server, &id);
    assert_eq!(times.len(), runs);
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), runs, "{times:?}");
    let asked = &model.asked()[0];
    assert_eq!(asked.question(), "What is new?");
    assert!(asked.said_by("system").iter().any(|text| text.contains("Be brief.")));
    let rows = history(&server, &id);
    assert!(rows.iter().all(|row| row["outcome"] == "run" && row["task_id"].is_string()), "{rows:#?}");
    server.complete(rows[0]["task_id"].as_str().unwrap());
}

#[test]
fn a_single_time_that_has_passed_runs_at_once_and_never_again() {
    let mut world = world();
    let id = make(&world.server, once("2020-01-01T00:00:00Z"), json!({}));
    let task = until("its run", || show(&world.server, &id)["task_id"].as_str().map(str::to_owned));
    world.server.complete(&task);
    let row = show(&world.server, &id);
    assert_eq!((&row["state"], &row["runs"], &row["missed"]), (&json!("done"), &json!(1), &json!(0)), "{row}");
    world.server.restart();
    assert_eq!(due_times(&world.server, &id), ["2020-01-01T00:00:00.000000Z"]);
    assert_eq!(world.server.list("/api/v1/tasks").len(), 1);
}

#[test]
fn after_down_time_there_is_one_run_and_the_others_are_counted_and_told() {
    let mut world = world();
    let id = make(&world.server, every("1s"), json!({"notify_missed": true}));
    until("a run", || (show(&world.server, &id)["runs"].as_i64()? >= 1).then_some(()));
    world.server.stop();
    let stopped = std::time::Instant::now();
    until_within(std::time::Duration::from_secs(5), "time passes", || (stopped.elapsed().as_secs() >= 3).then_some(()));
    world.server.start_again();
    let notice = world.server.notice("missed");
    assert!(notice["key"].as_str().unwrap().contains(&id) && notice["title"].as_str().unwrap().contains("Look around"));
    act(&world.server, &id, "pause").expect(200);
    let row = show(&world.server, &id);
    assert!(row["missed"].as_i64().unwrap() >= 2, "{row}");
    let rows = history(&world.server, &id);
    let late: Vec<&Value> = rows.iter().filter(|row| row["missed"].as_i64().unwrap() > 0).collect();
    assert!(!late.is_empty(), "{rows:#?}");
    assert_eq!(due_times(&world.server, &id).len() as i64, row["runs"].as_i64().unwrap());
}

#[test]
fn while_its_last_run_is_open_a_time_is_skipped_and_counted() {
    let World { server, model } = world();
    model.script(|_| Turn::Never);
    let id = make(&server, every("1s"), json!({}));
    let row = until("a time that is skipped", || Some(show(&server, &id)).filter(|row| row["skipped"] != 0));
    assert_eq!(row["runs"], 1);
    let refused = act(&server, &id, "run").refused(409, "conflict");
    assert!(refused.contains("still open"), "{refused}");
    let skipped = history(&server, &id).into_iter().find(|row| row["outcome"] == "skipped").unwrap();
    assert!(skipped["reason"].as_str().unwrap().contains(row["task_id"].as_str().unwrap()), "{skipped}");
    assert_eq!(server.list("/api/v1/tasks").len(), 1);
}

#[test]
fn a_run_can_be_asked_for_once_while_it_is_paused() {
    let World { server, model: _model } = world();
    let id = make(&server, every("1h"), json!({"paused": true}));
    let path = format!("/api/v1/schedules/{id}/run");
    let ask = || server.call("POST", &path, &[("idempotency-key", "once")], "").expect(202);
    let first = ask();
    assert_eq!(ask(), first);
    server.complete(first["task_id"].as_str().unwrap());
    assert_eq!(ask(), first);
    assert_eq!(server.list("/api/v1/tasks").len(), 1);
    let row = show(&server, &id);
    assert_eq!((&row["state"], &row["runs"]), (&json!("paused"), &json!(1)));
    assert_eq!(history(&server, &id)[0]["due_at"], Value::Null);
    assert_eq!(act(&server, &id, "resume").expect(200)["state"], "active");
}

#[test]
fn a_schedule_is_made_shown_changed_and_deleted() {
    let World { server, model: _model } = world();
    let channel = server.post("/api/v1/channels", json!({"client_id": "web:team"})).expect(201);
    let body = json!({
        "name": "Morning", "prompt": "Good morning", "channel_id": channel["id"], "thread": "daily",
        "when": {"kind": "cron", "cron": "30 9 * * MON-FRI", "time_zone": "Europe/Berlin"},
        "dispatch_config": {"type": "webhook", "url": "https://hooks.example/x", "token": "s3cret-of-the-hook"},
    });
    let create = |body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "morning")];
        server.call("POST", "/api/v1/schedules", &headers, body.to_string())
    };
    let made = create(&body).expect(201);
    assert_eq!(create(&body).expect(201)["id"], made["id"]);
    create(&json!({"name": "Other", "prompt": "x", "when": every("1h")})).refused(409, "conflict");
    assert_eq!(
        (&made["client_id"], &made["channel_id"], &made["bot_id"]),
        (&json!("web:team"), &channel["id"], &json!("default"))
    );
    assert!(!made.to_string().contains("s3cret") && made["next_at"].is_string(), "{made}");
    let id = made["id"].as_str().unwrap();
    let path = format!("/api/v1/schedules/{id}");
    assert_eq!(show(&server, id), made);
    assert_eq!(server.list("/api/v1/schedules").len(), 1);

    let mut changed = body.clone();
    changed["name"] = json!("Later");
    changed["dispatch_config"] = made["dispatch_config"].clone();
    let put = server.put(&path, changed.clone()).expect(200);
    assert_eq!((&put["name"], &put["next_at"]), (&json!("Later"), &made["next_at"]));
    changed["when"] = every("2h");
    let put = server.put(&path, changed).expect(200);
    assert!(put["when"]["kind"] == "interval" && put["next_at"] != made["next_at"], "{put}");
    assert_eq!(server.delete(&path).status, 204);
    server.get(&path).refused(404, "not_found");
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let World { server, model: _model } = world();
    let refused = |when: Value, more: Value| {
        let mut body = json!({"name": "n", "when": when, "prompt": "p"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/v1/schedules", body).refused(422, "invalid")
    };
    for (when, more, words) in [
        (
            json!({"kind": "cron", "cron": "0 25 * * *"}),
            json!({}),
            "when.cron: `25` at character 3 cannot be read as a hour",
        ),
        (json!({"kind": "cron", "cron": "0 9 * * *", "time_zone": "Berlin"}), json!({}), "`Europe/Berlin`"),
        (json!({"kind": "cron", "cron": "0 0 31 2 *"}), json!({}), "it would never fire"),
        (json!({"kind": "interval", "every": "fast"}), json!({}), "when.every: `fast`"),
        (json!({"kind": "sometimes"}), json!({}), "unknown variant `sometimes`"),
        (json!({"kind": "interval", "every": "1h", "cron": "* * * * *"}), json!({}), "unknown field `cron`"),
        (json!({"kind": "once", "at": "soon"}), json!({}), "when.at: `soon`"),
        (every("1h"), json!({"prompt": " "}), "prompt: it must not be empty"),
        (every("1h"), json!({"name": ""}), "name: it must not be empty"),
        (every("1h"), json!({"bot_id": "nobody"}), "bot_id: there is no bot `nobody`"),
        (every("1h"), json!({"channel_id": "00000000-0000-7000-8000-000000000000"}), "channel_id: there is no channel"),
        (
            json!({"kind": "heartbeat", "every": "1h", "quiet_hours": {"from": "22", "to": "07:00"}}),
            json!({}),
            "when.quiet_hours.from: `22`",
        ),
    ] {
        let said = refused(when, more);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(server.list("/api/v1/schedules").len(), 0);
}

#[test]
fn a_heartbeat_is_silent_through_the_night_that_is_now() {
    let World { server, model: _model } = world();
    let heartbeat = |from: &str, to: &str| json!({"kind": "heartbeat", "every": "1s", "quiet_hours": {"from": from, "to": to}, "time_zone": "Europe/Berlin"});
    // All of the day but a minute is quiet, and that minute is not now.
    let now = server.list("/api/v1/schedules").len();
    assert_eq!(now, 0);
    let zone = chrono::Utc::now() + chrono::Duration::hours(12);
    let (from, to) = (zone + chrono::Duration::minutes(1), zone);
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("%H:%M").to_string();
    let quiet = make(&server, heartbeat(&time(from), &time(to)), json!({}));
    let awake = make(&server, every("1s"), json!({}));
    until("another one runs", || (show(&server, &awake)["runs"].as_i64()? >= 2).then_some(()));
    let row = show(&server, &quiet);
    assert_eq!((&row["runs"], &row["state"]), (&json!(0), &json!("active")), "{row}");
}

/// Dies at the n-th commit, comes back, and goes on until that does not happen any more.
fn dies_at_each(point: &str, when: &Value, runs: i64) {
    for n in 1..=60 {
        let model = FakeModel::start();
        model.script(|_| Turn::text("Done."));
        let calm = options(&model);
        let armed = calm.clone().env("TERCEL_FAILPOINT", &format!("{point}:+{n}"));
        let died = std::cell::Cell::new(false);
        let revive = |failure: std::process::ExitStatus| {
            assert!(failure.signal() == Some(6) && !died.replace(true), "{point} {n}: {failure}");
            Server::start(calm.clone())
        };
        let mut server = match Server::try_start(armed) {
            Ok(server) => server,
            Err(failure) => revive(failure.status),
        };
        let body = json!({"name": "n", "prompt": "What is new?", "when": when}).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", "only")];
        let id = until("it is made", || {
            if server.has_exited() {
                let status = server.wait_exit();
                server = revive(status);
            }
            let made = server.try_call("POST", "/api/v1/schedules", &headers, body.clone()).ok()?;
            Some(made.expect(201)["id"].as_str().unwrap().to_owned())
        });
        let tasks = until_within(std::time::Duration::from_secs(20), &format!("{point} {n}: its runs"), || {
            if server.has_exited() {
                let status = server.wait_exit();
                server = revive(status);
            }
            let answer = server.try_call("GET", "/api/v1/tasks", &[], "").ok()?;
            let tasks: Vec<Value> = serde_json::from_slice(&answer.body).ok()?;
            let complete = tasks.iter().all(|task| task["status"] == "complete");
            (complete && tasks.len() as i64 >= runs).then_some(tasks.len())
        });
        if !server.has_exited() && died.get() {
            act(&server, &id, "pause");
            let (row, times) = (show(&server, &id), due_times(&server, &id));
            assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), times.len(), "{point} {n}: {times:?}");
            assert_eq!(row["runs"], json!(times.len()), "{point} {n}: {row}");
            assert!(times.len() >= tasks, "{point} {n}: {times:?}");
        }
        if !died.get() {
            assert!(n > 6, "{point} is reached only {} times", n - 1);
            return;
        }
    }
    panic!("it still dies at hit 60 of {point}");
}

#[test]
fn a_crash_around_any_commit_loses_and_doubles_no_single_time() {
    std::thread::scope(|scope| {
        for point in ["commit.before", "commit.after"] {
            scope.spawn(move || dies_at_each(point, &once("2020-01-01T00:00:00Z"), 1));
        }
    });
}

#[test]
fn a_crash_around_any_commit_doubles_no_time_of_an_interval() {
    std::thread::scope(|scope| {
        for point in ["commit.before", "commit.after"] {
            scope.spawn(move || dies_at_each(point, &every("1s"), 2));
        }
    });
}
