//! What is spent is counted once, and what a budget stops waits as it shall.

use serde_json::{Value, json};
use tercel_tests::{FakeGitHub, FakeModel, Options, Server, Turn, World, events, model, until};

/// The fake model counts 11 tokens of each question and 7 of each answer.
const PRICE: f64 = 11.0 * 2.0 + 7.0 * 10.0;

fn price(server: &Server, prompt: f64, completion: f64) {
    let prices = json!({"prices": {model::NAME: {"prompt": prompt, "completion": completion}}});
    assert_eq!(server.put("/api/v1/usage/prices", prices.clone()).expect(200), prices);
}

/// What was spent, over all lines.
fn total(server: &Server, query: &str) -> (i64, i64, i64, f64) {
    let lines = server.list(&format!("/api/v1/usage?{query}"));
    let sum = |field: &str| lines.iter().map(|line| line[field].as_i64().unwrap()).sum::<i64>();
    let cost = lines.iter().map(|line| line["cost_usd"].as_f64().unwrap() * 1e6).sum::<f64>();
    (sum("runs"), sum("prompt_tokens"), sum("completion_tokens"), cost.round())
}

fn budget(server: &Server, scope: &str, limits: Value, action: &str) -> String {
    let mut body = json!({"scope": scope, "period": "day", "action": action});
    body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    server.post("/api/v1/budgets", body).expect(201)["id"].as_str().unwrap().to_owned()
}

fn say(server: &Server, session: &str, content: &str) -> Value {
    let body = json!({"content": content, "run_agent": true});
    server.post(&format!("/api/v1/sessions/{session}/messages"), body).expect(201)
}

#[test]
fn what_is_spent_stands_in_the_account_of_bot_integration_channel_model_and_server() {
    let world = World::start();
    let server = &world.server;
    price(server, 2.0, 10.0);
    let session = server.session("web:alice");
    for _ in 0..2 {
        server.complete(&server.ask(&session, "hello"));
    }
    server.complete(&server.github_task(&events::pull_request("opened", 1)));
    for (query, runs, calls) in [
        ("", 3, 3),
        ("by=bot", 3, 3),
        ("by=integration", 3, 3),
        ("by=channel", 3, 3),
        ("by=model", 0, 3),
        ("by=model&granularity=hour", 0, 3),
        ("by=model&from=2020-01-01&to=2100-01-01", 0, 3),
        ("to=2020-01-02&from=2020-01-01", 0, 0),
    ] {
        assert_eq!(total(server, query), (runs, 11 * calls, 7 * calls, PRICE * calls as f64), "{query}");
    }
    let channels = server.list("/api/v1/usage?by=channel");
    let of = |key: &str| channels.iter().find(|line| line["key"] == key).unwrap()["calls"].clone();
    assert_eq!((of("web:alice"), of("github:octo/hello")), (json!(2), json!(1)));

    // A price holds from now on.
    price(server, 0.0, 1.0);
    server.complete(&server.ask(&session, "hello"));
    assert_eq!(total(server, "").3, PRICE * 3.0 + 7.0);

    let table = server.call("GET", "/api/v1/usage?by=bot", &[("accept", "text/csv")], "");
    assert!(table.header("content-type").unwrap().starts_with("text/csv"));
    let table = table.text();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(
        rows[0],
        "key,from,runs,calls,prompt_tokens,completion_tokens,cost_usd,cached_tokens,cache_written_tokens"
    );
    assert!(rows[1].starts_with("\"default\",") && rows[1].ends_with(",4,4,44,28,0.000283,0,0"), "{rows:?}");
}

#[test]
fn a_call_that_failed_after_spending_is_counted_and_a_rehearsal_is_not() {
    let world = World::start();
    let server = &world.server;
    price(server, 1.0, 1.0);
    let paid = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}});
    world.model.queue([Turn::Status(200, vec![("content-type", "application/json".into())], paid)]);
    let session = server.session("web:alice");
    let task = server.ask(&session, "hello");
    server.wait_for(&task, &["complete", "failed"]);
    let calls = world.model.calls() as i64;
    let answered = calls - 1;
    assert_eq!(total(server, "").1, 5 + 11 * answered, "{calls} calls");
    let before = total(server, "");
    let rehearsal = json!({"content": "hello", "execution_config": {"model_override": "rehearsal"}});
    server.complete(&server.ask_with(&session, rehearsal));
    assert_eq!(total(server, ""), before);
}

#[test]
fn parked_runs_wait_and_go_on_when_the_budget_is_raised() {
    let world = World::start();
    let server = &world.server;
    let id = budget(server, "channel:web:alice", json!({"runs": 2}), "park");
    let session = server.session("web:alice");
    let tasks: Vec<String> = (0..5)
        .map(|n| say(server, &session, &format!("question {n}"))["task_id"].as_str().unwrap().to_owned())
        .collect();
    tasks[..2].iter().for_each(|task| _ = server.complete(task));
    for task in &tasks[2..] {
        let task = server.wait_for(task, &["waiting"]);
        assert!(task["error"]["message"].as_str().unwrap().contains("channel:web:alice"), "{task:#}");
    }
    assert_eq!(world.model.calls(), 2);
    let notice = server.notice("ceiling:channel:web:alice");
    assert!(notice["repair"].as_str().unwrap().contains(&id), "{notice:#}");

    // A person may let one go on all the same, and it is counted.
    server.post(&format!("/api/v1/tasks/{}/resume", tasks[4]), json!({})).expect(200);
    server.complete(&tasks[4]);
    assert_eq!(total(server, "by=channel").0, 3);

    let path = format!("/api/v1/budgets/{id}");
    let raised = |runs: i64| json!({"scope": "channel:web:alice", "period": "day", "runs": runs, "action": "park"});
    server.put(&path, raised(4)).expect(200);
    server.complete(&tasks[2]);
    assert_eq!(server.task(&tasks[3])["status"], "waiting", "there was room for one");
    server.put(&path, raised(100)).expect(200);
    server.complete(&tasks[3]);
    until("the notice is closed", || server.list("/api/v1/notices?open=true").is_empty().then_some(()));
    let shown = server.get(&path).expect(200);
    assert_eq!((&shown["spent"]["runs"], &shown["spent"]["tokens"]), (&json!(5), &json!(90)));
}

#[test]
fn a_restart_forgets_nothing_that_waits() {
    let mut world = World::start();
    let id = budget(&world.server, "bot:default", json!({"runs": 0}), "park");
    let session = world.server.session("web:alice");
    let task = say(&world.server, &session, "hello")["task_id"].as_str().unwrap().to_owned();
    world.server.wait_for(&task, &["waiting"]);
    world.server.kill9();
    world.server.start_again();
    world.server.notice("ceiling:bot:default");
    assert_eq!(world.server.task(&task)["status"], "waiting");
    world.server.delete(&format!("/api/v1/budgets/{id}")).expect(204);
    world.server.complete(&task);
    assert_eq!((world.model.calls(), total(&world.server, "").0), (1, 1));
}

#[test]
fn messages_over_a_digest_budget_are_answered_together_by_one_run() {
    let world = World::start();
    let server = &world.server;
    let id = budget(server, "channel:*", json!({"runs": 1}), "digest");
    let session = server.session("web:alice");
    server.complete(&server.ask(&session, "first"));
    for text in ["second", "third", "fourth"] {
        let kept = say(server, &session, text);
        assert_eq!(kept["task_id"], Value::Null, "{kept}");
    }
    assert_eq!(world.model.calls(), 1);
    server.delete(&format!("/api/v1/budgets/{id}")).expect(204);
    let asked = world.model.wait_for_calls(2).remove(1);
    assert_eq!(asked.said_by("user"), ["first", "second", "third", "fourth"]);
    assert!(asked.said_by("system").iter().any(|text| text.contains("3 messages came here")), "{asked:?}");
    until("all runs end", || {
        server.list("/api/v1/tasks").iter().all(|task| task["status"] == "complete").then_some(())
    });
    let roles: Vec<Value> = server.messages(&session).iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "user", "user", "assistant"]);
    assert_eq!(world.model.calls(), 2);
}

#[test]
fn a_stored_message_stays_as_it_is_when_the_budget_is_raised() {
    let world = World::start();
    let server = &world.server;
    let id = budget(server, "integration:github", json!({"runs": 0}), "store");
    let stored = server.github(&events::pull_request("opened", 1)).accepted();
    assert_eq!(stored["status"], "stored", "{stored}");
    assert!(stored["reason"].as_str().unwrap().contains("kept and not answered"), "{stored}");
    server.delete(&format!("/api/v1/budgets/{id}")).expect(204);
    server.complete(&server.github_task(&events::pull_request("opened", 2)));
    assert_eq!(world.model.calls(), 1);
}

#[test]
fn money_stops_a_run_in_the_middle_and_it_goes_on_later() {
    let world = World::start();
    let server = &world.server;
    price(server, 2.0, 10.0);
    let id = budget(server, "server", json!({"cost_usd": 0.00005}), "park");
    server.post("/api/v1/bots", json!({"id": "reader", "tools": ["*"]})).expect(201);
    let body = json!({"client_id": "web:alice", "bot_id": "reader"});
    let session = server.post("/api/v1/sessions", body).expect(201)["session_id"].as_str().unwrap().to_owned();
    world.model.script(|asked| match asked.results().is_empty() {
        true => Turn::call("github_get_pr", json!({"repo": "octo/hello", "number": 1})),
        false => Turn::text("Read."),
    });
    let task = server.ask(&session, "Read it");
    server.wait_for(&task, &["waiting"]);
    assert_eq!(world.model.calls(), 1, "the next call would be beyond the budget");
    let raised = json!({"scope": "server", "period": "day", "cost_usd": 1.0, "action": "park"});
    server.put(&format!("/api/v1/budgets/{id}"), raised).expect(200);
    assert_eq!(server.complete(&task)["result"], "Read.");
    assert_eq!((world.model.calls(), total(server, "")), (2, (1, 22, 14, 2.0 * PRICE)));
}

#[test]
fn of_many_at_once_exactly_as_many_run_as_the_budget_lets() {
    let world = World::start();
    let server = &world.server;
    budget(server, "server", json!({"runs": 10}), "park");
    let made: Vec<Value> = std::thread::scope(|scope| {
        let asks = (0..8).map(|n| {
            scope.spawn(move || {
                let session = server.session(&format!("web:{n}"));
                (0..5).map(|_| say(server, &session, "hello")).collect::<Vec<_>>()
            })
        });
        asks.collect::<Vec<_>>().into_iter().flat_map(|ask| ask.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| made["task_id"].is_string()).count(), 40);
    until("ten runs end and thirty wait", || {
        let tasks = server.list("/api/v1/tasks?limit=100");
        let of = |status: &str| tasks.iter().filter(|task| task["status"] == status).count();
        ((of("complete"), of("waiting")) == (10, 30)).then_some(())
    });
    assert_eq!((world.model.calls(), total(server, "").0), (10, 10));
}

#[test]
fn a_task_says_what_it_took_and_what_that_cost() {
    let world = World::start();
    let server = &world.server;
    price(server, 2.0, 10.0);
    let session = server.session("web:alice");
    let task = server.complete(&server.ask(&session, "hello"));
    let took = json!([task["tokens"], task["prompt_tokens"], task["completion_tokens"], task["cost_usd"]]);
    assert_eq!(took, json!([18, 11, 7, PRICE / 1e6]));
    let rehearsal = json!({"content": "hello", "execution_config": {"model_override": "rehearsal"}});
    assert_eq!(server.complete(&server.ask_with(&session, rehearsal))["cost_usd"], 0.0);
}

#[test]
fn a_model_has_the_price_of_its_provider_else_its_own_else_that_of_every_other_one() {
    let world = World::start();
    let server = &world.server;
    let provider = json!({"id": "local", "kind": "openai", "base_url": world.model.url(), "models": ["small"]});
    server.post("/api/v1/providers", provider).expect(201);
    let session = server.session("web:alice");
    let cost = |model: &str| {
        let ask = json!({"content": "hello", "execution_config": {"model_override": model}});
        (server.complete(&server.ask_with(&session, ask))["cost_usd"].as_f64().unwrap() * 1e6).round()
    };
    let prices = json!({"prices": {
        "local/small": {"prompt": 1.0, "completion": 0.0},
        "large": {"prompt": 2.0, "completion": 0.0},
        "*": {"prompt": 3.0, "completion": 0.0},
    }});
    server.put("/api/v1/usage/prices", prices).expect(200);
    assert_eq!((cost("local/small"), cost("small")), (11.0, 11.0), "who answers counts, not how it was written");
    assert_eq!((cost("local/large"), cost("large")), (22.0, 22.0));
    assert_eq!(cost("local/another"), 33.0);
}

#[test]
fn a_model_without_a_price_under_a_budget_of_money_is_told_until_it_has_one() {
    let world = World::start();
    let server = &world.server;
    let session = server.session("web:alice");
    server.complete(&server.ask(&session, "hello"));
    assert_eq!(server.list("/api/v1/notices?open=true"), [] as [Value; 0], "nobody counts money");
    budget(server, "bot:default", json!({"cost_usd": 1.0}), "park");
    server.complete(&server.ask(&session, "hello"));
    let notice = server.notice(&format!("unpriced:{}", model::NAME));
    assert!(notice["detail"].as_str().unwrap().contains("`bot:default` counts money"), "{notice:#}");
    assert!(notice["repair"].as_str().unwrap().contains("/api/v1/usage/prices"), "{notice:#}");
    let doctor = server.options.run(&["doctor"]).out;
    assert!(doctor.contains(&format!("Without a price: {}", model::NAME)), "{doctor}");
    price(server, 0.0, 0.0);
    until("it is over", || server.list("/api/v1/notices?open=true").is_empty().then_some(()));
    server.complete(&server.ask(&session, "hello"));
    assert_eq!(server.list("/api/v1/notices?open=true"), [] as [Value; 0], "one that costs nothing has a price, too");
}

#[test]
fn what_is_wrong_with_a_budget_or_a_price_is_said() {
    let world = World::start();
    let server = &world.server;
    let refused = |body: Value| server.post("/api/v1/budgets", body).refused(422, "invalid");
    assert!(refused(json!({"scope": "everybody", "period": "day"})).contains("scope"));
    assert!(refused(json!({"scope": "bot:", "period": "day"})).contains("scope"));
    assert!(refused(json!({"scope": "server", "period": "year"})).contains("year"));
    assert!(refused(json!({"scope": "server", "period": "day", "runs": -1})).contains("runs"));
    assert!(refused(json!({"scope": "server", "period": "day", "action": "shout"})).contains("digest"));
    budget(server, "server", json!({}), "store");
    server.post("/api/v1/budgets", json!({"scope": "server", "period": "day"})).refused(409, "conflict");
    server
        .put("/api/v1/usage/prices", json!({"prices": {"m": {"prompt": -1, "completion": 0}}}))
        .refused(422, "invalid");
    server.get("/api/v1/usage?by=moon").refused(422, "invalid");
    server.get("/api/v1/usage?from=2026-01-02&to=2026-01-01").refused(422, "invalid");
    let scopes: Vec<Value> = server.list("/api/v1/budgets").iter().map(|budget| budget["scope"].clone()).collect();
    assert_eq!(
        scopes,
        ["server", "integration:*", "channel:*"],
        "a budget of one's own is in the place of the default"
    );
}

/// The process dies before or after the n-th commit; what a call took is in the account once, however often it had to be
/// asked.
#[test]
fn tokens_are_counted_once_whenever_the_server_dies() {
    for point in ["commit.before", "commit.after"] {
        for n in 1..=16 {
            let (github, model) = (FakeGitHub::start(), FakeModel::start());
            let calm = Options::new().github(&github).model(&model);
            let armed = calm.clone().env("TERCEL_FAILPOINT", &format!("{point}:+{n}"));
            let mut server = match Server::try_start(armed) {
                Ok(server) => server,
                Err(_) => Server::start(calm.clone()),
            };
            let answered = until("the message is answered", || {
                if server.has_exited() {
                    server = Server::start(calm.clone());
                }
                let made = server.try_call("POST", "/api/v1/sessions", &[], r#"{"client_id": "web:a"}"#).ok()?;
                let session = made.json()["session_id"].as_str()?.to_owned();
                let path = format!("/api/v1/sessions/{session}/messages");
                let body = r#"{"content": "hello", "run_agent": true}"#;
                let taken = server.try_call("POST", &path, &[("idempotency-key", "once")], body).ok()?;
                let task = taken.json()["task_id"].as_str()?.to_owned();
                let task = server.try_call("GET", &format!("/api/v1/tasks/{task}"), &[], "").ok()?.json();
                (task["status"] == "complete").then_some(task)
            });
            // A commit that nobody waits for may still be the one it dies of.
            server.ask_to_stop();
            server.wait_exit();
            server = Server::start(calm.clone());
            assert_eq!(answered["tokens"], 18, "{point} {n}");
            let (runs, prompt, completion, _) = total(&server, "");
            assert_eq!((runs, prompt, completion), (1, 11, 7), "{point} {n}");
            assert_eq!(total(&server, "by=model").1, 11, "{point} {n}");
        }
    }
}
