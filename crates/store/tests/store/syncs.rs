//! Records, syncs and their ledger.

use crate::world::{World, sync};
use tercel_store::{
    DueSync, Error, ItemEnd, LedgerRow, NewItem, NewRecord, NewSync, Started, Stored, Sync, SyncEnd, SyncPlace,
    SyncSettings, SyncStep, Uuid, now,
};

const OF: (&str, &str, &str) = ("a", "default", "jobs");

fn record(id: &str, record: &str) -> NewRecord {
    NewRecord { id: id.into(), record: record.into() }
}

fn there(id: &str, remote: &str) -> LedgerRow {
    LedgerRow {
        record_id: id.into(),
        key: format!("k{id}"),
        state: "there".into(),
        change: "create".into(),
        remote_id: Some(remote.into()),
        hash: Some("h".into()),
        ..LedgerRow::default()
    }
}

fn done(id: &str) -> ItemEnd {
    ItemEnd { record_id: id.into(), change: Some("create"), outcome: "done", remote_id: None, error: None }
}

async fn claim(world: &World) -> Sync {
    let (mut syncs, _) = world.store.claim_syncs(9).await.unwrap();
    assert_eq!(syncs.len(), 1, "{syncs:#?}");
    syncs.remove(0)
}

async fn start(world: &World, new: NewSync) -> Uuid {
    let id = new.id;
    assert_eq!(world.store.start_sync(new).await.unwrap(), Started::New);
    id
}

async fn records_are_counted_and_stand_in_the_order_of_their_bytes(world: World) {
    let put = async |records: &[(&str, &str)]| {
        let records = records.iter().map(|(id, text)| record(id, text)).collect();
        world.store.put_records("jobs", records).await.unwrap()
    };
    assert_eq!(put(&[("b", "{}"), ("B", "{}"), ("ä", "{}"), ("10", "{}"), ("9", "{}")]).await.created, 5);
    let stored = put(&[("b", "{}"), ("B", "{ }"), ("c", "1"), ("c", "2")]).await;
    assert_eq!(stored, Stored { created: 1, updated: 1, unchanged: 1 });
    let ids = async |after: Option<&str>| -> Vec<String> {
        let rows = world.store.records("jobs", after, 3).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(ids(None).await, ["10", "9", "B"]);
    assert_eq!(ids(Some("B")).await, ["b", "c", "ä"]);
    world.store.delete_record("jobs", "c").await.unwrap();
    assert!(matches!(world.store.delete_record("jobs", "c").await, Err(Error::NotFound(_))));
    assert!(matches!(world.store.delete_record("none", "b").await, Err(Error::NotFound(_))));
    let collections = world.store.collections().await.unwrap();
    assert_eq!((collections.len(), collections[0].records), (1, 5));
}

async fn one_sync_of_a_connection_at_a_time_in_order(world: World) {
    let first = start(&world, sync()).await;
    let second = start(&world, sync()).await;
    let other = start(&world, NewSync { connection: "work".into(), ..sync() }).await;
    let again = NewSync { id: first, ..sync() };
    assert_eq!(world.store.start_sync(again).await.unwrap(), Started::Before);
    let (syncs, _) = world.store.claim_syncs(9).await.unwrap();
    let mut ids: Vec<Uuid> = syncs.iter().map(|sync| sync.id).collect();
    ids.sort();
    assert_eq!(ids, [first, other]);
    let first = syncs.into_iter().find(|sync| sync.id == first).unwrap();
    let at = now() + 3_600_000_000;
    world.store.end_sync(&first, SyncEnd::Later { at, error: Some("{}".into()) }).await.unwrap();
    assert!(world.store.claim_syncs(9).await.unwrap().0.is_empty(), "what stands before it has not ended");
    assert!(world.store.resume_sync(first.id).await.unwrap());
    let first = claim(&world).await;
    world.store.end_sync(&first, SyncEnd::Waiting("{}".into())).await.unwrap();
    assert_eq!(world.store.resume_syncs(Some("other")).await.unwrap(), 0);
    assert_eq!(world.store.resume_syncs(Some("a")).await.unwrap(), 1);
    let first = claim(&world).await;
    world.store.end_sync(&first, SyncEnd::Complete).await.unwrap();
    assert_eq!(claim(&world).await.id, second);
    for _ in 0..19 {
        start(&world, sync()).await;
    }
    assert!(matches!(world.store.start_sync(sync()).await, Err(Error::Conflict(_))), "they do not pile up for ever");
}

async fn a_step_is_counted_once_and_only_for_who_holds_the_sync(mut world: World) {
    world.store.put_records("jobs", vec![record("1", "{}"), record("2", "{}"), record("3", "{}")]).await.unwrap();
    start(&world, sync()).await;
    let held = claim(&world).await;
    assert_eq!(held.total, 3);
    let step = SyncStep {
        rows: vec![there("1", "r1"), LedgerRow { state: "pushing".into(), ..there("2", "r2") }],
        items: vec![done("1")],
        ..SyncStep::default()
    };
    assert!(world.store.step_sync(&held, step).await.unwrap());
    let page = world.store.sync_page(&held, "records", "", 9, i64::MAX).await.unwrap();
    let seen: Vec<_> = page
        .iter()
        .map(|row| (row.record_id.as_str(), row.ledger.as_ref().map(|row| row.state.as_str()), row.outcome.as_deref()))
        .collect();
    assert_eq!(seen, [("1", Some("there"), Some("done")), ("2", Some("pushing"), None), ("3", None, None)]);

    let old = world.restart().await;
    assert!(crate::world::is_out(&old.step_sync(&held, SyncStep::default()).await), "it is another's by now");
    let held = claim(&world).await;
    assert_eq!((held.created, held.attempts), (1, 1));
    let reached = Some(("removals", "3".to_owned()));
    let step = SyncStep { reached, skipped: 2, gone: vec!["2".into()], ..SyncStep::default() };
    assert!(world.store.step_sync(&held, step).await.unwrap());
    world.store.cancel_sync(held.id).await.unwrap();
    let step = SyncStep { begun: vec![there("3", "r3")], ..SyncStep::default() };
    assert!(!world.store.step_sync(&held, step).await.unwrap(), "somebody has asked it to stop");
    world.store.end_sync(&held, SyncEnd::Cancelled).await.unwrap();
    assert!(matches!(world.store.end_sync(&held, SyncEnd::Cancelled).await, Err(Error::Fenced)));
    assert!(matches!(world.store.cancel_sync(held.id).await, Err(Error::Conflict(_))));
    let ended = world.store.sync(held.id).await.unwrap().unwrap();
    let told = (ended.status.as_str(), ended.phase.as_str(), ended.created, ended.skipped);
    assert_eq!(told, ("cancelled", "removals", 1, 2));
    assert_eq!(world.store.ledger(OF, None, None, 9).await.unwrap().len(), 1);
}

async fn removals_are_what_the_ledger_has_and_the_collection_has_not(world: World) {
    world.store.put_records("jobs", vec![record("1", "{}"), record("2", "{}")]).await.unwrap();
    start(&world, sync()).await;
    let held = claim(&world).await;
    let rows = vec![there("1", "r1"), there("2", "r2"), there("0", "r0")];
    world.store.step_sync(&held, SyncStep { rows, ..SyncStep::default() }).await.unwrap();
    world.store.delete_record("jobs", "2").await.unwrap();
    let removals = world.store.sync_page(&held, "removals", "", 9, 0).await.unwrap();
    let ids: Vec<&str> = removals.iter().map(|row| row.record_id.as_str()).collect();
    assert_eq!((ids.as_slice(), removals[0].record.as_deref()), (["0", "2"].as_slice(), None));
    let places = world.store.whereabouts("jobs", "1").await.unwrap();
    assert_eq!((places[0].integration.as_str(), places[0].row.remote_id.as_deref()), ("a", Some("r1")));
}

async fn a_sync_of_some_records_looks_at_those_and_a_dry_one_at_what_it_was_given(world: World) {
    world.store.put_records("jobs", vec![record("1", "{}"), record("2", "{}")]).await.unwrap();
    let item = |id: &str, given: Option<&str>| NewItem { record_id: id.into(), record: given.map(str::to_owned) };
    let items = Some(vec![item("2", None), item("9", Some(r#"{"dry":true}"#)), item("gone", None)]);
    start(&world, NewSync { records: vec![record("3", "{}")], items, ..sync() }).await;
    let held = claim(&world).await;
    assert_eq!((held.total, held.partial), (3, true));
    let page = world.store.sync_page(&held, "records", "", 9, i64::MAX).await.unwrap();
    let seen: Vec<_> = page.iter().map(|row| (row.record_id.as_str(), row.record.as_deref())).collect();
    assert_eq!(seen, [("2", Some("{}")), ("9", Some(r#"{"dry":true}"#)), ("gone", None)]);
    assert!(world.store.record("jobs", "3").await.unwrap().is_some(), "what it was given is stored with it");
    world.store.step_sync(&held, SyncStep { items: vec![done("2")], ..SyncStep::default() }).await.unwrap();
    let items = world.store.sync_items(held.id, Some("done"), None, 9).await.unwrap();
    assert_eq!((items.len(), items[0].record_id.as_str()), (1, "2"));
}

async fn a_time_begins_one_sync_and_none_while_one_is_open(world: World) {
    let settings = |next_at| SyncSettings {
        integration: "a".into(),
        connection: "default".into(),
        definition: "{}".into(),
        next_at,
        updated_at: 0,
    };
    world.store.put_sync_settings(settings(Some(5))).await.unwrap();
    let read = async || world.store.sync_settings_of("a", "default").await.unwrap().unwrap();
    let due = async |next: Option<i64>| DueSync { settings: read().await, next_at: next, sync: Some(sync()) };
    let (one, same) = (due(Some(6)).await, due(Some(6)).await);
    assert!(world.store.fire_sync(one).await.unwrap().is_some());
    assert!(world.store.fire_sync(same).await.unwrap().is_none(), "this time has come already");
    assert_eq!(read().await.next_at, Some(6));
    assert!(world.store.fire_sync(due(Some(7)).await).await.unwrap().is_none(), "the one before it is open");
    assert_eq!((read().await.next_at, world.store.syncs(None, None, 9).await.unwrap().len()), (Some(7), 1));
    world.store.forget_connection("a", "default").await.unwrap();
    assert!(world.store.sync_settings().await.unwrap().is_empty());
}

async fn the_last_syncs_of_a_connection_are_kept(world: World) {
    let items = (0..2_500).map(|n| NewItem { record_id: n.to_string(), record: None }).collect();
    start(&world, NewSync { items: Some(items), ..sync() }).await;
    let held = claim(&world).await;
    world.store.end_sync(&held, SyncEnd::Complete).await.unwrap();
    for _ in 0..55 {
        start(&world, NewSync { items: Some(vec![NewItem { record_id: "1".into(), record: None }]), ..sync() }).await;
        let held = claim(&world).await;
        world.store.end_sync(&held, SyncEnd::Failed("{}".into())).await.unwrap();
    }
    world.store.forget_old_syncs("a", "other").await.unwrap();
    assert_eq!(world.store.syncs(None, None, 99).await.unwrap().len(), 56);
    world.store.forget_old_syncs("a", "default").await.unwrap();
    let kept = world.store.syncs(Some(("a", "default")), None, 99).await.unwrap();
    assert_eq!(kept.len(), 50);
    assert!(kept.is_sorted_by(|a, b| a.created_at >= b.created_at));
    let page = world.store.syncs(None, Some((kept[9].created_at, kept[9].id)), 5).await.unwrap();
    assert_eq!(page[0].id, kept[10].id);
    assert_eq!(world.rows("SELECT DISTINCT sync_id FROM sync_items").await.len(), 50);
}

async fn a_page_has_about_so_many_bytes_and_one_record_at_least(world: World) {
    let text = |size: usize| format!(r#"{{"ä":"{}"}}"#, "x".repeat(size));
    let records = [("1", 10), ("2", 10), ("3", 5_000), ("4", 10)].map(|(id, size)| record(id, &text(size)));
    world.store.put_records("jobs", records.to_vec()).await.unwrap();
    let pages = async |sync: &Sync| {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let page = world.store.sync_page(sync, "records", &after, 9, 1_000).await.unwrap();
            let Some(last) = page.last() else { return pages };
            after.clone_from(&last.record_id);
            pages.push(page.into_iter().map(|row| row.record_id).collect::<Vec<_>>().concat());
        }
    };
    start(&world, sync()).await;
    let held = claim(&world).await;
    assert_eq!(pages(&held).await, ["12", "3", "4"]);
    world.store.end_sync(&held, SyncEnd::Cancelled).await.unwrap();
    let item = |id: &str, given: Option<String>| NewItem { record_id: id.into(), record: given };
    let items = vec![item("1", Some(text(2_000))), item("2", None), item("3", None), item("gone", None)];
    start(&world, NewSync { items: Some(items), ..sync() }).await;
    assert_eq!(pages(&claim(&world).await).await, ["1", "2", "3", "gone"]);
}

async fn the_ledger_of_another_place_is_begun_anew(world: World) {
    let place =
        |target: &str, account: Option<&str>| SyncPlace { target: target.into(), account: account.map(str::to_owned) };
    let known = async || world.store.ledger(OF, None, None, 9_999).await.unwrap().len();
    start(&world, sync()).await;
    let held = claim(&world).await;
    assert!(!world.store.enter_place(&held, &place("a", None)).await.unwrap(), "it is the first one");
    let rows = (0..2_500).map(|n| there(&n.to_string(), "r")).collect();
    world.store.step_sync(&held, SyncStep { rows, ..SyncStep::default() }).await.unwrap();
    let other = ("a", "work", "jobs");
    for same in [place("a", Some("ann")), place("a", None), place("a", Some("ann"))] {
        assert!(!world.store.enter_place(&held, &same).await.unwrap(), "{same:?}");
    }
    assert_eq!((known().await, world.store.ledger(other, None, None, 9).await.unwrap().len()), (2_500, 0));
    let dry = Sync { dry_run: true, ..held.clone() };
    assert!(world.store.enter_place(&dry, &place("b", None)).await.unwrap());
    assert_eq!(known().await, 2_500, "a dry run only says so");
    assert!(world.store.enter_place(&held, &place("a", Some("bob"))).await.unwrap());
    assert_eq!((known().await, world.store.sync(held.id).await.unwrap().unwrap().anew), (0, true));
    assert!(!world.store.enter_place(&held, &place("a", Some("bob"))).await.unwrap());
    assert!(world.store.enter_place(&held, &place("b", Some("bob"))).await.unwrap());
    world.store.end_sync(&held, SyncEnd::Complete).await.unwrap();
    assert!(matches!(world.store.enter_place(&held, &place("c", None)).await, Err(Error::Fenced)));
}

async fn a_sync_that_goes_on_at_another_place_begins_anew(world: World) {
    let at = |target: &str| SyncPlace { target: target.into(), account: None };
    world.store.put_records("jobs", vec![record("1", "{}"), record("2", "{}")]).await.unwrap();
    let some = ["1", "2"].map(|id| NewItem { record_id: id.into(), record: None });
    for items in [None, Some(some.to_vec())] {
        start(&world, NewSync { items, ..sync() }).await;
        let held = claim(&world).await;
        world.store.enter_place(&held, &at("a")).await.unwrap();
        let step = SyncStep {
            rows: vec![there("1", "r1")],
            items: vec![done("1")],
            reached: Some(("removals", "1".into())),
            skipped: 1,
            ..SyncStep::default()
        };
        assert!(world.store.step_sync(&held, step).await.unwrap());
        assert!(world.store.enter_place(&held, &at("b")).await.unwrap());
        let anew = world.store.sync(held.id).await.unwrap().unwrap();
        let begun = (anew.anew, anew.phase.as_str(), anew.reached.as_str(), anew.created, anew.skipped);
        assert_eq!(begun, (true, "records", "", 0, 0));
        let page = world.store.sync_page(&anew, "records", "", 9, i64::MAX).await.unwrap();
        let seen: Vec<_> =
            page.into_iter().map(|row| (row.record_id, row.ledger.is_some(), row.outcome.is_some())).collect();
        assert_eq!(seen, [("1".into(), false, false), ("2".into(), false, false)]);
        world.store.end_sync(&held, SyncEnd::Complete).await.unwrap();
    }
}

#[test]
fn a_place_is_left_for_another_target_and_for_an_account_that_was_not_known() {
    let place =
        |target: &str, account: Option<&str>| SyncPlace { target: target.into(), account: account.map(str::to_owned) };
    let ann = place("a", Some("ann"));
    assert_eq!([ann.clone(), place("a", None)].map(|now| ann.is_left_for(&now)), [false, false]);
    assert_eq!([place("b", Some("ann")), place("a", Some("bob"))].map(|now| ann.is_left_for(&now)), [true, true]);
    assert!(place("a", None).is_left_for(&ann), "the ledger may be of somebody else");
}

async fn a_sync_that_waits_for_a_time_far_ahead_is_due_when_the_clock_was_put_back(world: World) {
    start(&world, sync()).await;
    let held = claim(&world).await;
    let at = now() + 24 * 3_600_000_000;
    world.store.end_sync(&held, SyncEnd::Later { at, error: None }).await.unwrap();
    assert_eq!(world.store.pull_back().await.unwrap(), 0, "a service may ask for a pause of a day");
    world.rows("UPDATE syncs SET next_at = next_at + 86400000000 RETURNING status").await;
    assert!(world.store.claim_syncs(9).await.unwrap().0.is_empty());
    assert_eq!(world.store.pull_back().await.unwrap(), 1);
    assert_eq!(claim(&world).await.id, held.id);
}

on_both_engines! {
    a_sync_that_goes_on_at_another_place_begins_anew,
    a_sync_that_waits_for_a_time_far_ahead_is_due_when_the_clock_was_put_back,
    a_page_has_about_so_many_bytes_and_one_record_at_least,
    the_ledger_of_another_place_is_begun_anew,
    records_are_counted_and_stand_in_the_order_of_their_bytes,
    one_sync_of_a_connection_at_a_time_in_order,
    a_step_is_counted_once_and_only_for_who_holds_the_sync,
    removals_are_what_the_ledger_has_and_the_collection_has_not,
    a_sync_of_some_records_looks_at_those_and_a_dry_one_at_what_it_was_given,
    a_time_begins_one_sync_and_none_while_one_is_open,
    the_last_syncs_of_a_connection_are_kept,
}
