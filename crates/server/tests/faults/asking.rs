//! Services that are asked what is new, and what they sent while nobody listened.

use crate::{
    tools::Arguments,
    world::{World, board, open_with, place, start},
};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel::{gaps, polls};
use tercel_sdk::{
    Brief, Cursor, Dedupe, Error, Event, Gap, Host, Inbound, Integration, Kind, Missed, News, Outcome, Polled,
    Received, Refusal, Result, writes,
};
use tercel_store::{DownTime, now};

const OFTEN: Duration = Duration::from_millis(5);
const HOUR: i64 = 3_600_000_000;

fn news(id: &str) -> News {
    let event = Event::stored("board:main", format!("hello {id}")).run(Brief::default());
    News { id: id.into(), name: "post.created".into(), event }
}

fn brought(all: &[&str], upto: usize) -> Result<Polled> {
    Ok(Polled { news: all.iter().map(|id| news(id)).collect(), cursor: Cursor::of(&upto)? })
}

/// Asked often; answers by how often it was asked before, from 0.
fn polled(answer: impl Fn(usize) -> Result<Polled> + Send + Sync + Clone + 'static) -> (Integration, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let poll = move |_: Host, _: Cursor| {
        let (answer, count) = (answer.clone(), count.clone());
        async move { answer(count.fetch_add(1, Ordering::SeqCst)) }
    };
    (board().poll("posts", OFTEN, poll), asked)
}

async fn asking(place: &crate::world::Place, integration: Integration) -> World {
    let world = start(place.path(), vec![integration]).await;
    world.app.work.spawn(polls::run_all(world.app.clone()));
    world
}

async fn outcomes(world: &World) -> Vec<String> {
    let rows = world.get("/api/v1/deliveries").await;
    rows.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
}

async fn tasks(world: &World) -> usize {
    world.get("/api/v1/tasks").await.as_array().unwrap().len()
}

async fn notices(world: &World) -> Vec<Value> {
    world.get("/api/v1/notices?open=true").await.as_array().unwrap().clone()
}

fn refused(_: Host, _: Inbound) -> Result<Received, Refusal> {
    Err(Refusal::Malformed("Nothing comes this way".into()))
}

/// Nobody listened for an hour.
fn down() -> Option<DownTime> {
    Some(DownTime { from: now() - 2 * HOUR, to: now() - HOUR, orderly: true })
}

#[tokio::test]
async fn a_poll_that_fails_is_told_after_a_while_and_taken_back_when_it_works() {
    let place = place();
    let (integration, asked) = polled(|n| match n {
        0..3 => Err(Error::new(Kind::Network, "Nobody answers there")),
        3 => brought(&["1"], 1),
        _ => brought(&[], 1),
    });
    let world = asking(&place, integration).await;
    let told = async || notices(&world).await.pop();
    let notice = world.until("it is told", told).await;
    assert_eq!(
        (&notice["key"], &notice["detail"]),
        (&json!("poll:board:default:posts"), &json!("Nobody answers there"))
    );
    assert!((3..=4).contains(&asked.load(Ordering::SeqCst)), "not at the first failure");
    world.until("it is over", async || notices(&world).await.is_empty().then_some(())).await;
    assert_eq!((outcomes(&world).await, tasks(&world).await), (vec!["run".into()], 1));
}

#[tokio::test]
async fn what_was_told_of_a_poll_before_a_restart_is_taken_back_when_it_works() {
    let place = place();
    let (integration, _) = polled(|_| Err(Error::new(Kind::Auth, "Bad credentials")));
    let world = asking(&place, integration).await;
    world.until("it is told at once", async || (!notices(&world).await.is_empty()).then_some(())).await;
    world.stop().await;
    drop(world);
    let (integration, _) = polled(|_| brought(&[], 0));
    let world = asking(&place, integration).await;
    world.until("it is over", async || notices(&world).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn news_that_come_again_are_known_whichever_way_they_come() {
    let place = place();
    let (integration, asked) = polled(|n| match n {
        0 => brought(&["1", "2"], 1),
        1 => brought(&["2", "3"], 2),
        _ => brought(&[], 2),
    });
    let missed = |_: Host, _: Gap| async { Ok(Missed { news: vec![news("3"), news("4")], ..Missed::default() }) };
    let world = asking(&place, integration.webhook(refused).missed(missed)).await;
    world.until("it was asked again", async || (asked.load(Ordering::SeqCst) > 2).then_some(())).await;
    assert_eq!(tasks(&world).await, 3);
    gaps::after(world.app.clone(), down()).await;
    assert_eq!(tasks(&world).await, 4);
    let mut all = outcomes(&world).await;
    all.sort();
    assert_eq!(all, ["duplicate", "duplicate", "run", "run", "run", "run"]);
    assert_eq!(notices(&world).await, [] as [Value; 0], "the gap was filled");
}

#[tokio::test]
async fn an_event_that_comes_by_webhook_and_is_polled_is_one_event() {
    let place = place();
    let by_webhook = |_: Host, request: Inbound| {
        let id = String::from_utf8_lossy(request.unsigned("a test").body()).into_owned();
        let event = Event::stored("board:main", format!("hello {id}")).run(Brief::default()).id(id);
        Ok(Received { dedupe: Dedupe::Never, name: "post.created".into(), outcome: Outcome::Events(vec![event]) })
    };
    let (integration, asked) = polled(|n| if n == 0 { brought(&["1", "2"], 1) } else { brought(&[], 1) });
    let world = start(place.path(), vec![integration.webhook(by_webhook)]).await;
    let first = world.webhook(HeaderMap::new(), "1").await;
    assert_eq!((first.0, &first.1["status"]), (200, &json!("processed")));
    world.app.work.spawn(polls::run_all(world.app.clone()));
    world.until("it was asked", async || (asked.load(Ordering::SeqCst) > 1).then_some(())).await;
    let (_, again) = world.webhook(HeaderMap::new(), "2").await;
    assert_eq!(again["status"], "duplicate", "{again:#}");
    assert_eq!(tasks(&world).await, 2);
    assert_eq!(world.webhook(HeaderMap::new(), "3").await.1["status"], "processed");
}

#[tokio::test]
async fn a_server_that_is_held_asks_for_nothing_until_it_is_let_go() {
    let place = place();
    std::fs::write(place.path().join("held"), "").unwrap();
    let (polling, polled) = polled(|_| brought(&["1"], 1));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let missed = move |_: Host, _: Gap| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(Missed { news: vec![news("2")], ..Missed::default() }) }
    };
    let post = |_: Host, _: Arguments| async { Ok(json!("done")) };
    let integration = polling.webhook(refused).missed(missed).tool("board_post", writes(post));
    let world = asking(&place, integration).await;
    let filling = tokio::spawn(gaps::after(world.app.clone(), down()));
    let asked_before = async || !world.app.store.gaps().await.unwrap().is_empty();
    world.until("the gap is noted", async || asked_before().await.then_some(())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((asked.load(Ordering::SeqCst), polled.load(Ordering::SeqCst)), (0, 0));
    for (path, body) in [
        ("/api/v1/tools/board_post/call", json!({})),
        ("/v1/chat/completions", json!({"model": "default", "messages": [{"role": "user", "content": "hi"}]})),
    ] {
        let (status, answer) = world.try_call("POST", path, body).await;
        assert_eq!(status, 503, "{path}: {answer:#}");
        assert!(answer["detail"].as_str().unwrap().contains("tercel resume"), "{answer:#}");
    }
    assert_eq!(world.model_calls(), 0);
    world.call("POST", "/api/v1/held/resume", Value::Null).await;
    filling.await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    world.until("both are there", async || (tasks(&world).await == 2).then_some(())).await;
}

#[tokio::test]
async fn a_gap_that_cannot_be_filled_is_told_with_its_times() {
    let place = place();
    let world = open_with(place.path(), vec![board().webhook(refused)], &[]).await;
    let brief = DownTime { from: now() - 30_000_000, to: now(), orderly: true };
    gaps::after(world.app.clone(), Some(brief)).await;
    assert_eq!(notices(&world).await, [] as [Value; 0], "services try again for so long");
    gaps::after(world.app.clone(), down()).await;
    let [notice] = &notices(&world).await[..] else { panic!("one notice") };
    assert_eq!(notice["key"], "gap:board:default");
    let detail = notice["detail"].as_str().unwrap();
    assert!(detail.starts_with("The server was down from 20") && detail.contains(" to 20"), "{detail}");
}

#[tokio::test]
async fn a_gap_that_a_service_fills_in_part_is_told_with_what_is_unknown() {
    let place = place();
    let missed = |_: Host, gap: Gap| async move {
        assert_eq!(gap.until - gap.since, 3600);
        let unknown = vec!["Older posts than 50 are not listed".into()];
        Ok(Missed { news: vec![news("1")], unknown, ..Missed::default() })
    };
    let world = start(place.path(), vec![board().webhook(refused).missed(missed)]).await;
    gaps::after(world.app.clone(), down()).await;
    assert_eq!(outcomes(&world).await, ["run"]);
    let [notice] = &notices(&world).await[..] else { panic!("one notice") };
    assert!(notice["detail"].as_str().unwrap().ends_with("Older posts than 50 are not listed"), "{notice:#}");
    assert!(world.app.store.gaps().await.unwrap().is_empty(), "it is not fetched again");
}
