//! Of a notice people are told once, and of many at once in one message.

use crate::world::{World, announcement};
use tercel_store::{NewNotice, Uuid};

async fn raise(world: &World, key: &str) -> bool {
    let notice = NewNotice {
        key: key.into(),
        severity: "error",
        title: format!("Trouble {key}"),
        detail: "in detail".into(),
        repair: None,
    };
    world.store.announce(Uuid::now_v7(), notice, Some(announcement())).await.unwrap()
}

async fn close(world: &World, key: &str) {
    assert!(world.store.close_announced(key, Some(announcement())).await.unwrap());
}

async fn told(world: &World) -> Vec<String> {
    world.rows("SELECT text FROM outbox WHERE target = 'notice:chat' ORDER BY seq").await
}

async fn a_notice_is_told_when_it_is_new_and_when_it_is_over_and_not_when_it_is_counted(world: World) {
    assert!(raise(&world, "a").await);
    assert!(!raise(&world, "a").await);
    assert_eq!(told(&world).await, ["Something is wrong"]);
    world.rows("UPDATE notices SET first_at = first_at - 61000000 RETURNING key").await;
    close(&world, "a").await;
    assert_eq!(told(&world).await, ["Something is wrong", "Over: Trouble a (in detail)"]);
    assert!(raise(&world, "a").await, "it is there again");
    close(&world, "a").await;
    assert_eq!(told(&world).await.len(), 3, "it was over at once");
    world.is_consistent().await;
}

async fn what_nobody_was_told_of_is_not_said_to_be_over(world: World) {
    let notice = NewNotice { key: "a".into(), severity: "error", title: "t".into(), detail: "d".into(), repair: None };
    world.store.raise(notice).await.unwrap();
    world.rows("UPDATE notices SET first_at = first_at - 61000000 RETURNING key").await;
    close(&world, "a").await;
    assert_eq!(told(&world).await, [""; 0]);
}

async fn what_comes_after_ten_in_a_minute_becomes_one_message_that_leaves_later(world: World) {
    for n in 1..=40 {
        raise(&world, &n.to_string()).await;
    }
    let told = told(&world).await;
    assert_eq!(told.len(), 11, "{told:#?}");
    let lines: Vec<&str> = told[10].lines().collect();
    assert!(lines[0].starts_with("More notices"), "{lines:?}");
    assert_eq!(lines[1], "- Trouble 11: in detail");
    assert!(told[10].chars().count() <= 300 && lines.len() < 31, "{lines:?}");
    let leaving = world.store.claim_outbox(20).await.unwrap();
    assert_eq!(leaving.rows.len(), 1, "in order");
    let later = world.rows("SELECT COUNT(*) FROM outbox WHERE next_at > created_at + 59000000").await;
    assert_eq!(later, ["1"]);
    world.rows("UPDATE announcements SET at = at - 61000000 RETURNING at").await;
    raise(&world, "a minute later").await;
    assert_eq!(world.rows("SELECT COUNT(*) FROM outbox").await, ["12"], "has a message of its own");
    world.is_consistent().await;
}

async fn the_time_without_a_server_is_known(mut world: World) {
    assert_eq!(world.store.down_time(), None, "it is the first");
    // The writer has noted that it is there by then.
    world.store.put_bot("first", "{}".into()).await.unwrap();
    world.rows("UPDATE workers SET seen_at = 1000 RETURNING id").await;
    drop(world.restart().await);
    let down = world.store.down_time().unwrap();
    assert_eq!((down.from, down.orderly), (1000, false));
    assert!(down.to > 1000);
    world.store.is_here();
    world.store.put_bot("wait", "{}".into()).await.unwrap();
    assert_eq!(world.rows("SELECT COUNT(*) FROM workers WHERE seen_at > 1000").await, ["1"]);
    world.store.close().await;
    drop(world.restart().await);
    assert!(world.store.down_time().unwrap().orderly);
}

on_both_engines!(
    a_notice_is_told_when_it_is_new_and_when_it_is_over_and_not_when_it_is_counted,
    what_nobody_was_told_of_is_not_said_to_be_over,
    what_comes_after_ten_in_a_minute_becomes_one_message_that_leaves_later,
    the_time_without_a_server_is_known,
);
