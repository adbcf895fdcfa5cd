//! Copies of the database: while it is used, and before it is migrated.

use crate::{
    attachments::attachment,
    world::{ask, schedule, store},
};
use rusqlite::Connection;
use serde_json::json;
use std::{fs, path::Path};
use tercel_store::{
    DirectoryLock, Schedule, Store, Uuid, inspect,
    left_out::{Form, SEALED},
    snapshot,
};

fn run(file: &Path, statements: &str) {
    Connection::open(file).unwrap().execute_batch(statements).unwrap();
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
    let copy = Connection::open(file).unwrap();
    let has = |client: &str| -> i64 {
        copy.query_row("SELECT COUNT(*) FROM sessions WHERE client_id = ?1", [client], |row| row.get(0)).unwrap()
    };
    assert_eq!((has("before"), has("after")), (1, 0));
}

#[tokio::test]
async fn an_earlier_schema_is_copied_before_it_is_migrated_and_one_copy_is_kept() {
    let mut world = store().await;
    world.store.put_settings("one", "default", vec![("name".into(), Some("kept".into()))]).await.unwrap();
    for number in 1..=3 {
        world.store.put_attachment(attachment(number, None)).await.unwrap();
    }
    let mut with_files = ask("a");
    let message = &mut with_files.items[0].message;
    message.attachments = vec![Uuid::from_u128(1), Uuid::from_u128(3)];
    let files: Vec<_> = message.attachments.iter().map(|id| json!({"id": id, "filename": "\u{0}"})).collect();
    message.metadata = Some(json!({"attachments": files, "author": Uuid::from_u128(2)}).to_string());
    world.accept(with_files).await;
    let mut odd = ask("b");
    odd.items[0].message.metadata = Some(json!({"attachments": {"is": "no list"}}).to_string());
    world.accept(odd).await;
    const FILES: &str = "SELECT attachment_id, message_id FROM attached ORDER BY 1";
    let attached = world.rows(FILES).await;
    assert_eq!(attached.len(), 2);
    world.store.close().await;
    let path = world.directory.path().to_owned();
    let copies = || {
        let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("schema-")).collect::<Vec<_>>()
    };
    world.restart().await;
    assert!(copies().is_empty(), "an up to date one is not copied");
    world.store.close().await;

    // As the version before files were attached left it.
    let file = path.join("tercel.db");
    let back = "DROP TABLE sync_settings; DROP TABLE sync_items; DROP TABLE syncs; DROP TABLE ledgers; DROP TABLE ledger; \
                DROP TABLE records; DROP TABLE collections; DROP TABLE connection_history; ALTER TABLE settings DROP COLUMN sealed_earlier; \
                ALTER TABLE settings DROP COLUMN earlier_until; ALTER TABLE connections DROP COLUMN http_status; \
                ALTER TABLE connections DROP COLUMN latency_ms; ALTER TABLE connections DROP COLUMN insisted; \
                ALTER TABLE connections DROP COLUMN failures; ALTER TABLE connections DROP COLUMN failing_since; \
                DROP TABLE hooks; DROP TABLE hook_events; DROP TABLE hook_attempts; DROP INDEX outbox_behind; \
                DROP TABLE integrations; DROP INDEX sessions_opened; ALTER TABLE sessions DROP COLUMN opened_by; \
                DROP INDEX deliveries_open; ALTER TABLE deliveries DROP COLUMN sealed_request; DROP TABLE attached; DROP TABLE client_calls; DROP INDEX attachments_hash; \
                ALTER TABLE attachments DROP COLUMN claimed_at; ALTER TABLE prices DROP COLUMN cached; \
                ALTER TABLE prices DROP COLUMN cache_written; ALTER TABLE usage DROP COLUMN cached_tokens; \
                ALTER TABLE usage DROP COLUMN cache_written_tokens; DELETE FROM _sqlx_migrations WHERE version >= 8";
    run(&file, back);
    fs::write(path.join("tercel.db.schema-0"), "an earlier one").unwrap();
    world.restart().await;
    assert_eq!(world.rows(FILES).await, attached, "the messages say which files they have");
    let [copy] = &copies()[..] else { panic!("one copy is kept: {:?}", copies()) };
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(path.join(copy), elsewhere.path().join("tercel.db")).unwrap();
    let before = inspect(elsewhere.path(), "").await.unwrap().unwrap();
    assert_eq!(
        (before.settings[0].value.as_str(), format!("tercel.db.schema-{}", before.schema)),
        ("kept", copy.clone())
    );
    assert_eq!(inspect(&path, "").await.unwrap().unwrap().schema, snapshot::newest_schema());
    let lock = DirectoryLock::take(elsewhere.path()).unwrap();
    Store::open(&lock, elsewhere.path()).await.unwrap().close().await;
}

#[tokio::test]
async fn sealed_values_are_not_even_in_the_free_pages_of_a_copy_without_secrets() {
    let world = store().await;
    let canary = format!("sealed:1:abcd:{}", "Zz9".repeat(3000));
    let target = format!(r#"{{"type":"chat","room":"R1","token":"{canary}"}}"#);
    let values = vec![("token".into(), Some(canary.clone())), ("name".into(), Some("plain".into()))];
    world.store.put_settings("one", "default", values.clone()).await.unwrap();
    world.store.put_settings("one", "second", values).await.unwrap();
    world.store.put_server_setting("notices.target", Some(target.clone())).await.unwrap();
    for n in 0..3 {
        let client = format!("place:{n}");
        world.store.open_session(&client, "default", "", None, Some(target.clone())).await.unwrap();
    }
    let schedule = Schedule { name: "Round".into(), sealed_target: Some(target), ..schedule(None) };
    world.store.create_schedule(schedule).await.unwrap();
    let file = world.directory.path().join("copy");
    world.store.snapshot(&file).await.unwrap();
    let needed = [
        "`one`: token",
        "the connection `second` of `one`: token",
        "the schedule `Round`: its dispatch_config",
        "notices: where they are sent",
        "3 conversations whose dispatch_config has a secret: open them again with it",
    ];
    assert_eq!(snapshot::remove_secrets(&file).await.unwrap(), needed);
    assert_eq!(snapshot::needed_secrets(&file).await.unwrap(), needed);
    let bytes = fs::read(&file).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has("sealed:1:") && !has("Zz9Zz9") && has("plain") && has(r#""room":"R1""#));
}

#[tokio::test]
async fn every_column_that_may_hold_sealed_values_is_on_the_list() {
    let world = store().await;
    let named = world
        .rows(
            "SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name LIKE '%sealed%' ORDER BY 1",
        )
        .await;
    let listed: Vec<String> = SEALED.iter().map(|(table, column, _)| format!("{table}.{column}")).collect();
    // Their tables say it in words.
    let others = ["server_settings.value", "settings.value"];
    assert!(listed.is_sorted());
    let expected: Vec<&str> = listed.iter().map(String::as_str).filter(|at| !others.contains(at)).collect();
    assert_eq!(named, expected);
    let numbered =
        world.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%WITHOUT ROWID%'").await;
    for (table, column, form) in SEALED {
        assert!(
            form == Form::Whole || numbered.iter().any(|name| name == table),
            "{table}.{column} has no row numbers"
        );
    }
}
