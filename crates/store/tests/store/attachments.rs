//! Files of messages: noted and found.

use crate::world::{World, ask};
use tercel_store::{Attachment, Given, Uuid};

pub fn attachment(n: u128, posted_by: Option<&str>) -> Attachment {
    Attachment {
        id: Uuid::from_u128(n),
        hash: "ab".repeat(32),
        filename: "Größe 😀.png".into(),
        mime_type: "image/png".into(),
        size_bytes: 1 << 40,
        posted_by: posted_by.map(str::to_owned),
        created_at: 5,
    }
}

async fn a_file_is_noted_and_found_by_its_id(world: World) {
    let (first, second) = (attachment(1, Some("alice")), attachment(2, None));
    let (a, b) = tokio::join!(world.store.put_attachment(first.clone()), world.store.put_attachment(second.clone()));
    a.unwrap();
    b.unwrap();
    assert_eq!(world.store.attachment(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(world.store.attachment(second.id).await.unwrap(), Some(second));
    assert_eq!(world.store.attachment(Uuid::nil()).await.unwrap(), None);
    assert!(world.store.put_attachment(first).await.is_err(), "an id is one file");
}

async fn a_file_goes_that_no_message_has_and_its_bytes_when_nobody_names_them(world: World) {
    for n in 1..=4 {
        let hash = if n == 4 { "cd" } else { "ab" }.repeat(32);
        world.store.put_attachment(Attachment { hash, ..attachment(n, None) }).await.unwrap();
    }
    let mut with_one = ask("a");
    with_one.items[0].message.attachments = vec![Uuid::from_u128(1), Uuid::from_u128(3)];
    world.accept(with_one).await;
    world.store.claim_attachment(Uuid::from_u128(2)).await.unwrap().unwrap();
    assert_eq!(world.store.claim_attachment(Uuid::nil()).await.unwrap(), None);

    let loose = async |before| world.store.loose_attachments(before, Uuid::nil(), 9).await.unwrap();
    assert_eq!(loose(9).await, [Uuid::from_u128(4)], "two are a message's, one is about to be");
    assert!(loose(5).await.is_empty(), "it is not old enough");
    assert!(world.store.loose_attachments(9, Uuid::from_u128(4), 9).await.unwrap().is_empty());
    assert_eq!(loose(i64::MAX).await, [Uuid::from_u128(2), Uuid::from_u128(4)]);
    let all: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
    let gone = world.store.forget_attachments(all.clone(), i64::MAX).await.unwrap();
    assert_eq!(gone, (2, vec!["cd".repeat(32)]), "the bytes of the other one have other names");
    assert!(world.store.attachment(all[0]).await.unwrap().is_some());

    world.rows("DELETE FROM messages").await;
    let gone = world.store.forget_attachments(all, i64::MAX).await.unwrap();
    assert_eq!(gone, (2, vec!["ab".repeat(32)]), "what a message had goes after it");
    assert_eq!(world.rows("SELECT COUNT(*) FROM attached").await, ["0"]);
}

async fn a_message_that_is_there_lists_a_file_once_and_only_so_many(world: World) {
    let message = world.accept(ask("a")).await.message_id;
    let give = |n: u128| {
        let shown = format!(r#"{{"id":"{}","n":{n}}}"#, Uuid::from_u128(n));
        world.store.give_attachment(message, Uuid::from_u128(n), shown, 2)
    };
    for n in 1..=3 {
        world.store.put_attachment(attachment(n, None)).await.unwrap();
    }
    let (first, again) = tokio::join!(give(1), give(1));
    assert_eq!(first.unwrap(), Given::Done);
    assert_eq!(again.unwrap(), Given::Before(format!(r#"{{"id":"{}","n":1}}"#, Uuid::from_u128(1))));
    assert_eq!((give(2).await.unwrap(), give(3).await.unwrap()), (Given::Done, Given::Full));
    let metadata = world.store.message(message).await.unwrap().unwrap().metadata.unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["attachments"].as_array().unwrap().len(), 2);
    assert_eq!(world.store.loose_attachments(i64::MAX, Uuid::nil(), 9).await.unwrap(), [Uuid::from_u128(3)]);
    let nowhere = world.store.give_attachment(Uuid::nil(), Uuid::nil(), "{}".into(), 2).await.unwrap();
    assert_eq!(nowhere, Given::NoMessage);
}

on_both_engines!(
    a_file_is_noted_and_found_by_its_id,
    a_message_that_is_there_lists_a_file_once_and_only_so_many,
    a_file_goes_that_no_message_has_and_its_bytes_when_nobody_names_them,
);
