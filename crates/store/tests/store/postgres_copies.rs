//! Copies of a PostgreSQL database: while it is used, before it is migrated, and back.

use crate::world::{World, ask, eye, open, postgres::Postgres, postgres_store, world_on};
use std::fs;
use tercel_store::{Document, Error, PostgresOptions, Store, Uuid, copies, copies::Secrets, snapshot};

const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM messages), (SELECT COUNT(*) FROM tasks), (SELECT COUNT(*) FROM documents), \
                      (SELECT COUNT(*) FROM bindings), (SELECT COUNT(*) FROM settings)";

async fn filled() -> World {
    let world = postgres_store().await;
    world.accept(ask("before")).await;
    // What COPY has to write differently.
    let content = "a\tb\nc\\.\r\n\\N \u{fffd} ünïcode".to_owned();
    let document = Document {
        id: Uuid::now_v7(),
        integration_id: None,
        session_id: None,
        title: "Tabs".into(),
        content,
        metadata: "{}".into(),
        created_at: 1,
    };
    world.store.ingest(document, None).await.unwrap();
    let settings = vec![("name".to_owned(), Some("kept".to_owned())), ("token".to_owned(), Some("sealed:1:x".into()))];
    world.store.put_settings("one", "default", settings).await.unwrap();
    world
}

async fn restored(file: &std::path::Path) -> World {
    let database = Postgres::shared().database();
    copies::restore(&database.url.clone().into(), file, Secrets::Kept).await.unwrap();
    world_on(database).await
}

#[tokio::test]
async fn a_copy_is_of_one_moment_and_comes_back_as_it_was() {
    let world = filled().await;
    let file = world.directory.path().join("copy");
    let (schema, _) = tokio::join!(world.store.copy(&file, Secrets::Kept), world.accept(ask("meanwhile")));
    assert_eq!(schema.unwrap(), snapshot::newest_schema());
    world.accept(ask("after")).await;
    assert!(copies::is_copy(&file) && !copies::is_copy(&world.directory.path().join("none")));

    let copy = restored(&file).await;
    let clients = copy.rows("SELECT client_id FROM sessions ORDER BY id").await;
    assert!(clients.contains(&"before".to_owned()) && !clients.contains(&"after".to_owned()), "{clients:?}");
    let texts = "SELECT title, content FROM documents";
    assert_eq!(copy.rows(texts).await, world.rows(texts).await);
    assert_eq!(copy.store.search("tabs", None, None, 9).await.unwrap().len(), 1);
    copy.is_consistent().await;
    // Numbers go on behind those that came with it.
    assert_eq!(copy.store.worker(), world.store.worker() + 1);
    copy.accept(ask("next")).await;
}

#[tokio::test]
async fn sealed_values_are_left_out_of_a_copy_or_at_its_restore() {
    let world = filled().await;
    let target = r#"{"type":"chat","room":"R1","token":"sealed:1:abcd:Zz9"}"#;
    for n in 0..3 {
        let client = format!("place:{n}");
        world.store.open_session(&client, "default", "", None, Some(target.into())).await.unwrap();
    }
    let needed = ["`one`: token", "3 conversations whose dispatch_config has a secret: open them again with it"]
        .map(String::from);
    let file = world.directory.path().join("copy");
    for (copied, restored) in [(Secrets::LeftOut, Secrets::Kept), (Secrets::Kept, Secrets::LeftOut)] {
        world.store.copy(&file, copied).await.unwrap();
        let bytes = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert_eq!(bytes.contains("sealed:1:"), copied == Secrets::Kept);
        let database = Postgres::shared().database();
        assert_eq!(copies::restore(&database.url.clone().into(), &file, restored).await.unwrap(), needed);
        let copy = world_on(database).await;
        let settings = copy.rows("SELECT key, value FROM settings ORDER BY key").await;
        assert_eq!(settings, ["name kept", "token sealed:left-out"]);
        let targets = copy.rows("SELECT DISTINCT sealed_target FROM sessions WHERE sealed_target IS NOT NULL").await;
        assert_eq!(targets, [r#"{"type":"chat","room":"R1","token":"sealed:left-out"}"#]);
    }
}

#[tokio::test]
async fn one_that_is_cut_off_anywhere_brings_nothing_and_leaves_room_for_another_try() {
    let world = filled().await;
    let file = world.directory.path().join("copy");
    world.store.copy(&file, Secrets::Kept).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let database = Postgres::shared().database();
    let url = database.url.clone().into();
    let part = world.directory.path().join("part");
    for end in [0, 5, 20, whole.len() / 3, whole.len() / 2, whole.len() - 6, whole.len() - 1] {
        fs::write(&part, &whole[..end]).unwrap();
        let said = copies::restore(&url, &part, Secrets::Kept).await.unwrap_err();
        assert!(matches!(said, Error::Unusable(_)), "cut off after {end} of {}: {said:?}", whole.len());
    }
    copies::restore(&url, &file, Secrets::Kept).await.unwrap();
    let copy = world_on(database).await;
    assert_eq!(copy.rows(COUNTS).await, world.rows(COUNTS).await);
}

#[tokio::test]
async fn a_database_that_is_used_is_not_restored_into() {
    let world = filled().await;
    let file = world.directory.path().join("copy");
    world.store.copy(&file, Secrets::Kept).await.unwrap();
    world.store.close().await;
    let before = world.rows(COUNTS).await;
    let said =
        copies::restore(&world.database().url.clone().into(), &file, Secrets::Kept).await.unwrap_err().to_string();
    assert!(said.contains("is used already") && said.contains("DATABASE_URL"), "{said}");
    assert_eq!(world.rows(COUNTS).await, before);
}

#[tokio::test]
async fn an_earlier_schema_is_copied_before_it_is_migrated_and_one_copy_is_kept() {
    // As an earlier version left it.
    let database = Postgres::shared().database();
    let mut earlier = eye(&database.url).await;
    sqlx::migrate!("migrations/postgres").run_to(5, &mut earlier).await.unwrap();
    let row = "INSERT INTO settings (integration, connection, key, value, updated_at) VALUES ('one', 'default', 'a', 'kept', 1)";
    sqlx::raw_sql(row).execute(&mut earlier).await.unwrap();
    let files = r#"
        INSERT INTO attachments (id, hash, filename, mime_type, size_bytes, created_at) SELECT
            ('00000000-0000-0000-0000-00000000000' || n)::UUID, 'ab', 'a.png', 'image/png', 1, 1 FROM generate_series(1, 3) n;
        INSERT INTO messages (id, session_id, seq, role, content, trusted, hops, metadata, created_at) SELECT
            gen_random_uuid(), gen_random_uuid(), 1, 'user', '', TRUE, 0, metadata, 1 FROM (VALUES
            (NULL),
            ('{"attachments":[{"filename":"\u0000","id":"00000000-0000-0000-0000-000000000001"},
               {"id":"00000000-0000-0000-0000-000000000003"},{"id":"00000000-0000-0000-0000-000000000009"}]}'),
            ('{"attachments":{"is":"no list"}}')) AS given(metadata)"#;
    sqlx::raw_sql(files).execute(&mut earlier).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let copies = directory.path().to_owned();
    fs::write(copies.join("postgres.schema-1"), "an earlier one").unwrap();
    let options = || PostgresOptions { copies: Some(copies.clone()), ..PostgresOptions::default() };
    let url = database.url.clone().into();
    for _ in 0..2 {
        Store::open_postgres(&url, options()).await.unwrap().close().await;
        let left: Vec<_> = fs::read_dir(&copies).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["postgres.schema-5"], "one is kept, and an up to date one is not copied");
    }
    let attached = "SELECT attachment_id::TEXT FROM attached JOIN messages m ON m.id = message_id ORDER BY 1";
    let attached: Vec<String> = sqlx::query_scalar(attached).fetch_all(&mut earlier).await.unwrap();
    assert_eq!(attached, [1, 3].map(|n| format!("00000000-0000-0000-0000-00000000000{n}")), "as the messages say");
    let database = Postgres::shared().database();
    let kept = copies.join("postgres.schema-5");
    tercel_store::copies::restore(&database.url.clone().into(), &kept, Secrets::Kept).await.unwrap();
    let schema = "SELECT MAX(version) FROM _sqlx_migrations";
    let mut eye = eye(&database.url).await;
    assert_eq!(sqlx::query_scalar::<_, i64>(schema).fetch_one(&mut eye).await.unwrap(), 5, "for the version before");
    open(&database).await.unwrap().close().await;
    assert_eq!(sqlx::query_scalar::<_, i64>(schema).fetch_one(&mut eye).await.unwrap(), snapshot::newest_schema());
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM settings WHERE value = 'kept'")
            .fetch_one(&mut eye)
            .await
            .unwrap(),
        1
    );
}
