//! Connections: several accounts of one service, tests that are made again and again, secrets that are replaced,
//! credentials that are revoked.

use crate::{
    tools::Arguments,
    world::{Place, World, board, open_with, place},
};
use axum::{body::Body, http::Request};
use serde_json::{Map, Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel::connection::retest::{self, Pace};
use tercel_sdk::{
    Brief, Checked, Dedupe, Depth, Error, Event, Field, Host, Inbound, Integration, Kind, Outbound, Outcome, Receipt,
    Received, Refusal, Result, Revoked, Scheme, Target, dispatcher, reads,
};

const CONNECTIONS: &str = "/api/v1/admin/integrations/board/connections";

/// What the board was asked for: by which connection, with which token, what.
type Log = Arc<Mutex<Vec<String>>>;

fn logs(log: &Log, host: &Host, what: &str) {
    let token = host.optional("token").unwrap_or("none");
    log.lock().unwrap().push(format!("{}/{token}: {what}", host.connection()));
}

fn received(host: Host, request: Inbound) -> Result<Received, Refusal> {
    let request = request.signed(&Scheme::bearer(host.field("secret")?))?;
    let text = String::from_utf8_lossy(request.body()).into_owned();
    let event =
        Event::stored("board:main", text).run(Brief::default()).reply_to(Target::new("board", json!({"list": "main"})));
    Ok(Received { dedupe: Dedupe::Never, name: "post.created".into(), outcome: Outcome::Events(vec![event]) })
}

/// A board that tells its accounts apart. The test passes for tokens that begin with `good`.
fn accounts(log: &Log) -> Integration {
    let (tested, looked, posted) = (log.clone(), log.clone(), log.clone());
    let check = move |host: Host| {
        let log = tested.clone();
        async move {
            logs(&log, &host, "test");
            match host.field("token")? {
                token if token.starts_with("good") => Ok(Checked {
                    depth: Depth::Auth,
                    account: Some(token.into()),
                    account_id: None,
                    message: "It works".into(),
                }),
                _ => Err(Error::new(Kind::Auth, "The board does not know the token").status(401)),
            }
        }
    };
    let look = move |host: Host, _: Arguments| {
        logs(&looked, &host, "look");
        async { Ok(json!("seen")) }
    };
    let post = move |host: Host, _: Map<String, Value>, out: Outbound| {
        logs(&posted, &host, &out.text);
        async { Ok(Receipt::default()) }
    };
    board()
        .field(Field::password("token", "Token").required())
        .field(Field::password("secret", "Secret").generate().rotate(Duration::from_secs(3_600)))
        .webhook(received)
        .connector(check)
        .dispatcher(dispatcher(post))
        .tool("board_look", reads(look))
}

async fn start(place: &Place, integration: Integration) -> World {
    let world = open_with(place.path(), vec![integration], &[]).await;
    world.work();
    world.call("PUT", "/api/v1/bots/default", json!({"id": "default", "tools": ["*"]})).await;
    world
}

async fn connect(world: &World, name: &str, token: &str, secret: &str) {
    let body = json!({"token": token, "secret": secret});
    let connected = world.call("POST", &format!("{CONNECTIONS}/{name}/connect"), body).await;
    assert_eq!((&connected["ok"], &connected["saved"]), (&json!(true), &json!(true)), "{connected:#}");
}

/// Something that the board sends to a connection.
async fn sent(world: &World, path: &str, secret: &str, text: &str) -> (u16, Value) {
    let request =
        Request::post(format!("/integrations/board/{path}")).header("authorization", format!("Bearer {secret}"));
    world.send(request.body(Body::from(text.to_owned())).unwrap()).await
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// By which connection the tool was called; an answer of an earlier run may arrive meanwhile.
fn looked(log: &Log) -> Option<String> {
    taken(log).into_iter().find_map(|entry| Some(entry.strip_suffix(": look")?.to_owned()))
}

#[tokio::test]
async fn what_comes_by_a_connection_is_worked_on_and_answered_by_it() {
    let (place, log) = (place(), Log::default());
    let world = start(&place, accounts(&log)).await;
    connect(&world, "default", "good-one", "secret-one").await;
    connect(&world, "work", "good-two", "secret-two").await;
    taken(&log);
    for (path, right, wrong, connection) in [
        ("webhook", "secret-one", "secret-two", "default/good-one"),
        ("c/work/webhook", "secret-two", "secret-one", "work/good-two"),
    ] {
        assert_eq!(sent(&world, path, wrong, "call board_look").await.0, 403, "the secret of another connection");
        let (status, answer) = sent(&world, path, right, "call board_look").await;
        assert_eq!(status, 200, "{answer:#}");
        let task = answer["tasks"][0].as_str().unwrap();
        world.row(task, "sent").await;
        assert_eq!(taken(&log), [format!("{connection}: look"), format!("{connection}: seen")]);
    }
    let (status, _) = sent(&world, "c/nobody/webhook", "secret-one", "x").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_model_and_a_target_choose_among_several_and_the_only_one_needs_no_choice() {
    let (place, log) = (place(), Log::default());
    let world = start(&place, accounts(&log)).await;
    connect(&world, "work", "good-two", "secret-two").await;
    let session = world.session(json!({"type": "board"})).await;
    taken(&log);
    for text in ["call board_look", "call board_look {\"connection\": \"default\"}"] {
        taken(&log);
        let task = world.say(&session, text).await;
        world.ended(&task).await;
        assert_eq!(looked(&log).unwrap(), "work/good-two", "the only one that has values; there is nothing to choose");
    }

    connect(&world, "default", "good-one", "secret-one").await;
    let other = json!({"client_id": "test:other", "dispatch_config": {"type": "board", "connection": "work"}});
    let other = world.call("POST", "/api/v1/sessions", other).await["session_id"].as_str().unwrap().to_owned();
    let quiet = json!({"client_id": "test:quiet", "dispatch_config": {"type": "none"}});
    let quiet = world.call("POST", "/api/v1/sessions", quiet).await["session_id"].as_str().unwrap().to_owned();
    for (session, text, expected) in [
        (&quiet, "call board_look", "default/good-one"),
        (&quiet, "call board_look {\"connection\": \"work\"}", "work/good-two"),
        (&other, "call board_look", "work/good-two"),
        (&other, "call board_look {\"connection\": \"default\"}", "default/good-one"),
    ] {
        taken(&log);
        let task = world.say(session, text).await;
        assert_eq!(world.ended(&task).await["status"], "complete");
        assert_eq!(looked(&log).unwrap(), expected, "{text}");
    }
    let unknown = world.ended(&world.say(&quiet, "call board_look {\"connection\": \"home\"}").await).await;
    assert!(unknown["result"].as_str().unwrap().contains("connection"), "{unknown:#}");

    let call = "/api/v1/tools/board_look/call";
    for (body, expected) in [(json!({"connection": "work"}), "work/good-two"), (json!({}), "default/good-one")] {
        taken(&log);
        world.call("POST", call, body).await;
        assert_eq!(looked(&log).unwrap(), expected);
    }
    assert_eq!(world.try_call("POST", call, json!({"connection": "home"})).await.0, 404);
}

#[tokio::test]
async fn what_leaves_by_a_connection_that_is_gone_waits_for_it() {
    let (place, log) = (place(), Log::default());
    let world = start(&place, accounts(&log)).await;
    connect(&world, "default", "good-one", "secret-one").await;
    let session = world.session(json!({"type": "board", "connection": "work"})).await;
    let task = world.say(&session, "hello").await;
    let row = world.row(&task, "parked").await;
    assert_eq!(row["error"]["message"], "`board` has no connection `work`");
    connect(&world, "work", "good-two", "secret-two").await;
    world.row(&task, "sent").await;
    assert_eq!(taken(&log).last().unwrap(), "work/good-two: You said: hello");
}

#[tokio::test]
async fn nothing_is_saved_unless_the_test_passes_or_somebody_insists() {
    let (place, log) = (place(), Log::default());
    let world = start(&place, accounts(&log)).await;
    let work = format!("{CONNECTIONS}/work");
    let names = async || {
        let all = world.get(CONNECTIONS).await["connections"].clone();
        all.as_array().unwrap().iter().map(|one| one["connection"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let bad = world.call("POST", &format!("{work}/connect"), json!({"token": "bad"})).await;
    assert_eq!(
        (&bad["ok"], &bad["code"], &bad["saved"], &bad["status"]),
        (&json!(false), &json!("auth"), &json!(false), &json!(401))
    );
    assert!(bad["latency_ms"].is_u64() && bad.get("generated").is_none(), "{bad:#}");
    assert_eq!(names().await, ["default"]);
    assert_eq!(world.try_call("GET", &work, Value::Null).await.0, 404);
    let insisted = world.call("POST", &format!("{work}/connect?insist=true"), json!({"token": "bad"})).await;
    assert_eq!((&insisted["ok"], &insisted["saved"]), (&json!(false), &json!(true)));
    let secret = insisted["generated"]["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 43);
    assert_eq!(sent(&world, "c/work/webhook", secret, "hello").await.0, 200, "what was made counts");
    let shown = world.get(&work).await;
    assert_eq!((&shown["state"], &shown["health"]["code"]), (&json!("unverified"), &json!("auth")));
    assert!(!shown.to_string().contains(secret) && !shown.to_string().contains("\"bad\""), "{shown:#}");

    // A blank secret stays as it is stored, and so does one that was made.
    let good = world.call("POST", &format!("{work}/connect"), json!({"token": "good", "secret": ""})).await;
    assert_eq!((&good["ok"], &good["account"], &good["depth"]), (&json!(true), &json!("good"), &json!("auth")));
    assert!(good.get("generated").is_none());
    assert_eq!(sent(&world, "c/work/webhook", secret, "again").await.0, 200);
    assert_eq!(world.get(&work).await["state"], "connected");
    assert_eq!(names().await, ["default", "work"]);
    for wrong in ["Work", "a.b", "1st"] {
        let (status, answer) = world.try_call("POST", &format!("{CONNECTIONS}/{wrong}/test"), json!({})).await;
        assert_eq!(status, 422, "{answer:#}");
    }
    taken(&log);
    let draft = world.call("POST", &format!("{work}/test"), json!({"token": "bad"})).await;
    assert_eq!((&draft["code"], taken(&log)), (&json!("auth"), vec!["work/bad: test".to_owned()]));
    assert_eq!(world.get(&work).await["state"], "connected", "a draft is a draft");
}

#[tokio::test]
async fn a_replaced_secret_counts_besides_the_new_one_for_its_time() {
    let (place, log) = (place(), Log::default());
    let world = start(&place, accounts(&log)).await;
    connect(&world, "work", "good", "secret-one").await;
    let rotate = format!("{CONNECTIONS}/work/rotate");
    let rotated = world.call("POST", &rotate, json!({"field": "secret"})).await;
    let new = rotated["value"].as_str().unwrap().to_owned();
    assert!(rotated["earlier_until"].is_string(), "{rotated:#}");
    let accepted = async |secret: &str| sent(&world, "c/work/webhook", secret, "hello").await.0;
    assert_eq!((accepted("secret-one").await, accepted(&new).await, accepted("secret-two").await), (200, 200, 403));
    let shown = world.get(&format!("{CONNECTIONS}/work")).await;
    assert!(shown["earlier"]["secret"].is_string() && !shown.to_string().contains("secret-one"), "{shown:#}");

    // The form has the same effect, and the same value once more ends nothing.
    connect(&world, "work", "good", "secret-two").await;
    connect(&world, "work", "good", "secret-two").await;
    assert_eq!((accepted("secret-one").await, accepted(&new).await, accepted("secret-two").await), (403, 200, 200));
    let at_once = json!({"field": "secret", "value": "secret-three", "overlap_seconds": 0});
    let rotated = world.call("POST", &rotate, at_once).await;
    assert_eq!((rotated.get("value"), &rotated["earlier_until"]), (None, &Value::Null));
    assert_eq!((accepted("secret-two").await, accepted("secret-three").await), (403, 200));
    let soon = json!({"field": "secret", "value": "secret-four", "overlap_seconds": 1});
    world.call("POST", &rotate, soon).await;
    assert_eq!(accepted("secret-three").await, 200);
    world.until("its time is over", async || (accepted("secret-three").await == 403).then_some(())).await;
    for (field, words) in [("token", "given to the service by us"), ("secre", "did you mean `secret`")] {
        let (status, answer) = world.try_call("POST", &rotate, json!({"field": field})).await;
        assert!(status == 422 && answer["detail"].as_str().unwrap().contains(words), "{answer:#}");
    }
}

/// A connector that fails as long as `fails` says, and counts.
fn moody(fails: impl Fn(usize) -> Option<Kind> + Send + Sync + 'static) -> (Integration, Arc<AtomicUsize>) {
    let (fails, tests) = (Arc::new(fails), Arc::new(AtomicUsize::new(0)));
    let counted = tests.clone();
    let check = move |_: Host| {
        let fails = fails(counted.fetch_add(1, Ordering::SeqCst));
        async move {
            match fails {
                None => Ok(Checked {
                    depth: Depth::Auth,
                    account: Some("me".into()),
                    account_id: None,
                    message: "It works".into(),
                }),
                Some(kind) => Err(Error::new(kind, "The board is not well").hint("Wait")),
            }
        }
    };
    (board().field(Field::password("token", "Token").required()).connector(check), tests)
}

const OFTEN: Pace =
    Pace { healthy: Duration::from_millis(20), asleep: Duration::from_millis(20), failing: Duration::from_millis(20) };

#[tokio::test]
async fn one_that_begins_to_fail_is_told_and_taken_back_when_it_is_well() {
    let place = place();
    let (integration, _) = moody(|n| (3..8).contains(&n).then_some(Kind::Network));
    let world = start(&place, integration).await;
    let put = json!({"settings": {"BOARD_TOKEN": "t"}});
    world.call("PUT", "/api/v1/admin/integrations/board/settings", put).await;
    world.app.work.spawn(retest::run_by(world.app.clone(), OFTEN));
    let notice =
        world.until("it is told", async || world.app.store.notices(Some(true), None, 9).await.unwrap().pop()).await;
    assert_eq!((notice.key.as_str(), notice.repair.as_deref()), ("connection:board", Some("Wait")));
    assert!(notice.detail.contains("The board is not well (network)"), "{}", notice.detail);
    let shown = world.get(&format!("{CONNECTIONS}/default")).await;
    assert_eq!(shown["state"], "failing");
    let since = shown["health"]["failing_since"].clone();
    assert!(since.is_string(), "{shown:#}");
    world.until("it is over", async || world.open_notices().await.is_empty().then_some(())).await;
    let history = world.get(&format!("{CONNECTIONS}/default/history")).await;
    let told: Vec<_> = history.as_array().unwrap().iter().map(|span| span["code"].as_str().unwrap()).collect();
    assert_eq!(told, ["ok", "network", "ok"]);
    assert_eq!((&history[1]["tests"], &history[1]["since"]), (&json!(5), &since));
    let first = world.get(&format!("{CONNECTIONS}/default/history?limit=1")).await;
    assert_eq!(first.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_short_failure_is_no_news_and_one_that_stays_is_told_across_a_restart() {
    let place = place();
    let (integration, tests) = moody(|n| (n == 2).then_some(Kind::Timeout));
    let world = start(&place, integration).await;
    world.call("PUT", "/api/v1/admin/integrations/board/settings", json!({"settings": {"BOARD_TOKEN": "t"}})).await;
    world.app.work.spawn(retest::run_by(world.app.clone(), OFTEN));
    world.until("it is well again", async || (tests.load(Ordering::SeqCst) > 4).then_some(())).await;
    let told = world.app.store.notices(None, None, 9).await.unwrap();
    assert_eq!(told.len(), 0, "{told:?}");
    world.stop().await;
    drop(world);

    let (integration, _) = moody(|_| Some(Kind::Forbidden));
    let world = start(&place, integration).await;
    world.app.work.spawn(retest::run_by(world.app.clone(), OFTEN));
    world.until("it is told", async || (world.open_notices().await == ["connection:board"]).then_some(())).await;
    world.stop().await;
    drop(world);
    let (integration, _) = moody(|_| None);
    let world = start(&place, integration).await;
    world.app.work.spawn(retest::run_all(world.app.clone()));
    world
        .until("what failed is tested at the start", async || world.open_notices().await.is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn credentials_that_are_refused_in_use_are_looked_at_at_once() {
    let place = place();
    let refused = |_: Host, _: Arguments| async { Err::<Value, _>(Error::new(Kind::Auth, "Who are you?")) };
    let (integration, tests) = moody(|n| (n > 0).then_some(Kind::Auth));
    let world = start(&place, integration.tool("board_look", reads(refused))).await;
    world.call("POST", &format!("{CONNECTIONS}/default/connect"), json!({"token": "t"})).await;
    world.app.work.spawn(retest::run_all(world.app.clone()));
    let session = world.session(json!({"type": "none"})).await;
    world.ended(&world.say(&session, "call board_look").await).await;
    world.until("it is tested", async || (tests.load(Ordering::SeqCst) == 2).then_some(())).await;
    let state = async || (world.get(&format!("{CONNECTIONS}/default")).await["state"] == "failing").then_some(());
    world.until("it is known to fail", state).await;
    assert_eq!(world.open_notices().await, ["credentials:board"], "told once");
}

#[tokio::test]
async fn what_was_refused_is_told_though_the_test_passes_and_leaves_after_the_next_one() {
    let (place, refuses) = (place(), Arc::new(AtomicBool::new(true)));
    let (integration, tests) = moody(|_| None);
    let asked = refuses.clone();
    let post = move |_: Host, _: Map<String, Value>, _: Outbound| {
        let refused = asked.load(Ordering::SeqCst);
        async move { if refused { Err(Error::new(Kind::Auth, "Who are you?")) } else { Ok(Receipt::default()) } }
    };
    let world = start(&place, integration.dispatcher(dispatcher(post))).await;
    world.call("POST", &format!("{CONNECTIONS}/default/connect"), json!({"token": "t"})).await;
    world.app.work.spawn(retest::run_all(world.app.clone()));
    let session = world.session(json!({"type": "board"})).await;
    let task = world.say(&session, "hello").await;
    world.row(&task, "parked").await;
    world.until("it is looked at", async || (tests.load(Ordering::SeqCst) == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.open_notices().await, ["credentials:board"], "the refusal is no less true");
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(world.call("POST", &format!("{CONNECTIONS}/default/test"), json!({})).await["ok"], true);
    world.row(&task, "sent").await;
    world.until("it is over", async || world.open_notices().await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn what_is_disconnected_is_revoked_and_forgotten_and_nothing_of_it_goes_on() {
    let (place, log) = (place(), Log::default());
    let revoking = log.clone();
    let revoke = move |host: Host| {
        logs(&revoking, &host, "revoke");
        async move {
            match host.field("token")? {
                "good-kept" => Ok(Revoked::Impossible("delete it at board.example/tokens".into())),
                "good-away" => Err(Error::new(Kind::Network, "Nobody answers there")),
                _ => Ok(Revoked::Done),
            }
        }
    };
    let world = start(&place, accounts(&log).revoke(revoke)).await;
    for (token, revoked, words) in [
        ("good-one", true, "It was disconnected, and its credentials are worth nothing any more"),
        (
            "good-kept",
            false,
            "It was disconnected. Its credentials still count at the service: delete it at board.example/tokens",
        ),
        (
            "good-away",
            false,
            "It was disconnected. Its credentials could not be revoked (Nobody answers there): revoke them there, if they shall not count any more",
        ),
    ] {
        connect(&world, "work", token, "secret").await;
        taken(&log);
        let gone = world.call("POST", &format!("{CONNECTIONS}/work/disconnect"), Value::Null).await;
        assert_eq!(gone, json!({"message": words, "revoked": revoked, "connection": null}));
        assert_eq!(taken(&log), [format!("work/{token}: revoke")]);
        assert_eq!(world.app.store.settings().await.unwrap().len(), 0);
        assert_eq!(sent(&world, "c/work/webhook", "secret", "x").await.0, 404);
    }
    assert_eq!(world.try_call("POST", &format!("{CONNECTIONS}/work/disconnect"), Value::Null).await.0, 404);
    connect(&world, "default", "good-one", "secret").await;
    taken(&log);
    let left = world.call("POST", &format!("{CONNECTIONS}/default/disconnect"), Value::Null).await;
    assert_eq!((&left["revoked"], &left["connection"]["state"]), (&json!(true), &json!("not_configured")));
    let again = world.call("POST", &format!("{CONNECTIONS}/default/disconnect"), Value::Null).await;
    assert_eq!((&again["revoked"], taken(&log).len()), (&Value::Null, 1), "there is nothing left to revoke");
    assert!(world.open_notices().await.is_empty());
}
