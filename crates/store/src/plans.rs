//! Keeps every statement that tests run, to prove that none of them reads a large table from end to end.

use crate::{
    AttemptEnd, Commit, End, Item, SessionRef,
    accept::{Busy, Fewer, Merge},
    engine::Arg,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

#[path = "../tests/store/world.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod world;

/// Those of SQLite.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Those of PostgreSQL, with the types of their values, which it wants to know.
static TYPED: Mutex<BTreeMap<String, Vec<&'static str>>> = Mutex::new(BTreeMap::new());

pub(crate) fn note(sql: &str) {
    SEEN.lock().unwrap().insert(sql.to_owned());
}

pub(crate) fn note_typed(sql: &str, args: &[Arg]) {
    let types = args.iter().map(|arg| match arg {
        Arg::Int(_) => "BIGINT",
        Arg::Bool(_) => "BOOLEAN",
        Arg::Text(_) => "TEXT",
        Arg::Bytes(_) => "BYTEA",
        Arg::Id(_) => "UUID",
    });
    TYPED.lock().unwrap().insert(sql.to_owned(), types.collect());
}

/// What stays small, and lists of values.
const MAY_BE_SCANNED: [&str; 32] = [
    "api_keys",
    "bindings",
    "bots",
    "budgets",
    "channels",
    "client_calls",
    "collections",
    "connections",
    "gaps",
    "h",
    "hooks",
    "integrations",
    "ledgers",
    "notices",
    "prices",
    "polls",
    "schedules",
    "server_settings",
    "providers",
    "settings",
    "sync_settings",
    // The last ones of each connection.
    "syncs",
    "sqlite_master",
    "sqlite_schema",
    "v",
    "workers",
    "documents_text",
    // Looking at sizes.
    "dbstat",
    "pragma_freelist_count",
    "pragma_page_size",
    "due",
    "_sqlx_migrations",
];

/// Indexes whose rows are few: what waits for somebody.
const PARTIAL: [&str; 12] = [
    "tasks_ready",
    "tasks_queued",
    "tasks_held",
    "tasks_waiting",
    "outbox_ready",
    "outbox_queued",
    "outbox_behind",
    "outbox_held",
    "outbox_stuck",
    "deliveries_open",
    "sessions_opened",
    "syncs_open",
];

/// `tercel doctor` looks whether every sealed value has the key that is there.
fn looks_at_all(sql: &str) -> bool {
    sql.starts_with("SELECT COUNT(*) FROM") && sql.ends_with("NOT LIKE $2")
}

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
    crate::inspect(world.directory.path(), "").await.unwrap();
    let connection = world.sql();
    let seen = SEEN.lock().unwrap().clone();
    let mut bad = Vec::new();
    for sql in seen
        .iter()
        .filter(|sql| sql.contains(' ') && !sql.starts_with("BEGIN") && !sql.contains("piece") && !looks_at_all(sql))
    {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines: Vec<String> = plan.raw_query().mapped(|row| row.get("detail")).map(Result::unwrap).collect();
        bad.extend(lines.iter().filter(|line| reads_all(line, sql)).map(|line| format!("{line}\n  in {sql}")));
    }
    assert!(seen.len() > 80, "only {} statements were seen", seen.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Nodes of a plan that read something from end to end that may be large. Without sequential scans where there is
/// another way, those that are left have none.
fn reads_all_of(plan: &[String], sql: &str) -> Vec<String> {
    let mut bad = Vec::new();
    for (i, line) in plan.iter().enumerate() {
        let words: Vec<&str> = line.trim_start_matches([' ', '-', '>']).split_whitespace().collect();
        let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
        let table = after("on").unwrap_or_default();
        let small = MAY_BE_SCANNED.contains(&table);
        let index = after("using").unwrap_or_default();
        let listed = sql.contains("ORDER BY id DESC LIMIT") && index.ends_with("_pkey")
            || sql.contains("MAX(rank)") && index == "documents_rank_key"
            || sql.contains("(seq)") && index == "hook_events_pkey";
        let narrowed = plan.get(i + 1).is_some_and(|next| next.trim_start().starts_with("Index Cond"));
        let whole_index = line.contains("Index") && line.contains(" using ") && !narrowed && !listed;
        if !small && (line.contains("Seq Scan") || whole_index && !PARTIAL.contains(&index)) {
            bad.push(line.trim().to_owned());
        }
    }
    bad
}

#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end_on_postgres() {
    let plan = ["Limit".to_owned(), "  ->  Seq Scan on tasks t".into(), "  Index Scan using a on tasks".into()];
    assert_eq!(reads_all_of(&plan, "").len(), 2);
    let mut world = world::postgres_store().await;
    use_everything(&mut world).await;
    crate::inspect_postgres(&world.database().url.as_str().into(), "").await.unwrap();
    let mut connection = PgConnection::connect(&world.database().url).await.unwrap();
    let settings = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    let mut bad = Vec::new();
    let mut looked_at = 0;
    let seen = TYPED.lock().unwrap().clone();
    for (sql, types) in seen {
        let is_statement = ["SELECT", "WITH", "UPDATE", "INSERT", "DELETE"].iter().any(|verb| sql.starts_with(verb));
        if !is_statement || looks_at_all(&sql) {
            continue;
        }
        looked_at += 1;
        let (of, values) = match types.len() {
            0 => (String::new(), String::new()),
            n => (format!("({})", types.join(", ")), format!("({})", vec!["NULL"; n].join(", "))),
        };
        let prepare = format!("DEALLOCATE ALL; PREPARE p {of} AS {sql}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE p {values}");
        let plan = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        bad.extend(reads_all_of(&plan, &sql).into_iter().map(|line| format!("{line}\n  in {sql}")));
    }
    assert!(looked_at > 80, "only {looked_at} statements were seen");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

async fn use_everything(world: &mut world::World) {
    use world::{ask, commit, complete, delivered, item, leaving, step};
    let store = world.store.clone();
    for busy in [Busy::Enqueue, Busy::Interrupt] {
        let mut accept = delivered(ask("a"), &["id:1"]);
        accept.items[0].busy = busy;
        accept.items[0].ceilings = vec![crate::Ceiling { runs: Some(9), since: 0, ..world::ceiling("server", 1) }];
        accept.dedupe.push((format!("{busy:?}"), i64::MAX));
        store.accept(accept).await.unwrap();
    }
    let session = store.open_session("b", "default", "", None, None).await.unwrap().0.id;
    for busy in [Busy::Enqueue, Busy::Reject] {
        let item = Item { busy, ..item(SessionRef::Id(session)) };
        let _ = store.accept(crate::Accept { items: vec![item], ..crate::Accept::default() }).await;
    }
    let task = store.claim_tasks(1).await.unwrap().tasks.remove(0);
    store.retarget_task(&task, "{}".into()).await.unwrap();
    let steps = vec![step(1)];
    let write = Commit {
        steps,
        used: crate::Counts { prompt_tokens: 1, ..crate::Counts::default() },
        spent: vec![world::spent("server", 1, 1)],
        ..commit(&task, None)
    };
    store.commit(write).await.unwrap();
    store.begin_answer(task.attempt, leaving(&task, "s", 0, 0)).await.unwrap();
    store.pull_back().await.unwrap();
    store.is_tried_again("t").await.unwrap();
    store.fold_usage(48).await.unwrap();
    store.drop_usage(48).await.unwrap();
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
    let row = store.outbox(None, None, 1).await.unwrap().remove(0);
    store.beginning_of(&row).await.unwrap();
    store.outbox_row(task.id).await.unwrap();
    store.task(task.id).await.unwrap();
    store.tasks_with(task.id).await.unwrap();
    store.tasks_of_delivery(task.id).await.unwrap();
    store.steps(task.id, 0).await.unwrap();
    store.messages(session, None, 9).await.unwrap();
    store.message(task.message_id).await.unwrap();
    store.context(&task, 9).await.unwrap();
    store.session(session).await.unwrap();
    store.sessions(Some("b"), some, 9).await.unwrap();
    store.reset_session(session).await.unwrap();
    store.deliveries(Some("example"), some, 9).await.unwrap();
    store.delivery(store.deliveries(None, None, 1).await.unwrap()[0].id).await.unwrap();
    let _ = store.replay(task.id).await;
    use_budgets(&store).await;
    for _ in 0..2 {
        let mut accept = ask("merged");
        let merge = Some(Merge { key: "merged".into(), wait: i64::MAX, most: 9 });
        accept.items[0].task.as_mut().unwrap().fewer = Fewer { merge, cooldown: None };
        store.accept(accept).await.unwrap();
    }
    store.spend(vec![world::spent("server", 1, 1)]).await.unwrap();
    store.providers().await.unwrap();
    store.delete_provider("none").await.unwrap();
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
    store.claim_attachment(task.id).await.unwrap();
    store.known_hashes(vec!["h".into()]).await.unwrap();
    store.loose_attachments(1, task.id, 9).await.unwrap();
    store.forget_attachments(vec![task.id], 1).await.unwrap();
    store.answer_client_call(task.id, "c".into(), "{}".into()).await.unwrap();
    store.client_calls(task.id).await.unwrap();
    store.task_of_client(task.session_id, Some("c")).await.unwrap();
    store.expire_client_calls().await.unwrap();
    store.delete_document(task.id).await.unwrap();
    use_schedules(&store).await;
    use_hooks(&store).await;
    use_syncs(&store).await;
    store.close_notice("key").await.unwrap();
    store.dismiss_notice(task.id).await.unwrap();
    store.notices(Some(true), some, 9).await.unwrap();
    store.egress_of(task.id).await.unwrap();
    for old in crate::Old::ALL {
        store.prune(old, 0, i64::MAX).await.unwrap();
    }
    store.doubt_outbox("example").await.unwrap();
    use_folders(&store).await;
    crate::inspect::inspect(world.directory.path(), "").await.unwrap();
    world.restart().await;
}

async fn use_budgets(store: &crate::Store) {
    store.spent("server", 1).await.unwrap();
    store.account("bot:", 0, 9, 24, 9).await.unwrap();
    for (client, action) in [("p", crate::Action::Park), ("d", crate::Action::Digest)] {
        let mut accept = world::ask(client);
        accept.items[0].ceilings = vec![crate::Ceiling { runs: Some(0), action, ..world::ceiling("server", 1) }];
        store.accept(accept).await.unwrap();
    }
    let mut held = store.parked(None, 9).await.unwrap();
    held.extend(store.digests(None, 9).await.unwrap());
    let release = |held| crate::Release { held, ceilings: vec![world::ceiling("server", 1)], by: "test" };
    assert_eq!(store.release(held.into_iter().map(release).collect()).await.unwrap().len(), 2);
    let budget = crate::Budget {
        id: crate::Uuid::now_v7(),
        scope: "server".into(),
        period: "day".into(),
        runs: None,
        tokens: None,
        cost: None,
        action: "store".into(),
        created_at: 0,
    };
    store.create_budget(budget.clone()).await.unwrap();
    store.update_budget(budget.clone()).await.unwrap();
    store.delete_budget(budget.id).await.unwrap();
    store
        .put_prices(vec![crate::Price {
            model: "m".into(),
            prompt: 1,
            completion: 1,
            cached: None,
            cache_written: None,
        }])
        .await
        .unwrap();
    store.prices().await.unwrap();
    store.put_server_setting("key", Some("value".into())).await.unwrap();
    store.server_setting("key").await.unwrap();
    store.put_server_setting("key", None).await.unwrap();
    store.notice(budget.id).await.unwrap();
    for n in 0..12 {
        let notice = crate::NewNotice {
            key: n.to_string(),
            severity: "error",
            title: "t".into(),
            detail: "d".into(),
            repair: None,
        };
        store.announce(crate::Uuid::now_v7(), notice, Some(world::announcement())).await.unwrap();
    }
}

async fn use_folders(store: &crate::Store) {
    store.put_integration(crate::IntegrationRow { id: "a".into(), ..Default::default() }).await.unwrap();
    store.integration_rows().await.unwrap();
    store.forget_integration("a").await.unwrap();
    store.opened_by().await.unwrap();
    store.active_session("a", "default", "").await.unwrap();
    let id = crate::Uuid::now_v7();
    store.begin_delivery(id).await.unwrap();
    store.begin_delivery_again(id).await.unwrap();
    let released = vec!["k".to_owned()];
    let end =
        crate::Handled { id, generation: 1, outcome: None, reason: None, answer: None, released: released.clone() };
    store.end_delivery(end).await.unwrap();
    store.refuse_delivery(id, released).await.unwrap();
    store.open_deliveries(9).await.unwrap();
}

async fn use_hooks(store: &crate::Store) {
    let hook = crate::Hook {
        id: crate::Uuid::now_v7(),
        url: "u".into(),
        granted: false,
        wants: "{}".into(),
        description: String::new(),
        sealed_secret: "s".into(),
        sealed_old_secret: None,
        old_until: None,
        enabled: true,
        stopped: None,
        progress: crate::Progress::default(),
        created_at: 0,
        updated_at: 0,
    };
    let event = crate::HookEvent {
        seq: 0,
        id: hook.id,
        event: "e".into(),
        origin: None,
        bot_id: None,
        channel_id: None,
        body: "{}".into(),
        created_at: 1,
    };
    let attempt = crate::HookAttempt {
        n: 0,
        seq: None,
        event_id: hook.id,
        event: "e".into(),
        outcome: "failed".into(),
        status: None,
        error: None,
        duration_ms: 0,
        at: 1,
    };
    store.create_hook(hook.clone()).await.unwrap();
    store.put_hook(hook.clone()).await.unwrap();
    store.note_hook_events(vec![event]).await.unwrap();
    store.hook_events(0, 9).await.unwrap();
    store.hook_events_before(1).await.unwrap();
    let moved = Some((0, crate::Progress::default()));
    let told = crate::Told { hook: hook.id, attempt: Some(attempt), moved, stopped: Some("why".into()) };
    store.told(told).await.unwrap();
    store.hook_attempts(hook.id, None, 9).await.unwrap();
    store.hook(hook.id).await.unwrap();
    store.hooks().await.unwrap();
    store.move_hook(hook.id, 0).await.unwrap();
    store.delete_hook(hook.id).await.unwrap();
}

async fn use_schedules(store: &crate::Store) {
    let schedule = world::schedule(Some(5));
    store.create_schedule(schedule.clone()).await.unwrap();
    store.put_schedule(schedule.clone()).await.unwrap();
    for due_at in [5, 6, 7] {
        store.fire(world::fire(&schedule, Some(due_at), Some(due_at + 1))).await.unwrap();
    }
    store.claim_tasks(9).await.unwrap();
    store.move_schedule(schedule.id, Some(8), Some(9)).await.unwrap();
    store.due_schedules(9, 9).await.unwrap();
    store.schedules(Some(schedule.id), 9).await.unwrap();
    store.schedule(schedule.id).await.unwrap();
    store.fires(schedule.id, Some(9), 9).await.unwrap();
    store.delete_schedule(schedule.id).await.unwrap();
    store.polled(world::polled("1", vec![world::ask("polled")])).await.unwrap();
    store.polls().await.unwrap();
    store.open_gap(world::gap(1, 2)).await.unwrap();
    store.close_gap(world::gap(1, 2)).await.unwrap();
    store.gaps().await.unwrap();
    store.places("example", 9).await.unwrap();
}

async fn use_syncs(store: &crate::Store) {
    let of = ("a", "default", "jobs");
    let record = crate::NewRecord { id: "1".into(), record: "{}".into() };
    store.put_records("jobs", vec![record.clone()]).await.unwrap();
    store.put_records("jobs", vec![crate::NewRecord { record: "{ }".into(), ..record }]).await.unwrap();
    store.records("jobs", Some("0"), 9).await.unwrap();
    store.record("jobs", "1").await.unwrap();
    store.collections().await.unwrap();
    store.collection("jobs").await.unwrap();
    for items in [None, Some(vec![crate::NewItem { record_id: "1".into(), record: None }])] {
        let mut new = world::sync();
        new.items = items;
        store.start_sync(new.clone()).await.unwrap();
        let sync = store.claim_syncs(9).await.unwrap().0.remove(0);
        for phase in ["records", "removals"] {
            store.sync_page(&sync, phase, "", 9, 99).await.unwrap();
        }
        let item = crate::ItemEnd {
            record_id: "1".into(),
            change: Some("create"),
            outcome: "failed",
            remote_id: None,
            error: Some(("auth", "{}".into())),
        };
        for target in ["here", "there"] {
            let place = crate::SyncPlace { target: target.into(), account: Some("a".into()) };
            store.enter_place(&sync, &place).await.unwrap();
        }
        let row = crate::LedgerRow { record_id: "1".into(), state: "there".into(), ..Default::default() };
        let reached = Some(("records", "1".to_owned()));
        let (begun, rows, gone) = (vec![row.clone()], vec![row], vec!["2".into()]);
        let step = crate::SyncStep { begun, rows, gone, items: vec![item], reached, skipped: 1 };
        store.step_sync(&sync, step).await.unwrap();
        store.end_sync(&sync, crate::SyncEnd::Complete).await.unwrap();
        for outcome in [None, Some("failed"), Some("done")] {
            store.sync_items(sync.id, outcome, Some("0"), 9).await.unwrap();
        }
        store.sync_codes(sync.id).await.unwrap();
        store.sync(sync.id).await.unwrap();
        store.syncs(Some(("a", "default")), Some((1, sync.id)), 9).await.unwrap();
        store.syncs(None, None, 9).await.unwrap();
        let _ = store.cancel_sync(sync.id).await;
        store.resume_sync(sync.id).await.unwrap();
    }
    for _ in 0..50 {
        store.start_sync(world::sync()).await.unwrap();
        let sync = store.claim_syncs(9).await.unwrap().0.remove(0);
        store.end_sync(&sync, crate::SyncEnd::Complete).await.unwrap();
    }
    store.forget_old_syncs("a", "default").await.unwrap();
    store.resume_syncs(Some("a")).await.unwrap();
    store.open_syncs(9).await.unwrap();
    store.ledger(of, Some("there"), Some("0"), 9).await.unwrap();
    store.whereabouts("jobs", "1").await.unwrap();
    store.settle_record(of, "1", None).await.unwrap();
    store.delete_record("jobs", "1").await.unwrap();
    let settings = crate::SyncSettings {
        integration: "a".into(),
        connection: "default".into(),
        definition: "{}".into(),
        next_at: Some(1),
        updated_at: 0,
    };
    store.put_sync_settings(settings).await.unwrap();
    store.sync_settings().await.unwrap();
    let stored = store.sync_settings_of("a", "default").await.unwrap().unwrap();
    let due = crate::DueSync { settings: stored, next_at: None, sync: Some(world::sync()) };
    store.fire_sync(due).await.unwrap();
    store.delete_sync_settings("a", "default").await.unwrap();
}
