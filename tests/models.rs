//! Several providers with their own keys: which one answers, what happens when one does not, and who gets to know the key.

use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel_tests::{
    FakeAnthropic, FakeModel, Options, Server, Turn, World,
    anthropic::{KEY, NAME, fails},
    loopback::{Loopback, Reply},
    until,
    wait::{pause, until_within},
};

fn provide(world: &World, id: &str, kind: &str, url: &str, more: Value) -> Value {
    let mut body = json!({"id": id, "kind": kind, "base_url": url, "api_key": KEY});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.server.post("/api/v1/providers", body).expect(201)
}

/// Asks a bot with these models; the task when it is over or waits.
fn asks(world: &World, models: &[&str]) -> Value {
    let bot = format!("b{}", world.server.list("/api/v1/bots").len());
    let body = json!({"id": bot, "model": models[0], "fallback_models": &models[1..]});
    world.server.post("/api/v1/bots", body).expect(201);
    let made = world.server.post("/api/v1/sessions", json!({"client_id": format!("web:{bot}"), "bot_id": bot}));
    let task = world.server.ask(made.expect(201)["session_id"].as_str().unwrap(), "Hello");
    world.server.wait_for(&task, &["complete", "failed", "waiting"])
}

/// Provider and model of every step that asked one.
fn answered(world: &World, task: &Value) -> Vec<Value> {
    let trace = world.server.trace(task["id"].as_str().unwrap());
    let steps = trace["steps"].as_array().unwrap_or_else(|| panic!("{trace:#}")).iter();
    let of = |step: &Value| json!([step["kind"], step["model"], step["provider"]]);
    steps.filter(|step| step["kind"].as_str().unwrap().starts_with("model")).map(of).collect()
}

#[test]
fn a_model_is_found_by_its_provider_or_by_its_name() {
    let world = World::start();
    let (claude, other) = (FakeAnthropic::start(), FakeModel::start());
    claude.script(|_| Turn::text("Claude here."));
    other.script(|asked| Turn::text(&format!("{} here.", asked.model())));
    provide(&world, "claude", "anthropic", &claude.url(), json!({"models": [NAME]}));
    provide(&world, "local", "openai", &other.url(), json!({"models": ["small", "org/large"]}));
    let cases = [
        (format!("claude/{NAME}"), "Claude here."),
        (NAME.into(), "Claude here."),
        ("local/anything".into(), "anything here."),
        ("small".into(), "small here."),
        ("org/large".into(), "org/large here."),
        ("default/scripted-2".into(), "Understood."),
        ("of-nobody".into(), "Understood."),
    ];
    for (model, said) in cases {
        assert_eq!(asks(&world, &[&model])["result"], said, "{model}");
    }
    let asked: Vec<String> = world.model.asked().iter().map(|asked| asked.model().to_owned()).collect();
    assert_eq!(asked, ["scripted-2", "of-nobody"]);
    assert!(other.keys().iter().all(|key| *key == format!("Bearer {KEY}")), "{:?}", other.keys());
}

#[test]
fn without_the_environment_a_bot_names_its_provider_or_waits() {
    let world = World::start_with(|options| options.without("LLM_BASE_URL").without("LLM_MODEL"));
    let claude = FakeAnthropic::start();
    provide(&world, "claude", "anthropic", &claude.url(), json!({}));
    assert_eq!(asks(&world, &[&format!("claude/{NAME}")])["result"], "Understood.");
    let lost = asks(&world, &["cloud/typo"]);
    assert_eq!((&lost["status"], &lost["error"]["code"]), (&json!("waiting"), &json!("not_configured")), "{lost:#}");
    // What waits goes on when its provider is there.
    provide(&world, "cloud", "anthropic", &claude.url(), json!({}));
    assert_eq!(world.server.complete(lost["id"].as_str().unwrap())["result"], "Understood.");
}

#[test]
fn anthropic_is_told_everything_in_its_own_words() {
    let world = World::start();
    let claude = FakeAnthropic::start();
    provide(&world, "claude", "anthropic", &claude.url(), json!({"defaults": {"max_tokens": 77, "temperature": 0.5}}));
    claude.script(|asked| match asked["messages"].as_array().unwrap().len() {
        1 => Turn::TextAndCalls(
            "Looking.".into(),
            vec![("github_get_pr".into(), json!({"repo": "octo/hello", "number": 1}))],
        ),
        _ => Turn::text("Looked."),
    });
    let bot = json!({"id": "r", "model": format!("claude/{NAME}"), "tools": ["github_get_pr"], "system_prompt": "You review."});
    world.server.post("/api/v1/bots", bot).expect(201);
    let made = world.server.post("/api/v1/sessions", json!({"client_id": "web:r", "bot_id": "r"})).expect(201);
    let body = json!({"content": "Look", "execution_config": {"system_preamble": "It is urgent."}});
    let task = world.server.ask_with(made["session_id"].as_str().unwrap(), body);
    assert_eq!(world.server.complete(&task)["result"], "Looked.");
    let asked = claude.asked();
    let system: Vec<&str> =
        asked[1]["system"].as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap()).collect();
    assert_eq!((system[0], *system.last().unwrap()), ("You review.", "It is urgent."));
    assert_eq!((&asked[1]["max_tokens"], &asked[1]["temperature"]), (&json!(77), &json!(0.5)));
    let kinds: Vec<Value> = asked[1]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|m| m["content"].as_array().unwrap())
        .map(|b| b["type"].clone())
        .collect();
    assert_eq!(kinds, ["text", "text", "tool_use", "tool_result"]);
    assert_eq!(asked[1]["tools"][0]["input_schema"]["type"], "object");
    // What was read from the cache and written to it was paid for as well: 3 + 2 + 6 in, 7 out, twice.
    assert_eq!(
        world.server.trace(&task)["steps"][1]["answer"]["usage"],
        json!({"prompt_tokens": 11, "completion_tokens": 7, "cached_tokens": 6, "cache_written_tokens": 2})
    );
}

#[test]
fn each_failure_of_anthropic_has_its_way() {
    let world = World::start();
    let claude = FakeAnthropic::start();
    let model = format!("claude/{NAME}");
    provide(&world, "claude", "anthropic", &claude.url(), json!({}));
    let overloaded = || fails(529, "overloaded_error", "Overloaded", Vec::new());
    claude.queue([overloaded(), fails(429, "rate_limit_error", "Slow down", vec![("retry-after", "1".into())])]);
    assert_eq!(asks(&world, &[&model])["result"], "Understood.", "both pass");
    for (status, kind, state) in [
        (401, "authentication_error", "waiting"),
        (402, "billing_error", "waiting"),
        (403, "permission_error", "failed"),
        (404, "not_found_error", "failed"),
        (400, "invalid_request_error", "failed"),
        (413, "request_too_large", "failed"),
    ] {
        claude.queue([fails(status, kind, "No", Vec::new())]);
        let task = asks(&world, &[&model]);
        assert_eq!((&task["status"], &task["error"]["status"]), (&json!(state), &json!(status)), "{task:#}");
    }
    claude.queue([fails(400, "invalid_request_error", "Your credit balance is too low to access the API", Vec::new())]);
    assert_eq!(asks(&world, &[&model])["status"], "waiting");
}

#[test]
fn a_wrong_key_is_named_and_the_fallback_answers() {
    let world = World::start();
    let claude = FakeAnthropic::start();
    provide(&world, "claude", "anthropic", &claude.url(), json!({"api_key": "sk-ant-wrong-0123456789"}));
    let model = format!("claude/{NAME}");
    let task = asks(&world, &[&model, "scripted-1"]);
    assert_eq!(task["result"], "Understood.");
    let expected = [json!(["model_failed", model, null]), json!(["model", "scripted-1", "openai"])];
    assert_eq!(answered(&world, &task), expected);
    let alone = asks(&world, &[&model]);
    assert_eq!(alone["status"], "waiting");
    assert!(alone["error"]["hint"].as_str().unwrap().contains("the api_key of provider `claude`"), "{alone:#}");
    let tested = world.server.post("/api/v1/providers/claude/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["code"]), (&json!(false), &json!("auth")), "{tested:#}");
    // With the right one the run that waited goes on.
    let body = json!({"kind": "anthropic", "base_url": claude.url(), "api_key": KEY});
    world.server.put("/api/v1/providers/claude", body).expect(200);
    assert_eq!(world.server.complete(alone["id"].as_str().unwrap())["result"], "Understood.");
    let tested = world.server.post("/api/v1/providers/claude/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["models"]), (&json!(true), &json!([NAME])), "{tested:#}");
}

#[test]
fn a_key_goes_in_and_never_out_nor_to_another_address() {
    let world = World::start();
    let (claude, thief) = (FakeAnthropic::start(), FakeModel::start());
    let made = provide(&world, "claude", "anthropic", &claude.url(), json!({}));
    assert_eq!(made["api_key"], "••••••••");
    let moved = json!({"kind": "openai", "base_url": thief.url(), "api_key": made["api_key"]});
    let refused = world.server.put("/api/v1/providers/claude", moved).refused(422, "invalid");
    assert!(refused.contains("enter the key again"), "{refused}");
    // The mask and no key at all keep the stored one, null removes it.
    for (key, kept) in
        [(json!({"api_key": made["api_key"]}), true), (json!({}), true), (json!({"api_key": null}), false)]
    {
        let mut body = json!({"kind": "anthropic", "base_url": claude.url(), "models": ["m"]});
        body.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        let shown = world.server.put("/api/v1/providers/claude", body).expect(200);
        assert_eq!(shown["api_key"].is_string(), kept, "{key}");
    }
    provide(&world, "again", "anthropic", &claude.url(), json!({}));
    claude.script(|_| Turn::text(&format!("My key is {KEY}.")));
    assert_eq!(asks(&world, &[&format!("again/{NAME}")])["result"], "My key is ••••••••.");
    let said = world.server.get("/api/v1/providers").text();
    assert!(!said.contains(KEY) && !world.server.log().contains(KEY));
    let stored = world.server.options.stored();
    assert!(stored.contains("anthropic") && !stored.contains(KEY));
}

#[test]
fn what_is_wrong_with_a_provider_is_said() {
    let world = World::start();
    let post = |body: Value| world.server.post("/api/v1/providers", body);
    let base = json!({"id": "x", "kind": "openai"});
    let with = |key: &str, value: Value| {
        let mut body = base.clone();
        body[key] = value;
        body
    };
    for (body, about) in [
        (with("id", json!("a/b")), "id:"),
        (with("kind", json!("gemini")), "unknown variant"),
        (with("base_url", json!("ftp://x")), "base_url:"),
        (with("base_url", json!("https://me:secret@x/v1")), "api_key"),
        (with("models", json!([""])), "models:"),
        (with("defaults", json!({"temperature": 3})), "defaults.temperature"),
    ] {
        let detail = post(body.clone()).refused(422, "invalid");
        assert!(detail.contains(about), "{body}: {detail}");
    }
    post(with("id", json!("default"))).refused(409, "conflict");
    let made = post(base.clone()).expect(201);
    assert_eq!((&made["base_url"], &made["state"]), (&json!("https://api.openai.com/v1"), &json!("closed")));
    post(base.clone()).refused(409, "conflict");
    world.server.delete("/api/v1/providers/default").refused(409, "conflict");
    assert_eq!(world.server.delete("/api/v1/providers/x").status, 204);
    world.server.get("/api/v1/providers/x").refused(404, "not_found");
    let of_environment = &world.server.list("/api/v1/providers")[0];
    assert_eq!((&of_environment["id"], &of_environment["source"]), (&json!("default"), &json!("env")));
}

#[test]
fn a_provider_that_fails_again_and_again_is_passed_over_at_once() {
    let world = World::start();
    let broken = FakeModel::start();
    provide(&world, "broken", "openai", &broken.url(), json!({}));
    broken.script(|_| Turn::fails(500));
    let state = || world.server.get("/api/v1/providers/broken").expect(200)["state"].clone();
    // The first run tries it four times, the second once: then it is open.
    assert_eq!(asks(&world, &["broken/m", "scripted-1"])["result"], "Understood.");
    assert_eq!(state(), "closed");
    assert_eq!(asks(&world, &["broken/m", "scripted-1"])["result"], "Understood.");
    assert_eq!((state(), broken.calls()), (json!("open"), 5));
    let task = asks(&world, &["broken/m", "scripted-1"]);
    assert_eq!((&task["result"], broken.calls()), (&json!("Understood."), 5));
    let expected = [json!(["model_failed", "broken/m", null]), json!(["model", "scripted-1", "openai"])];
    assert_eq!(answered(&world, &task), expected);
    let metrics = world.server.get("/metrics").text();
    assert!(metrics.contains("tercel_provider_open{provider=\"broken\"} 1"), "{metrics}");
    assert!(metrics.contains("tercel_provider_open{provider=\"default\"} 0"), "{metrics}");

    // With nobody else the run waits, and goes on by itself when the provider is asked again and answers.
    broken.script(|_| Turn::text("Back."));
    let waits = asks(&world, &["broken/m"]);
    assert_eq!(waits["status"], "waiting", "{waits:#}");
    let id = waits["id"].as_str().unwrap();
    let done = until_within(Duration::from_secs(60), "the run goes on", || {
        Some(world.server.task(id)).filter(|task| task["status"] == "complete")
    });
    assert_eq!((&done["result"], state()), (&json!("Back."), json!("closed")));
}

#[test]
fn runs_wait_quietly_while_one_of_them_asks_whether_a_provider_is_back() {
    let world = World::start();
    let broken = FakeModel::start();
    provide(&world, "broken", "openai", &broken.url(), json!({}));
    broken.script(|_| Turn::fails(500));
    for _ in 0..2 {
        assert_eq!(asks(&world, &["broken/m", "scripted-1"])["result"], "Understood.");
    }
    // Whoever asks it now hears nothing.
    broken.script(|_| Turn::Never);
    let waiting: Vec<Value> = (0..2).map(|_| asks(&world, &["broken/m"])).collect();
    assert!(waiting.iter().all(|task| task["status"] == "waiting"), "{waiting:#?}");
    let parked = || {
        let of = |task: &Value| {
            let trace = world.server.trace(task["id"].as_str().unwrap());
            trace["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "parked").count()
        };
        waiting.iter().map(of).sum::<usize>()
    };
    until_within(Duration::from_secs(60), "one asks and the other one waits again", || {
        (broken.calls() == 6 && parked() == 3).then_some(())
    });
    pause(Duration::from_secs(4));
    assert_eq!((broken.calls(), parked()), (6, 3), "it looked every second");
}

#[test]
fn a_run_goes_on_when_the_model_answers_that_it_waits_for_and_not_for_any_other() {
    let world = World::start();
    let (locked, picky) = (FakeModel::start(), FakeModel::start());
    provide(&world, "locked", "openai", &locked.url(), json!({}));
    provide(&world, "picky", "openai", &picky.url(), json!({}));
    locked.script(|_| Turn::fails(401));
    picky.script(|asked| if asked.question() == "Hello" { Turn::text("Fine.") } else { Turn::fails(400) });
    let bot = json!({"id": "two", "model": "locked/m", "fallback_models": ["picky/m"]});
    world.server.post("/api/v1/bots", bot).expect(201);
    let made = world.server.post("/api/v1/sessions", json!({"client_id": "web:two", "bot_id": "two"})).expect(201);
    let task = world.server.ask(made["session_id"].as_str().unwrap(), "Refuse this");
    world.server.wait_for(&task, &["complete", "failed", "waiting"]);
    for _ in 0..3 {
        assert_eq!(asks(&world, &["picky/m"])["result"], "Fine.");
    }
    let waits = world.server.task(&task);
    let expected = [json!(["model_failed", "locked/m", null]), json!(["model_failed", "picky/m", null])];
    assert_eq!((&waits["status"], answered(&world, &waits).as_slice()), (&json!("waiting"), expected.as_slice()));
    locked.script(|_| Turn::text("Open."));
    assert_eq!(asks(&world, &["locked/m"])["result"], "Open.");
    assert_eq!(world.server.complete(&task)["result"], "Open.");
}

#[test]
fn ollama_is_found_and_offered() {
    let fake = Loopback::start(|request| async move {
        let body = match request.path.as_str() {
            "/api/tags" => json!({"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 5_200_000_000_u64}]}),
            _ => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "qwen3:8b",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Local."}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }),
        };
        Reply::json(200, &body)
    });
    let options = Options::new().env("OLLAMA_HOST", &fake.url());
    let said = options.run(&["doctor"]).out;
    assert!(said.contains("Ollama runs here") && said.contains("qwen3:8b") && said.contains("LLM_BASE_URL"), "{said}");
    let server = Server::start(options);
    until("the greeting offers it", || {
        server
            .log()
            .contains(&format!("Ollama runs here with models qwen3:8b: set LLM_BASE_URL={}/v1", fake.url()))
            .then_some(())
    });
    let body = json!({"id": "local", "kind": "ollama", "base_url": fake.url()});
    server.post("/api/v1/providers", body).expect(201);
    let tested = server.post("/api/v1/providers/local/test", json!({})).expect(200);
    assert_eq!(tested["models"], json!(["qwen3:8b"]));
    server.post("/api/v1/bots", json!({"id": "l", "model": "local/qwen3:8b"})).expect(201);
    let asked = json!({"model": "l", "messages": [{"role": "user", "content": "Hello"}]});
    let answer = server.post("/v1/chat/completions", asked).expect(200);
    assert_eq!(answer["choices"][0]["message"]["content"], "Local.");
}

#[test]
fn a_ceiling_of_tokens_holds_for_models_too() {
    let world = World::start_with(|options| options.env("TERCEL_TOKENS_PER_DAY", "30"));
    let ask = || {
        let body = json!({"model": "default", "messages": [{"role": "user", "content": "Hello"}]});
        world.server.post("/v1/chat/completions", body)
    };
    assert_eq!((ask().status, ask().status), (200, 200));
    let refused = ask().expect(429);
    assert_eq!((&refused["error"]["code"], &refused["code"]), (&json!("rate_limit_exceeded"), &json!("rate_limited")));
    assert!(refused["error"]["message"].as_str().unwrap().contains("TERCEL_TOKENS_PER_DAY"), "{refused}");
    assert_eq!(world.model.calls(), 2);
}

#[test]
fn a_secret_that_a_model_repeats_is_not_streamed() {
    let world = World::start();
    world.model.script(|_| Turn::text(&format!("Your key is {} so there", tercel_tests::server::KEY)));
    let body = json!({"model": "default", "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let said = world.server.post("/v1/chat/completions", body).text();
    let text: String = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, "Your key is •••••••• so there");
    assert!(said.trim_end().ends_with("data: [DONE]"), "{said}");
}

#[test]
fn a_whole_answer_that_broke_off_is_asked_for_again() {
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Ordering::Relaxed);
    let counted = asked.clone();
    let model = Loopback::start(move |_| {
        let piece = |text: &str| json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]});
        let pieces = match counted.fetch_add(1, count) % 2 {
            0 => vec![
                piece("Half an ans"),
                json!({"error": {"message": "The server had an error", "type": "server_error"}}),
            ],
            _ => vec![
                piece("The whole answer."),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            ],
        };
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(bytes::Bytes::from(format!("data: {piece}\n\n")))).collect();
        async move { Reply::stream("text/event-stream", futures::stream::iter(pieces)) }
    });
    let world = World::start_with(|options| options.env("LLM_BASE_URL", &format!("{}/v1", model.url())));
    let body = json!({"model": "default", "messages": [{"role": "user", "content": "Hello"}]});
    let mut in_session = body.clone();
    in_session["metadata"] = json!({"client_id": "web:alice"});
    for (n, body) in [(2, body), (4, in_session)] {
        let answer = world.server.post("/v1/chat/completions", body).expect(200);
        assert_eq!(answer["choices"][0]["message"]["content"], "The whole answer.");
        assert_eq!(asked.load(count), n, "nobody had seen the first half");
    }
}

#[test]
fn what_came_of_an_answer_that_broke_off_is_counted() {
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Ordering::Relaxed);
    let model = Loopback::start(move |_| {
        let piece = |text: &str| json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]});
        let pieces = match asked.fetch_add(1, count) {
            0 => vec![
                piece(&"word ".repeat(1000)),
                json!({"error": {"message": "The server had an error", "type": "server_error"}}),
            ],
            _ => vec![
                piece("All of it."),
                json!({
                    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
                }),
            ],
        };
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(bytes::Bytes::from(format!("data: {piece}\n\n")))).collect();
        async move { Reply::stream("text/event-stream", futures::stream::iter(pieces)) }
    });
    let world = World::start_with(|options| options.env("LLM_BASE_URL", &format!("{}/v1", model.url())));
    let task = world.server.ask(&world.server.session("web:alice"), "Hello");
    assert_eq!(world.server.complete(&task)["result"], "All of it.");
    let line = world.server.list("/api/v1/usage?by=model")[0].clone();
    // About four characters are a token.
    assert!(line["completion_tokens"].as_u64().unwrap() > 1200, "{line:#}");
    assert!(line["prompt_tokens"].as_u64().unwrap() > 3, "{line:#}");
}

#[test]
fn a_stream_that_breaks_off_says_so() {
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Ordering::Relaxed);
    let counted = asked.clone();
    let half = Loopback::start(move |_| {
        counted.fetch_add(1, count);
        let pieces = [
            json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Half an ans"}}]}),
            json!({"error": {"message": "The server had an error", "type": "server_error"}}),
        ];
        let pieces = pieces.map(|piece| Ok(bytes::Bytes::from(format!("data: {piece}\n\n"))));
        async move { Reply::stream("text/event-stream", futures::stream::iter(pieces)) }
    });
    let world = World::start_with(|options| options.env("LLM_BASE_URL", &format!("{}/v1", half.url())));
    let body = json!({"model": "default", "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let said = world.server.post("/v1/chat/completions", body).text();
    let last = said.trim_end().lines().last().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "server_error", "{said}");
    assert!(said.contains("Half an an"), "{said}");
    assert_eq!(asked.load(count), 1, "what was shown cannot be taken back, so it is not tried again");
}

#[test]
fn what_a_cache_spared_is_counted_and_has_its_own_price() {
    let world = World::start();
    let claude = FakeAnthropic::start();
    provide(&world, "claude", "anthropic", &claude.url(), json!({}));
    let model = format!("claude/{NAME}");
    let price = json!({"prompt": 100.0, "completion": 0.0, "cached": 10.0, "cache_written": 125.0});
    let prices = json!({"prices": {&*model: price}});
    assert_eq!(world.server.put("/api/v1/usage/prices", prices.clone()).expect(200), prices);
    assert_eq!(asks(&world, &[&model])["status"], "complete");
    let line = world.server.list("/api/v1/usage?by=model")[0].clone();
    let counted = json!([line["prompt_tokens"], line["cached_tokens"], line["cache_written_tokens"], line["cost_usd"]]);
    assert_eq!(counted, json!([11, 6, 2, 0.00061]), "3 for 100, 6 for 10, 2 for 125");
}
