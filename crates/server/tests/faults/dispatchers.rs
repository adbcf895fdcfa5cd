use crate::world::{World, board, place, start};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tercel_sdk::{Dispatcher, Error, Host, Kind, Outbound, Receipt, Result, dispatcher};

type Anywhere = Map<String, Value>;

/// How a dispatcher behaves at its n-th call, from 1.
fn acts(act: impl Fn(usize) -> Act + Send + Sync + 'static) -> (Dispatcher, Arc<AtomicUsize>) {
    let (act, calls) = (Arc::new(act), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let deliver = move |_: Host, _: Anywhere, _: Outbound| {
        let act = act(counted.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            match act {
                Act::Post => Ok(Receipt::default()),
                Act::Panic => panic!("the dispatcher fell over"),
                Act::Hang => std::future::pending().await,
                Act::Fail(kind) => Err(Error::new(kind, "no")),
            }
        }
    };
    (dispatcher(deliver), calls)
}

enum Act {
    Post,
    Panic,
    Hang,
    Fail(Kind),
}

async fn never_found(_: Host, _: Anywhere, _: Outbound) -> Result<Option<Receipt>> {
    Ok(None)
}

async fn answered_by(dispatcher: Dispatcher) -> (World, String, crate::world::Place) {
    let place = place();
    let world = start(place.path(), vec![board().dispatcher(dispatcher)]).await;
    let session = world.session(json!({"type": "board"})).await;
    let task = world.say(&session, "hello").await;
    (world, task, place)
}

#[tokio::test]
async fn one_that_panics_leaves_its_row_to_a_person() {
    let (dispatcher, calls) = acts(|_| Act::Panic);
    let (world, task, _place) = answered_by(dispatcher).await;
    let row = world.row(&task, "held").await;
    assert_eq!(row["error"]["message"], "Sending by `board` has a fault: it panicked (the dispatcher fell over)");
    assert_eq!((world.open_notices().await, calls.load(Ordering::SeqCst)), (vec!["held:board".to_owned()], 1));
    assert_eq!(world.ended(&task).await["status"], "complete", "the answer is there all the same");

    let id = row["id"].as_str().unwrap();
    world.call("POST", &format!("/api/v1/outbox/{id}/drop"), Value::Null).await;
    assert!(world.open_notices().await.is_empty(), "nothing is held any more");
}

#[tokio::test]
async fn one_that_panics_is_called_again_when_its_post_is_surely_not_there() {
    let (dispatcher, calls) = acts(|n| if n == 1 { Act::Panic } else { Act::Post });
    let (world, task, _place) = answered_by(dispatcher.find(never_found)).await;
    let row = world.row(&task, "sent").await;
    assert_eq!((row["attempts"].clone(), calls.load(Ordering::SeqCst)), (json!(2), 2));
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time_and_what_it_did_is_unknown() {
    let (dispatcher, calls) = acts(|_| Act::Hang);
    let (world, task, _place) = answered_by(dispatcher).await;
    let row = world.row(&task, "held").await;
    assert_eq!(row["error"]["message"], "Sending by `board` took longer than 0.5 seconds");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_that_answers_nonsense_has_sent_all_the_same() {
    let (mut dispatcher, _) = acts(|_| Act::Post);
    dispatcher.deliver = Arc::new(|_, _| Box::pin(async { Ok(json!(["what", 1])) }));
    let (world, task, _place) = answered_by(dispatcher).await;
    assert_eq!(world.row(&task, "sent").await["receipt"], json!({}));
}

#[tokio::test]
async fn one_whose_search_panics_or_answers_nonsense_does_not_send_twice() {
    for nonsense in [true, false] {
        let (dispatcher, calls) = acts(|_| Act::Panic);
        let mut dispatcher = dispatcher.find(never_found);
        dispatcher.find = Some(Arc::new(move |_, _| {
            Box::pin(async move { if nonsense { Ok(json!("there")) } else { panic!("the search fell over") } })
        }));
        let (world, task, _place) = answered_by(dispatcher).await;
        let row = world
            .until("the second attempt has ended", async || {
                let rows = world.get("/api/v1/outbox").await;
                rows.as_array().unwrap().iter().find(|row| row["attempts"] == 2 && row["state"] != "sending").cloned()
            })
            .await;
        let expected = if nonsense { "held" } else { "pending" };
        assert_eq!((row["task_id"].as_str().unwrap(), row["state"].as_str().unwrap()), (task.as_str(), expected));
        assert_eq!(calls.load(Ordering::SeqCst), 1, "it was not sent again");
    }
}

#[tokio::test]
async fn a_notice_of_dead_letters_is_taken_back_when_they_got_through() {
    let (dispatcher, _) = acts(|n| if n == 1 { Act::Fail(Kind::Forbidden) } else { Act::Post });
    let (world, task, _place) = answered_by(dispatcher).await;
    let id = world.row(&task, "dead").await["id"].as_str().unwrap().to_owned();
    assert_eq!(world.open_notices().await, ["dead:board"]);
    world.call("POST", &format!("/api/v1/outbox/{id}/retry"), Value::Null).await;
    world.row(&task, "sent").await;
    assert!(world.open_notices().await.is_empty());
}

#[tokio::test]
async fn a_channel_without_a_target_answers_through_its_binding() {
    let place = place();
    let (dispatcher, calls) = acts(|_| Act::Post);
    let world = start(place.path(), vec![board().dispatcher(dispatcher)]).await;
    let channel = world.call("POST", "/api/v1/channels", json!({"client_id": "test:place", "bot_id": "default"})).await;
    let binding = json!({"client_id": "board:main", "dispatch_config": {"type": "board"}});
    world.call("POST", &format!("/api/v1/channels/{}/bindings", channel["id"].as_str().unwrap()), binding).await;
    let session = world.call("POST", "/api/v1/sessions", json!({"client_id": "test:place"})).await;
    let task = world.say(session["session_id"].as_str().unwrap(), "hello").await;
    assert_eq!(world.row(&task, "sent").await["dispatch_type"], "board");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_leave_within_its_shelf_life_is_shown_as_expired() {
    let (dispatcher, calls) = acts(|_| Act::Fail(Kind::Network));
    let dispatcher = dispatcher.shelf_life(std::time::Duration::from_millis(300));
    let (world, task, _place) = answered_by(dispatcher).await;
    let row = world.row(&task, "expired").await;
    assert_eq!((&row["attempts"], calls.load(Ordering::SeqCst)), (&json!(2), 1), "the second attempt is not made");
    assert_eq!(world.ended(&task).await["dispatch"]["state"], "expired");
}

#[tokio::test]
async fn a_message_that_is_shown_is_split_and_its_parts_wait_for_the_one_before() {
    let (dispatcher, calls) = acts(|_| Act::Fail(Kind::Schema));
    let place = place();
    let world = start(place.path(), vec![board().dispatcher(dispatcher.limit(20))]).await;
    let session = world.session(json!({"type": "board"})).await;
    let message = json!({"content": "one two three four five six seven eight nine ten", "notify": true});
    world.call("POST", &format!("/api/v1/sessions/{session}/messages"), message).await;
    let rows = world
        .until("the first part is refused", async || {
            let rows = world.get("/api/v1/outbox").await;
            let rows = rows.as_array().unwrap().clone();
            rows.iter().any(|row| row["state"] == "dead").then_some(rows)
        })
        .await;
    let states: Vec<(Value, Value)> =
        rows.iter().rev().map(|row| (row["part"].clone(), row["state"].clone())).collect();
    assert!(states.len() > 1, "{rows:#?}");
    for (part, state) in states {
        assert_eq!(state, if part == 1 { "dead" } else { "held" }, "part {part}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(rows.iter().all(|row| row["task_id"].is_null()), "{rows:#?}");
}
