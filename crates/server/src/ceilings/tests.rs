//! What waits for a ceiling, and goes on.

use super::*;
use crate::{
    config::{Config, Environment},
    inject::{Injected, Input, inject},
    providers::REHEARSAL,
};
use tercel_sdk::Brief;
use tercel_store::Budget;

/// A server in a directory, with a budget of one run in an hour for each channel.
async fn app(directory: &std::path::Path, action: &str) -> Arc<App> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut environment = Environment::default();
    environment.set("TERCEL_DATA_DIR", directory.to_str().unwrap());
    environment.set("LLM_BASE_URL", "http://127.0.0.1:1/v1");
    environment.set("LLM_MODEL", "m");
    let app = App::open(Config::from(environment).unwrap(), Vec::new()).await.unwrap();
    let budget = Budget {
        id: Uuid::now_v7(),
        scope: "channel:*".into(),
        period: "hour".into(),
        runs: Some(1),
        tokens: None,
        cost: None,
        action: action.into(),
        created_at: 0,
    };
    app.store.create_budget(budget).await.unwrap();
    reload(&app).await.unwrap();
    app
}

async fn ask(app: &Arc<App>, session: Uuid) -> Injected {
    inject(app, Input { run_agent: true, ..Input::new(session, "hello".into()) }).await.unwrap()
}

/// Whether somebody is asked to look what may go on.
async fn is_rung(app: &App) -> bool {
    tokio::time::timeout(Duration::ZERO, app.ceilings.changed.notified()).await.is_ok()
}

async fn statuses(app: &App) -> Vec<String> {
    let mut tasks = app.store.tasks(None, None, None, 9).await.unwrap();
    tasks.reverse();
    tasks.into_iter().map(|task| task.status).collect()
}

#[tokio::test]
async fn at_the_turn_of_the_hour_a_parked_run_goes_on_and_the_next_one_waits_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(directory.path(), "park").await;
    let session = app.store.open_session("a:b", "default", "", None, None).await.unwrap().0.id;
    for _ in 0..3 {
        assert!(ask(&app, session).await.task_id.is_some());
    }
    assert_eq!(statuses(&app).await, ["pending", "waiting", "waiting"]);
    let hour = this_hour();
    go_on(&app, hour).await.unwrap();
    assert_eq!(statuses(&app).await, ["pending", "waiting", "waiting"], "the hour is not over");
    assert_eq!(app.store.notices(Some(true), None, 9).await.unwrap().len(), 1);
    for (turn, expected) in [(1, ["pending", "pending", "waiting"]), (2, ["pending"; 3])] {
        go_on(&app, hour + turn).await.unwrap();
        assert_eq!(statuses(&app).await, expected);
    }
    go_on(&app, hour + 3).await.unwrap();
    assert_eq!(app.store.notices(Some(true), None, 9).await.unwrap().len(), 0, "there is room again");
}

#[tokio::test]
async fn at_the_turn_of_the_hour_one_run_answers_what_waits_in_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(directory.path(), "digest").await;
    let session = app.store.open_session("a:b", "default", "", None, None).await.unwrap().0.id;
    for _ in 0..4 {
        ask(&app, session).await;
    }
    assert_eq!(statuses(&app).await, ["pending"]);
    go_on(&app, this_hour() + 1).await.unwrap();
    go_on(&app, this_hour() + 1).await.unwrap();
    let task = app.store.tasks(None, None, None, 9).await.unwrap().remove(0);
    assert_eq!(statuses(&app).await, ["pending", "pending"]);
    assert!(task.execution_config.unwrap().contains("3 messages came here"));
}

#[test]
fn the_one_run_of_several_messages_has_all_that_the_newest_had() {
    let config = RunConfig {
        brief: Brief { preamble: Some("Be short.".into()), model: Some("m".into()), ..Brief::default() },
        client_tool_seconds: Some(7),
        expires_at: Some(5),
        ..RunConfig::default()
    };
    let held = |messages| Held {
        id: Uuid::nil(),
        bot_id: "default".into(),
        origin: "api".into(),
        client_id: "a:b".into(),
        execution_config: serde_json::to_string(&config).ok(),
        rehearse: false,
        messages,
        scope: "server".into(),
        created_at: 0,
    };
    let read = |held: Held| serde_json::from_str::<RunConfig>(&held.execution_config.unwrap()).unwrap();
    assert_eq!(read(gathered(held(1))), config);
    let mut several = read(gathered(held(3)));
    let preamble = several.brief.preamble.replace("Be short.".into()).unwrap();
    assert!(preamble.starts_with("Be short.\n\n3 messages came here"), "{preamble}");
    assert_eq!(several, config);
}

#[tokio::test]
async fn what_is_stored_as_waiting_after_its_ceiling_was_lifted_goes_on_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(directory.path(), "park").await;
    let session = app.store.open_session("a:b", "default", "", None, None).await.unwrap().0.id;
    pause::set(&app, "api", true).await.unwrap();
    assert!(is_rung(&app).await);
    ask(&app, session).await;
    let paused = pause::ceiling(&app, "api", this_hour()).unwrap();
    assert!(!is_rung(&app).await, "it is paused");
    pause::set(&app, "api", false).await.unwrap();
    assert!(is_rung(&app).await);
    // As if it had been stored only now: who looked did not see it.
    report(&app, &paused).await;
    assert!(is_rung(&app).await);
    go_on(&app, this_hour()).await.unwrap();
    assert_eq!(statuses(&app).await, ["pending"]);

    let all = of_run(&app, "default", "api", "a:b", false);
    let budget = all.into_iter().find(|ceiling| ceiling.runs == Some(1)).unwrap();
    report(&app, &budget).await;
    assert!(!is_rung(&app).await, "it holds");
    report(&app, &Ceiling { since: budget.since - 1, hour: budget.hour - 1, ..budget.clone() }).await;
    assert!(is_rung(&app).await, "its hour is over");
    let mut raised = app.store.budgets().await.unwrap().remove(0);
    raised.runs = Some(2);
    app.store.update_budget(raised).await.unwrap();
    reload(&app).await.unwrap();
    assert!(is_rung(&app).await);
    report(&app, &budget).await;
    assert!(is_rung(&app).await, "there is more room");
}

#[tokio::test]
async fn a_rehearsal_that_waited_for_a_pause_goes_on_whatever_was_spent_and_is_not_counted() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(directory.path(), "park").await;
    let session = app.store.open_session("a:b", "default", "", None, None).await.unwrap().0.id;
    ask(&app, session).await;
    pause::set(&app, "api", true).await.unwrap();
    for _ in 0..2 {
        let brief = Some(Brief { model: Some(REHEARSAL.into()), ..Brief::default() });
        inject(&app, Input { run_agent: true, brief, ..Input::new(session, "hello".into()) }).await.unwrap();
    }
    assert_eq!(statuses(&app).await, ["pending", "waiting", "waiting"]);
    let first = app.store.tasks(Some("waiting"), None, None, 9).await.unwrap().pop().unwrap();
    let_go(&app, &first).await.unwrap();
    assert_eq!(statuses(&app).await, ["pending", "pending", "waiting"], "a person let it go");
    pause::set(&app, "api", false).await.unwrap();
    go_on(&app, this_hour()).await.unwrap();
    assert_eq!(statuses(&app).await, ["pending"; 3]);
    assert_eq!(app.store.spent("channel:a:b", 0).await.unwrap().runs, 1);
}
