//! Texts are found by any of their words.

use crate::world::World;
use tercel_store::{Document, Uuid};

async fn ingest(world: &World, title: &str, content: &str, integration: Option<&str>, session: Option<Uuid>) -> Uuid {
    let document = Document {
        id: Uuid::now_v7(),
        integration_id: integration.map(str::to_owned),
        session_id: session,
        title: title.into(),
        content: content.into(),
        metadata: "{}".into(),
        created_at: tercel_store::now(),
    };
    world.store.ingest(document, None).await.unwrap()
}

async fn titles(world: &World, q: &str) -> Vec<String> {
    let found = world.store.search(q, None, None, 9).await.unwrap();
    found.into_iter().map(|found| found.document.title).collect()
}

async fn any_word_matches_and_a_title_counts_more(world: World) {
    ingest(&world, "Stairs", "how to paint a wall", None, None).await;
    ingest(&world, "Paint", "colours for every room", None, None).await;
    ingest(&world, "Garden", "nothing of the kind", None, None).await;
    assert_eq!(titles(&world, "paint").await, ["Paint", "Stairs"]);
    assert_eq!(titles(&world, "PÁINT, please").await, ["Paint", "Stairs"]);
    assert_eq!(titles(&world, "kind wall").await.len(), 2);
    assert_eq!(titles(&world, "cellar").await, Vec::<String>::new());
    let found = world.store.search("wall", None, None, 9).await.unwrap().remove(0);
    assert!(found.score > 0.0 && found.snippet == "how to paint a wall", "{found:?}");
}

async fn what_looks_like_a_query_is_only_words(world: World) {
    ingest(&world, "Near", "it is near or not", None, None).await;
    for q in ["\" OR NEAR(", "near*", "title:near", "near AND nothing", "-near", "(near", "near'; DROP TABLE documents"]
    {
        assert_eq!(titles(&world, q).await, ["Near"], "{q}");
    }
    for q in ["", " ", "*", "\"", "()", "\0", "💥"] {
        assert_eq!(titles(&world, q).await, Vec::<String>::new(), "{q}");
    }
}

async fn filters_come_before_the_limit(world: World) {
    let session = Uuid::now_v7();
    for _ in 0..20 {
        ingest(&world, "word word word", "word", Some("other"), None).await;
    }
    let own = ingest(&world, "x", "a word", Some("example"), Some(session)).await;
    for (integration, session) in [(Some("example"), None), (None, Some(session)), (Some("example"), Some(session))] {
        let found = world.store.search("word", integration, session, 1).await.unwrap();
        assert_eq!(found.iter().map(|found| found.document.id).collect::<Vec<_>>(), [own]);
    }
}

async fn a_document_that_was_removed_is_not_found(world: World) {
    let id = ingest(&world, "Paint", "wall", None, None).await;
    assert_eq!(world.store.document(id).await.unwrap().unwrap().content, "wall");
    world.store.delete_document(id).await.unwrap();
    assert_eq!(titles(&world, "paint").await, Vec::<String>::new());
    assert!(world.store.document(id).await.unwrap().is_none());
    let again = world.store.delete_document(id).await.unwrap_err().to_string();
    assert_eq!(again, format!("There is no document {id}"));
    // A row of the index that is used again must not bring the old words back.
    ingest(&world, "Fresh", "roof", None, None).await;
    assert_eq!(titles(&world, "wall paint").await, Vec::<String>::new());
    world.is_consistent().await;
}

async fn a_document_with_a_known_key_is_stored_once(world: World) {
    let document = |title: &str| Document {
        id: Uuid::now_v7(),
        integration_id: None,
        session_id: None,
        title: title.into(),
        content: "text".into(),
        metadata: "{}".into(),
        created_at: tercel_store::now(),
    };
    let key = || Some(("key".to_owned(), i64::MAX));
    let first = world.store.ingest(document("one"), key()).await.unwrap();
    assert_eq!(world.store.ingest(document("two"), key()).await.unwrap(), first);
    assert_eq!(titles(&world, "text").await, ["one"]);
}

on_both_engines!(
    any_word_matches_and_a_title_counts_more,
    what_looks_like_a_query_is_only_words,
    filters_come_before_the_limit,
    a_document_that_was_removed_is_not_found,
    a_document_with_a_known_key_is_stored_once,
);
