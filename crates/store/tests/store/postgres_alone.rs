//! Why transactions of ours cannot wait for each other in a circle, and why the next of something can be counted as one
//! more than the largest: everything that is written, whatever its kind, is written by one session.

use crate::world::{World, answer_all, ask, eye, postgres_store};
use futures::future::join_all;
use std::sync::Arc;
use tercel_store::{Document, NewNotice, Uuid, now};

/// Notes who writes to which table.
const NOTE: &str = "CREATE TABLE noted (writer BIGINT NOT NULL, place TEXT NOT NULL, UNIQUE (writer, place)); \
    CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN \
      INSERT INTO noted VALUES (pg_backend_pid(), TG_TABLE_NAME) ON CONFLICT DO NOTHING; RETURN NULL; END $$; \
    DO $$ DECLARE place TEXT; BEGIN \
      FOR place IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'noted' LOOP \
        EXECUTE format('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON %I EXECUTE FUNCTION note()', place); \
      END LOOP; END $$";

async fn of_every_kind(world: &World, n: usize) {
    let store = &world.store;
    let document = Document {
        id: Uuid::now_v7(),
        integration_id: None,
        session_id: None,
        title: format!("Page {n}"),
        content: "what stands there".into(),
        metadata: "{}".into(),
        created_at: now(),
    };
    let notice = NewNotice {
        key: format!("notice {n}"),
        severity: "error",
        title: "Something".into(),
        detail: "happened".into(),
        repair: None,
    };
    let bot = format!("bot {}", n % 5);
    let settings = vec![("token".to_owned(), Some(format!("{n}")))];
    let (a, b, c, d, e) = tokio::join!(
        store.accept(ask(&(n % 7).to_string())),
        store.ingest(document, None),
        store.raise(notice),
        store.put_settings("one", "default", settings),
        store.put_bot(&bot, "{}".into()),
    );
    a.unwrap();
    b.unwrap();
    c.unwrap();
    d.unwrap();
    e.unwrap();
    answer_all(store).await;
}

#[tokio::test]
async fn all_that_is_written_is_written_by_one_session() {
    let world = Arc::new(postgres_store().await);
    sqlx::raw_sql(NOTE).execute(&mut eye(&world.database().url).await).await.unwrap();
    join_all((0..60).map(|n| {
        let world = world.clone();
        tokio::spawn(async move { of_every_kind(&world, n).await })
    }))
    .await
    .into_iter()
    .for_each(|done| done.unwrap());
    while answer_all(&world.store).await > 0 {}
    assert_eq!(world.rows("SELECT COUNT(DISTINCT writer) FROM noted").await, ["1"]);
    let places = world.rows("SELECT DISTINCT place FROM noted ORDER BY 1").await;
    for place in ["bots", "documents", "messages", "notices", "outbox", "sessions", "settings", "tasks", "workers"] {
        assert!(places.iter().any(|written| written == place), "nothing was written to {place}: {places:?}");
    }
    assert_eq!(world.rows("SELECT COUNT(*), MIN(rank), MAX(rank) FROM documents").await, ["60 1 60"]);
    world.is_consistent().await;
}
