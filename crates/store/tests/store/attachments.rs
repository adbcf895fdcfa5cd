//! Files of messages: noted and found.

use crate::world::World;
use tercel_store::{Attachment, Uuid};

async fn a_file_is_noted_and_found_by_its_id(world: World) {
    let attachment = |n: u128, posted_by: Option<&str>| Attachment {
        id: Uuid::from_u128(n),
        hash: "ab".repeat(32),
        filename: "Größe 😀.png".into(),
        mime_type: "image/png".into(),
        size_bytes: 1 << 40,
        posted_by: posted_by.map(str::to_owned),
        created_at: 5,
    };
    let (first, second) = (attachment(1, Some("alice")), attachment(2, None));
    let (a, b) = tokio::join!(world.store.put_attachment(first.clone()), world.store.put_attachment(second.clone()));
    a.unwrap();
    b.unwrap();
    assert_eq!(world.store.attachment(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(world.store.attachment(second.id).await.unwrap(), Some(second));
    assert_eq!(world.store.attachment(Uuid::nil()).await.unwrap(), None);
    assert!(world.store.put_attachment(first).await.is_err(), "an id is one file");
}

on_both_engines!(a_file_is_noted_and_found_by_its_id);
