//! Keeps every statement that tests run, to prove that none of them reads a large table from end to end.

use crate::{AttemptEnd, Commit, End, Item, SessionRef, accept::Busy};
use sqlx::{AssertSqlSafe, Row};
use std::{cell::RefCell, collections::BTreeSet};

#[path = "../tests/store/world.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod world;

thread_local! {
    // A test and its store share a thread; other tests have threads of their own.
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

pub(crate) fn note(sql: &str) {
    SEEN.with_borrow_mut(|seen| seen.insert(sql.to_owned()));
}

/// What stays small, and lists of values.
const MAY_BE_SCANNED: [&str; 11] = [
    "api_keys",
    "bindings",
    "bots",
    "channels",
    "connections",
    "notices",
    "settings",
    "sqlite_master",
    "v",
    "workers",
    "documents_text",
];

/// Indexes whose rows are few: what waits for somebody.
const PARTIAL: [&str; 8] = [
    "tasks_ready",
    "tasks_queued",
    "tasks_held",
    "tasks_waiting",
    "outbox_ready",
    "outbox_queued",
    "outbox_held",
    "outbox_stuck",
];

/// Whether a line of a plan (`SCAN tasks USING INDEX …`) reads something from end to end that may be large.
fn reads_all(line: &str, sql: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let listed = sql.contains("ORDER BY id DESC LIMIT") && line.contains("autoindex");
    words[0] == "SCAN"
        && !line.ends_with("CONSTANT ROW")
        && !line.ends_with("VALUES CLAUSE")
        && !MAY_BE_SCANNED.contains(&words[1])
        && !words.iter().any(|word| PARTIAL.contains(word))
        && !listed
}

#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() {
    assert!(reads_all("SCAN tasks", "") && reads_all("SCAN t USING INDEX tasks_delivery", ""));
    let mut world = world::store().await;
    use_everything(&mut world).await;
    let mut connection = world.sql().await;
    let seen = SEEN.take();
    let mut bad = Vec::new();
    for sql in seen.iter().filter(|sql| sql.contains(' ') && !sql.starts_with("BEGIN") && !sql.contains("piece")) {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut connection).await;
        let lines: Vec<String> = plan.unwrap().iter().map(|row| row.get("detail")).collect();
        bad.extend(lines.iter().filter(|line| reads_all(line, sql)).map(|line| format!("{line}\n  in {sql}")));
    }
    assert!(seen.len() > 80, "only {} statements were seen", seen.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

async fn use_everything(world: &mut world::World) {
    use world::{ask, commit, complete, delivered, item, leaving, step};
    let store = world.store.clone();
    for busy in [Busy::Enqueue, Busy::Interrupt] {
        let mut accept = delivered(ask("a"), &["id:1"]);
        accept.items[0].busy = busy;
        accept.items[0].ceilings =
            vec![crate::Ceiling { scope: "server".into(), bucket: 1, runs: Some(9), tokens: None }];
        accept.dedupe.push((format!("{busy:?}"), i64::MAX));
        store.accept(accept).await.unwrap();
    }
    let session = store.open_session("b", "default", "", None, None).await.unwrap().0.id;
    for busy in [Busy::Enqueue, Busy::Reject] {
        let item = Item { busy, ..item(SessionRef::Id(session)) };
        let _ = store.accept(crate::Accept { items: vec![item], ..crate::Accept::default() }).await;
    }
    let task = store.claim_tasks(1).await.unwrap().tasks.remove(0);
    let steps = vec![step(1)];
    let write = Commit { steps, tokens: 1, scopes: vec![("server".into(), 1)], ..commit(&task, None) };
    store.commit(write).await.unwrap();
    world.end(&task, complete((1..=3).map(|part| leaving(&task, "t", part, 3)).collect())).await;
    let task = world.claim().await;
    world.end(&task, End::Waiting("{}".into())).await;
    store.resume_tasks(Some(task.id), "test").await.unwrap();
    store.cancel_task(task.id).await.unwrap();
    for end in [AttemptEnd::Parked("{}".into()), AttemptEnd::Dead("{}".into()), AttemptEnd::Sent("{}".into())] {
        let row = store.claim_outbox(1).await.unwrap().rows.remove(0);
        store.end_attempt(&row, end).await.unwrap();
        store.unpark_outbox("example").await.unwrap();
        let _ = store.retry_outbox(row.id, true).await;
        store.attempts(row.id).await.unwrap();
    }
    let _ = store.drop_outbox(task.id).await;
    let some = Some(task.id);
    for status in [None, Some("pending"), Some("running"), Some("waiting"), Some("failed")] {
        store.tasks(status, some, some, 9).await.unwrap();
        store.tasks(status, None, None, 9).await.unwrap();
    }
    for state in [None, Some("pending"), Some("sending"), Some("held"), Some("dead"), Some("sent")] {
        store.outbox(state, some, 9).await.unwrap();
    }
    store.queue().await.unwrap();
    store.outbox_backlog().await.unwrap();
    store.outbox_of(task.id).await.unwrap();
    store.outbox_row(task.id).await.unwrap();
    store.task(task.id).await.unwrap();
    store.tasks_with(task.id).await.unwrap();
    store.tasks_of_delivery(task.id).await.unwrap();
    store.steps(task.id, 0).await.unwrap();
    store.messages(session, None, 9).await.unwrap();
    store.message(task.message_id).await.unwrap();
    store.context(session, 1, 2, 9).await.unwrap();
    store.session(session).await.unwrap();
    store.sessions(Some("b"), some, 9).await.unwrap();
    store.reset_session(session).await.unwrap();
    store.deliveries(Some("example"), some, 9).await.unwrap();
    store.delivery(store.deliveries(None, None, 1).await.unwrap()[0].id).await.unwrap();
    let _ = store.replay(task.id).await;
    store.usage("server", 1).await.unwrap();
    store.search("word", Some("example"), some, 9).await.unwrap();
    let document = crate::Document {
        id: task.id,
        integration_id: None,
        session_id: None,
        title: "t".into(),
        content: "c".into(),
        metadata: "{}".into(),
        created_at: 0,
    };
    store.ingest(document, Some(("key".into(), 1))).await.unwrap();
    store.document(task.id).await.unwrap();
    let attachment = crate::Attachment {
        id: task.id,
        hash: "h".into(),
        filename: "f".into(),
        mime_type: "text/plain".into(),
        size_bytes: 1,
        posted_by: None,
        created_at: 0,
    };
    store.put_attachment(attachment).await.unwrap();
    store.attachment(task.id).await.unwrap();
    store.delete_document(task.id).await.unwrap();
    store.close_notice("key").await.unwrap();
    store.dismiss_notice(task.id).await.unwrap();
    store.notices(true, some, 9).await.unwrap();
    store.egress_of(task.id).await.unwrap();
    crate::inspect::inspect(world.directory.path()).await.unwrap();
    world.restart().await;
}
