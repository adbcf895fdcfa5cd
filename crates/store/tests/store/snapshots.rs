//! Copies of the database: while it is used, and before it is migrated.

use crate::world::{ask, store};
use sqlx::{Connection, SqliteConnection};
use std::{fs, path::Path};
use tercel_store::{DirectoryLock, Store, inspect, snapshot};

async fn run(file: &Path, statements: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_copy_is_of_one_moment_and_writers_go_on() {
    let world = store().await;
    world.accept(ask("before")).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("copy");
    let accept = world.accept(ask("meanwhile"));
    let (schema, _) = tokio::join!(world.store.snapshot(&file), accept);
    assert_eq!(schema.unwrap(), snapshot::newest_schema());
    assert_eq!(snapshot::check(&file).await.unwrap(), snapshot::newest_schema());
    world.accept(ask("after")).await;
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let clients: Vec<(String,)> =
        sqlx::query_as("SELECT client_id FROM sessions").fetch_all(&mut connection).await.unwrap();
    assert!(clients.contains(&("before".into(),)) && !clients.contains(&("after".into(),)), "{clients:?}");
}

#[tokio::test]
async fn an_earlier_schema_is_copied_before_it_is_migrated_and_one_copy_is_kept() {
    let mut world = store().await;
    world.store.put_settings("one", "default", vec![("name".into(), Some("kept".into()))]).await.unwrap();
    world.store.close().await;
    let path = world.directory.path().to_owned();
    let copies = || {
        let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("schema-")).collect::<Vec<_>>()
    };
    world.restart().await;
    assert!(copies().is_empty(), "an up to date one is not copied");
    world.store.close().await;

    // As the version before the last migration left it.
    let file = path.join("tercel.db");
    let back = "DROP TABLE attached; DROP TABLE client_calls; DROP INDEX attachments_hash; \
                ALTER TABLE attachments DROP COLUMN claimed_at; ALTER TABLE prices DROP COLUMN cached; \
                ALTER TABLE prices DROP COLUMN cache_written; ALTER TABLE usage DROP COLUMN cached_tokens; \
                ALTER TABLE usage DROP COLUMN cache_written_tokens; DELETE FROM _sqlx_migrations WHERE version = 8";
    run(&file, back).await;
    fs::write(path.join("tercel.db.schema-0"), "an earlier one").unwrap();
    world.restart().await;
    let [copy] = &copies()[..] else { panic!("one copy is kept: {:?}", copies()) };
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(path.join(copy), elsewhere.path().join("tercel.db")).unwrap();
    let before = inspect(elsewhere.path()).await.unwrap().unwrap();
    assert_eq!(
        (before.settings[0].value.as_str(), format!("tercel.db.schema-{}", before.schema)),
        ("kept", copy.clone())
    );
    assert_eq!(inspect(&path).await.unwrap().unwrap().schema, snapshot::newest_schema());
    let lock = DirectoryLock::take(elsewhere.path()).unwrap();
    Store::open(&lock, elsewhere.path()).await.unwrap().close().await;
}

#[tokio::test]
async fn sealed_settings_are_not_even_in_the_free_pages_of_a_copy_without_secrets() {
    let world = store().await;
    let secret = format!("sealed:1:abcd:{}", "Zz9".repeat(3000));
    let values = vec![("token".into(), Some(secret)), ("name".into(), Some("plain".into()))];
    world.store.put_settings("one", "default", values).await.unwrap();
    let file = world.directory.path().join("copy");
    world.store.snapshot(&file).await.unwrap();
    assert_eq!(snapshot::remove_secrets(&file).await.unwrap(), 1);
    let bytes = fs::read(&file).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has("sealed:1:") && !has("Zz9Zz9") && has("plain"));
}
