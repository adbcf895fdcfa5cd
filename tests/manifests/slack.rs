//! The shipped bot for Slack against a fake of Slack: what comes by the Events API and by connections of socket mode, and what
//! is shown of the tools that are called.

use crate::{real::Real, world::card};
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tercel_tests::{
    Client, FakeModel, Options, Server, Turn, events, until,
    wait::{pause, until_within},
};

const APP_TOKEN: &str = "xapp-1-A0123456789-of-the-tests-0123456789";
const BOT_TOKEN: &str = "xoxb-of-the-tests-0123456789-abcdef";
const SIGNING_SECRET: &str = "signing-secret-of-the-tests-0123456789";
const PROCESS: &str = "/api/v1/admin/integrations/slack/process";
/// An environment for Python may have to be made first.
const PREPARING: Duration = Duration::from_secs(240);

struct World {
    server: Server,
    model: FakeModel,
    slack: Slack,
}

struct Slack(Real);

impl Slack {
    fn start() -> Self {
        Self(Real::start("slack", tempfile::tempdir().unwrap(), &[APP_TOKEN, BOT_TOKEN]))
    }

    fn client(&self) -> Client {
        Client { base: self.0.url(), key: None }
    }

    /// Something happens at Slack.
    fn act(&self, what: Value) {
        self.client().post("/test/do", what).expect(200);
    }

    fn state(&self) -> Value {
        self.client().get("/test/state").expect(200)
    }

    fn count(&self, what: &str) -> usize {
        self.state()[what].as_array().unwrap().len()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, count: usize) -> Vec<Value> {
        until_within(Duration::from_secs(60), &format!("{count} {what}"), || {
            Some(self.state()[what].as_array().unwrap().clone()).filter(|all| all.len() >= count)
        })
    }

    #[track_caller]
    fn is_connected(&self) {
        until_within(PREPARING, "it is connected", || (self.state()["connected"] == 1).then_some(()));
    }

    fn sends(&self, payload: &Value) {
        self.act(json!({"do": "event", "payload": payload}));
    }
}

fn options(slack: &Slack, model: &FakeModel) -> Options {
    let options = Options::new().model(model).env("SLACK_API_URL", &format!("{}/api", slack.0.url()));
    options.env("SLACK_BOT_TOKEN", BOT_TOKEN).env("SLACK_SIGNING_SECRET", SIGNING_SECRET)
}

fn world(change: impl FnOnce(Options) -> Options) -> World {
    let (slack, model) = (Slack::start(), FakeModel::start());
    let looks = json!({"channel": "C0123456789", "thread": "1750000000.000100"});
    model.script(move |asked| match asked.results().is_empty() {
        true => Turn::call("slack_thread", looks.clone()),
        false => Turn::text("The build is <fine>, <!channel>."),
    });
    let server = Server::start(change(options(&slack, &model)));
    World { server, model, slack }
}

/// With a connection instead of a public address.
fn at_home() -> World {
    let world = world(|options| options.with_shared_python().env("SLACK_APP_TOKEN", APP_TOKEN));
    world.slack.is_connected();
    world
}

fn mention(id: &str, ts: &str, more: &Value) -> Value {
    let mut event = json!({"type": "app_mention", "user": "U0123456789", "text": "<@U9876543210> what broke?", "ts": ts,
                           "channel": "C0123456789", "event_ts": ts});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"token": "unused", "team_id": "T0123456789", "api_app_id": "A0123456789", "type": "event_callback",
           "event_id": id, "event_time": 1_750_000_000, "event": event})
}

impl World {
    /// By the Events API.
    fn posted(&self, payload: &Value) -> Value {
        let (body, now) = (payload.to_string(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let signature = events::sign(SIGNING_SECRET, format!("v0:{now}:{body}").as_bytes());
        let signature = signature.replace("sha256=", "v0=");
        let now = now.to_string();
        let headers = [("x-slack-request-timestamp", now.as_str()), ("x-slack-signature", signature.as_str())];
        self.server.anonymous().call("POST", "/integrations/slack/webhook", &headers, body).expect(200)
    }

    fn process(&self) -> Value {
        self.server.get(PROCESS).expect(200)
    }

    fn log(&self) -> String {
        self.server.get(&format!("{PROCESS}/logs")).expect(200).to_string()
    }

    /// Nothing of what is secret was written anywhere.
    fn is_discreet(&self) {
        let (log, stored) = (self.server.log() + &self.log(), self.server.options.stored());
        for secret in [APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, "ticket="] {
            assert!(!log.contains(secret), "{secret} is in the log");
            assert!(!stored.contains(secret), "{secret} is in the database");
        }
    }
}

#[test]
fn without_an_app_token_there_is_no_process_and_no_python() {
    let world = world(|options| options);
    let card = card(&world.server, "slack");
    assert_eq!((&card["status"], &card["way"]), (&json!("partial"), &json!("manifest")), "{card:#}");
    let process = until("it waits", || Some(world.process()).filter(|process| process["status"] == "waiting"));
    assert_eq!(process["missing"], json!(["SLACK_APP_TOKEN"]));
    let taken = world.posted(&mention("Ev1", "1750000000.000200", &json!({"thread_ts": "1750000000.000100"})));
    world.server.complete(taken["tasks"][0].as_str().unwrap());
    let posts = world.slack.wait_for("posts", 1);
    assert_eq!((&posts[0]["channel"], &posts[0]["thread_ts"]), (&json!("C0123456789"), &json!("1750000000.000100")));
    // On the message itself, which is not the first of its thread.
    let reacted = world.slack.wait_for("reacted", 3);
    let on = |what: &str, emoji: &str| json!([what, emoji, "C0123456789", "1750000000.000200"]);
    assert_eq!(reacted, [on("add", "eyes"), on("add", "wrench"), on("remove", "eyes")]);
    assert_eq!(world.slack.count("opens"), 0);
    let made = fs::read_dir(world.server.options.data_directory().join("envs")).unwrap().count();
    assert_eq!(made, 0, "an environment was made, or Python was looked for");
    world.is_discreet();
}

#[test]
fn what_comes_by_a_connection_is_what_comes_by_the_webhook() {
    let world = at_home();
    assert_eq!(world.process()["status"], "running");
    let first = mention("Ev1", "1750000000.000100", &json!({}));
    world.slack.sends(&first);
    let posts = world.slack.wait_for("posts", 1);
    assert_eq!((&posts[0]["channel"], &posts[0]["thread_ts"]), (&json!("C0123456789"), &json!("1750000000.000100")));
    assert!(posts[0]["text"].as_str().unwrap().contains("&lt;!channel&gt;"), "{:#}", posts[0]);
    assert_eq!(world.slack.wait_for("acknowledged", 1), [json!({"event_id": "Ev1", "attempt": 0})]);
    let deliveries = world.server.list("/api/v1/deliveries?integration=slack");
    assert_eq!(deliveries.len(), 1, "{deliveries:#?}");
    let asked = world.model.asked();
    assert!(asked[0].question().contains("U0123456789: <@U9876543210> what broke?"), "{:#}", asked[0].0);
    assert_eq!(world.posted(&first)["status"], "duplicate", "the same by the other way");
    // What bots write, this one among them, and what nobody subscribed to: acknowledged, and no run.
    world.slack.sends(&mention("Ev2", "1750000000.000300", &json!({"bot_id": "B1"})));
    world.slack.sends(&mention("Ev3", "1750000000.000400", &json!({"type": "reaction_added"})));
    world.slack.wait_for("acknowledged", 3);
    // And the other way round.
    world.posted(&mention("Ev4", "1750000000.000500", &json!({})));
    world.slack.sends(&mention("Ev4", "1750000000.000500", &json!({})));
    world.slack.wait_for("acknowledged", 4);
    world.slack.wait_for("posts", 2);
    assert_eq!(world.model.calls(), 4, "two runs, each with a tool and an answer");
    world.is_discreet();
}

#[test]
fn nonsense_ends_nothing_and_what_slack_closes_is_opened_again() {
    let world = at_home();
    for text in [
        "{garbage",
        "hello?",
        "[]",
        "{\"type\": 7}",
        "{\"type\": \"events_api\", \"envelope_id\": \"e\", \"payload\": 5}",
    ] {
        world.slack.act(json!({"do": "send", "text": text}));
    }
    world.slack.act(json!({"do": "send_bytes", "bytes": [0, 255, 128]}));
    world
        .slack
        .act(json!({"do": "send", "text": "{\"type\": \"slash_commands\", \"envelope_id\": \"e\", \"payload\": {}}"}));
    world.slack.sends(&mention("Ev1", "1750000000.000100", &json!({})));
    world.slack.wait_for("acknowledged", 1);
    world.slack.act(json!({"do": "disconnect", "reason": "warning"}));
    world.slack.wait_for("opens", 2);
    world.slack.is_connected();
    world.slack.sends(&mention("Ev2", "1750000000.000200", &json!({})));
    world.slack.wait_for("acknowledged", 2);
    world.slack.act(json!({"do": "disconnect", "reason": "refresh_requested"}));
    world.slack.wait_for("opens", 3);
    world.slack.sends(&mention("Ev3", "1750000000.000300", &json!({})));
    world.slack.wait_for("acknowledged", 3);
    world.slack.act(json!({"do": "drop"}));
    world.slack.wait_for("opens", 4);
    world.slack.sends(&mention("Ev4", "1750000000.000400", &json!({})));
    world.slack.wait_for("posts", 4);
    let process = world.process();
    assert_eq!((&process["status"], &process["restarts"]), (&json!("running"), &json!(0)), "{process:#}");
    assert_eq!(world.model.calls(), 8, "each was answered once");
}

#[test]
fn what_the_server_did_not_take_before_it_died_comes_again_and_what_it_took_is_known() {
    let mut world = at_home();
    let (first, second) =
        (mention("Ev1", "1750000000.000100", &json!({})), mention("Ev2", "1750000000.000200", &json!({})));
    world.slack.sends(&first);
    world.slack.wait_for("posts", 1);
    // It has come out of the connection, and is at the door of a server that does not answer any more.
    world.server.freeze();
    world.slack.sends(&second);
    world.slack.wait_for("sent", 2);
    pause(Duration::from_secs(1));
    world.server.kill9();
    assert_eq!(world.slack.count("acknowledged"), 1);
    world.server.start_again();
    world.slack.is_connected();
    let posts = world.slack.wait_for("posts", 2);
    assert_eq!(posts[1]["thread_ts"], "1750000000.000200");
    let acknowledged = world.slack.wait_for("acknowledged", 2);
    assert!(acknowledged[1]["event_id"] == "Ev2" && acknowledged[1]["attempt"].as_i64() > Some(0), "{acknowledged:#?}");
    // One that was taken, and whose acknowledgement got lost with the server.
    world.slack.sends(&first);
    world.slack.wait_for("acknowledged", 3);
    let runs = world.server.list("/api/v1/tasks");
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert_eq!(world.slack.count("posts"), 2);
}

#[test]
fn a_token_that_slack_does_not_take_is_told_and_not_tried_without_end() {
    let world = world(|options| options.with_shared_python().env("SLACK_APP_TOKEN", BOT_TOKEN));
    let failing = until_within(PREPARING, "it is left alone", || {
        Some(world.process()).filter(|process| process["status"] == "failing")
    });
    assert_eq!(failing["restarts"], 4, "{failing:#}");
    let notice = world.server.notice("process:slack");
    let detail = notice["detail"].as_str().unwrap();
    assert!(detail.contains("not_allowed_token_type") && detail.contains("connections:write"), "{notice:#}");
    assert_eq!(world.slack.count("opens"), 5);
    assert_eq!(card(&world.server, "slack")["status"], "ready", "the rest of it goes on");
    world.posted(&mention("Ev1", "1750000000.000100", &json!({})));
    world.slack.wait_for("posts", 1);
    let settings = json!({"settings": {"SLACK_APP_TOKEN": APP_TOKEN}});
    world.server.put("/api/v1/admin/integrations/slack/settings", settings).expect(200);
    world.slack.is_connected();
    world.slack.sends(&mention("Ev2", "1750000000.000200", &json!({})));
    world.slack.wait_for("posts", 2);
    world.is_discreet();
}

#[test]
fn every_call_of_a_tool_is_written_down_in_short_and_what_slack_forbids_disturbs_no_run() {
    let world = world(|options| options.env("SLACK_AUDIT_CHANNEL", "C0000000009"));
    world.slack.act(json!({"do": "forbid", "scope": "reactions:write"}));
    let arguments = json!({"channel": "C0123456789", "text": format!("<!channel>\n{}", "long ".repeat(100))});
    world.model.script(move |asked| match asked.results().is_empty() {
        true => Turn::call("slack_post", arguments.clone()),
        false => Turn::text("Done."),
    });
    let session = world.server.session("web:alice");
    let run = json!({"content": "Tell them", "execution_config": {"tools": ["slack_post"]}});
    world.server.complete(&world.server.ask_with(&session, run));
    let audit = |count: usize| {
        until(&format!("{count} lines"), || {
            let posts = world.slack.state()["posts"].as_array().unwrap().clone();
            let lines: Vec<Value> = posts.into_iter().filter(|post| post["channel"] == "C0000000009").collect();
            (lines.len() >= count).then_some(lines)
        })
    };
    let line = audit(1)[0].clone();
    assert_eq!(line["text"], "slack_post");
    let text = &line["blocks"][0]["text"];
    assert_eq!(text["type"], "plain_text");
    let text = text["text"].as_str().unwrap();
    assert!(
        text.starts_with("slack_post (")
            && text.contains(" ms) by default in web:alice: channel=C0123456789, text=<!channel> long"),
        "{text}"
    );
    assert!(text.chars().count() < 200 && !text.contains('\n'), "{text}");
    let looks = json!({"channel": "C0123456789", "thread": "1750000000.000100"});
    world.model.script(move |asked| match asked.results().is_empty() {
        true => Turn::call("slack_thread", looks.clone()),
        false => Turn::text("It is fine."),
    });
    let taken = world.posted(&mention("Ev1", "1750000000.000100", &json!({})));
    world.server.complete(taken["tasks"][0].as_str().unwrap());
    audit(2);
    assert_eq!(world.slack.state()["reactions"]["C0123456789 1750000000.000100"], json!([]), "nobody may react");
    world.is_discreet();
}
