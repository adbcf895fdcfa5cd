//! Driven by the client libraries of others: those of providers ask our `/v1`, and judge the fakes that our adapters are
//! tested against.

use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};
use tercel_tests::{FakeAnthropic, FakeModel, Receiver, Turn, World, anthropic, model, server::KEY, tree, wait};

/// What a script of `tests/clients` says.
#[track_caller]
fn python(arguments: &[&str]) -> Value {
    let root = tree::root();
    let program = root.join("target/clients/bin/python");
    assert!(program.is_file(), "{program:?} is not there: `make test` installs the clients");
    let script = root.join("tests/clients").join(arguments[0]);
    let said = Command::new(program).arg("-I").arg(script).args(&arguments[1..]).env_clear().output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{arguments:?} failed:\n{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[track_caller]
fn openai(world: &World, what: &str, more: &[&str]) -> Value {
    python(&[&["bots.py", &world.server.base, KEY, what], more].concat())
}

#[test]
fn the_fakes_answer_as_the_real_providers_do() {
    let fake = FakeModel::start();
    let call = || Turn::call("weather", json!({"town": "Ghent"}));
    fake.queue([Turn::text("Hi there"), Turn::text("Hi again"), call(), Turn::fails(401), Turn::busy(3)]);
    let expected = json!({
        "whole": "Hi there", "streamed": "Hi again", "called": "weather", "models": [model::NAME],
        "errors": [["AuthenticationError", 401], ["RateLimitError", 429]],
    });
    assert_eq!(python(&["shapes.py", "openai", &fake.url(), "k"]), expected);

    let fake = FakeAnthropic::start();
    let fails = |status, kind: &str| anthropic::fails(status, kind, "No", Vec::new());
    fake.queue([Turn::text("Hi there"), Turn::text("Hi again"), call()]);
    fake.queue([fails(429, "rate_limit_error"), fails(529, "overloaded_error"), fails(413, "request_too_large")]);
    let expected = json!({
        "whole": "Hi there", "streamed": "Hi again", "called": ["tool_use", "weather", {"town": "Ghent"}], "cached": 6,
        "models": [anthropic::NAME], "wrong key": ["AuthenticationError", 401],
        "errors": [["RateLimitError", 429], ["OverloadedError", 529], ["RequestTooLargeError", 413]],
    });
    assert_eq!(python(&["shapes.py", "anthropic", &fake.url(), anthropic::KEY]), expected);
}

#[test]
fn bots_are_listed_as_models() {
    let world = World::start();
    world.server.post("/api/v1/bots", json!({"id": "reviewer"})).expect(201);
    let expected = json!({
        "listed": ["default", "default:plain", "reviewer", "reviewer:plain"], "one": ["default:plain", "model", "tercel"],
    });
    assert_eq!(openai(&world, "models", &[]), expected);
}

#[test]
fn a_bot_answers_whole_and_in_pieces_and_keeps_nothing() {
    let world = World::start();
    assert_eq!(openai(&world, "whole", &[]), json!(["Understood.", "stop", 18, "chat.completion", "default"]));
    assert_eq!(openai(&world, "streamed", &[]), json!(["Understood.", true, "stop", 18]));
    assert_eq!((world.server.list("/api/v1/sessions"), world.server.list("/api/v1/tasks")), (vec![], vec![]));
    let asked = world.model.asked();
    assert_eq!(asked[0].said_by("user"), ["Hello"]);
    assert!(asked[0].said_by("system")[0].starts_with("You are a careful assistant"));
}

#[test]
fn tools_of_the_client_come_back_to_the_client() {
    let world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => Turn::call("weather", json!({"town": "Ghent"})),
        results => Turn::text(&format!("Then: {}", results.join(" "))),
    });
    for model in ["default", "default:plain"] {
        let expected = json!(["tool_calls", ["weather"], "Then: It rains in Ghent."]);
        assert_eq!(openai(&world, "tools", &[model]), expected, "{model}");
        assert_eq!(openai(&world, "helper", &[model]), json!([null, "weather", {"town": "Ghent"}]), "{model}");
    }
}

#[test]
fn tools_of_the_bot_run_here_and_not_for_the_plain_one() {
    let world = World::start();
    world.server.post("/api/v1/bots", json!({"id": "reader", "tools": ["github_get_pr"]})).expect(201);
    world.model.script(|asked| match (asked.tools().contains(&"github_get_pr"), asked.results().len()) {
        (true, 0) => Turn::call("github_get_pr", json!({"repo": "octo/hello", "number": 1})),
        (true, _) => Turn::call("weather", json!({"town": "Ghent"})),
        (false, _) => Turn::call("weather", json!({"town": "Bruges"})),
    });
    assert_eq!(openai(&world, "helper", &["reader"]), json!([null, "weather", {"town": "Ghent"}]));
    let asked = world.model.asked();
    assert_eq!((asked.len(), asked[0].tools()), (2, vec!["weather", "github_get_pr"]));
    assert_eq!(openai(&world, "helper", &["reader:plain"]), json!([null, "weather", {"town": "Bruges"}]));
}

#[test]
fn a_session_by_metadata_remembers() {
    let world = World::start();
    world.model.script(|asked| Turn::text(&asked.said_by("user").join(" / ")));
    let expected = json!(["My name is Alice", "My name is Alice / What is my name?"]);
    assert_eq!(openai(&world, "session", &[]), expected);
    let sessions = world.server.list("/api/v1/sessions?client_id=openai:alice");
    assert_eq!(world.server.messages(sessions[0]["id"].as_str().unwrap()).len(), 4);
}

#[test]
fn an_answer_in_a_session_comes_in_pieces_too() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three."]);
    world.model.queue([turn]);
    let expected = json!(["One two three.", true, "stop", 18, 0]);
    let answer = std::thread::scope(|scope| {
        // Pieces that are there at the same time are one.
        scope.spawn(|| {
            let asked = || (world.model.calls() > 0).then_some(());
            wait::until_within(Duration::from_secs(60), "the client has started and asks", asked);
            for _ in 0..9 {
                gate.add_permits(1);
                wait::pause(Duration::from_millis(100));
            }
        });
        openai(&world, "placed", &["openai:bob"])
    });
    assert_eq!(answer, expected);
    // Who reads too late to see the pieces has the whole all the same, and both find it in the session.
    assert_eq!(openai(&world, "placed", &["openai:bob"])[0], "Understood.");
    let session = world.server.list("/api/v1/sessions?client_id=openai:bob")[0]["id"].clone();
    assert_eq!(world.server.messages(session.as_str().unwrap())[1]["content"], "One two three.");
}

#[test]
fn each_parameter_reaches_the_model_or_is_refused_by_its_name() {
    let world = World::start();
    world.model.script(|asked| match asked.0["tool_choice"].is_null() {
        true => Turn::text("{}"),
        false => Turn::call("weather", json!({"town": "Ghent"})),
    });
    let about = |value: &Value| {
        let keys = ["temperature", "max_tokens", "stop", "response_format", "tool_choice"];
        let mut value = value.clone();
        value.as_object_mut().unwrap().retain(|key, _| keys.contains(&key.as_str()));
        value
    };
    let schema = json!({"name": "town", "schema": {"type": "object"}});
    let sampling = json!({"temperature": 0.25, "max_tokens": 50, "stop": ["END"]});
    for place in ["", "openai:carol"] {
        let before = world.model.calls();
        assert_eq!(openai(&world, "shaped", &[place]), json!(["{}", "{}", "{}"]), "{place}");
        let asked: Vec<Value> = world.model.asked()[before..].iter().map(|asked| about(&asked.0)).collect();
        let formats = [
            json!({"response_format": {"type": "json_object"}}),
            json!({"response_format": {"type": "json_schema", "json_schema": schema}, "max_tokens": 60}),
        ];
        assert_eq!(asked, [sampling.clone(), formats[0].clone(), formats[1].clone()], "{place}");
    }
    assert_eq!(openai(&world, "forced", &[]), json!(["weather", "weather", "tool_calls"]));
    let asked = world.model.asked();
    let forced = json!({"type": "function", "function": {"name": "weather"}});
    assert_eq!(about(&asked[asked.len() - 2].0), json!({"tool_choice": "required"}));
    assert_eq!(about(&asked[asked.len() - 1].0), json!({"tool_choice": forced}));

    let refused = openai(&world, "unable", &[]);
    for (name, raised) in refused.as_object().unwrap() {
        let parameter = name.split(' ').next().unwrap();
        assert_eq!(
            (&raised[0], &raised[1], &raised[4]),
            (&json!("BadRequestError"), &json!(400), &json!(parameter)),
            "{name}"
        );
    }
    assert_eq!(refused.as_object().unwrap().len(), 12);
}

#[test]
fn what_a_provider_has_no_words_for_is_refused_by_the_parameters_name() {
    let fake = FakeAnthropic::start();
    let world = World::start();
    let provider = json!({"id": "claude", "kind": "anthropic", "base_url": fake.url(), "api_key": anthropic::KEY});
    world.server.post("/api/v1/providers", provider).expect(201);
    world.server.post("/api/v1/bots", json!({"id": "c", "model": format!("claude/{}", anthropic::NAME)})).expect(201);
    let raised = openai(&world, "as_json", &["c"]);
    assert_eq!((&raised[0], &raised[4]), (&json!("BadRequestError"), &json!("response_format")), "{raised}");
    assert!(raised[3].as_str().unwrap().contains("have no `json_object`"), "{raised}");
    assert_eq!(fake.asked().len(), 0);
}

#[test]
fn a_picture_in_the_request_is_shown_to_the_model() {
    let world = World::start();
    assert_eq!(openai(&world, "picture", &[]), "Understood.");
    let shown = json!({"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACw="}});
    let asked = world.model.asked();
    assert_eq!(asked[0].messages().last().unwrap()["content"], json!([{"type": "text", "text": "What is it?"}, shown]));
}

#[test]
fn failures_are_raised_as_clients_know_them() {
    let world = World::start();
    let raised = openai(&world, "failure", &[]);
    let of = |name: &str| (raised[name][0].as_str().unwrap().to_owned(), raised[name][2].clone());
    assert_eq!(of("unknown"), ("NotFoundError".into(), json!("model_not_found")));
    assert_eq!(of("wrong key"), ("AuthenticationError".into(), json!("invalid_api_key")));
    assert_eq!(of("many").0, "BadRequestError");
    assert_eq!(of("image").0, "BadRequestError");
    assert_eq!(raised["many"][4], "n");
    assert!(raised["unknown"][3].as_str().unwrap().contains("there is no `nobody`"), "{raised:#}");

    world.model.script(|_| Turn::fails(400));
    let refused = openai(&world, "refused", &[]);
    assert_eq!((&refused["whole"][0], &refused["streamed"][0]), (&json!("BadRequestError"), &json!("BadRequestError")));
    world.model.script(|_| Turn::exhausted());
    assert_eq!(openai(&world, "refused", &[])["whole"][1], 502);
}

#[test]
fn anthropic_behind_it_all_makes_no_difference() {
    let fake = FakeAnthropic::start();
    fake.script(|asked| {
        let last = asked["messages"].as_array().unwrap().last().unwrap();
        match last["content"][0]["type"] == "tool_result" {
            true => Turn::text(&format!("Then: {}", last["content"][0]["content"].as_str().unwrap())),
            false => Turn::TextAndCalls("Let me look.".into(), vec![("weather".into(), json!({"town": "Ghent"}))]),
        }
    });
    let world = World::start();
    let provider = json!({"id": "claude", "kind": "anthropic", "base_url": fake.url(), "api_key": anthropic::KEY});
    world.server.post("/api/v1/providers", provider).expect(201);
    world.server.post("/api/v1/bots", json!({"id": "c", "model": format!("claude/{}", anthropic::NAME)})).expect(201);
    assert_eq!(openai(&world, "tools", &["c"]), json!(["tool_calls", ["weather"], "Then: It rains in Ghent."]));
    assert_eq!(openai(&world, "helper", &["c"]), json!(["Let me look.", "weather", {"town": "Ghent"}]));
    assert_eq!(world.model.calls(), 0);
}

#[test]
fn what_a_hook_is_sent_is_verified_by_the_library_of_standard_webhooks() {
    let (world, receiver) = (World::start(), Receiver::start());
    let body = json!({"url": receiver.url(), "events": ["after_response"]});
    let made = world.server.post("/api/v1/hooks", body).expect(201);
    let rotate = format!("/api/v1/hooks/{}/rotate", made["id"].as_str().unwrap());
    let rotated = world.server.post(&rotate, json!({})).expect(200);
    world.server.complete(&world.server.ask(&world.server.session("web:a"), "hello"));
    let request = receiver.wait_for(1).remove(0);
    let headers: Value = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), json!(request.header(name))))
        .into_iter()
        .collect::<serde_json::Map<_, _>>()
        .into();
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    let page = fs::read_to_string(tree::root().join("docs/hooks.md")).unwrap();
    let code = page.split("```python\n").find(|rest| rest.starts_with("from standardwebhooks")).unwrap();
    let code = code.split("```").next().unwrap();
    let headers = headers.to_string();
    let verify = |secret: &Value| python(&["webhooks.py", code, secret.as_str().unwrap(), &headers, &body]);
    assert_eq!(verify(&made["secret"]), "after_response");
    assert_eq!(verify(&rotated["secret"]), "after_response");
    let stranger = json!("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(verify(&stranger), "WebhookVerificationError");
}
