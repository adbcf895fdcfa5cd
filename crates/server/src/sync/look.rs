//! Finding out what is at the service, and what follows from it.

use super::{
    mapping::hash,
    page::{AT_ONCE, Open, WINDOW, change_named, failed},
    push,
    work::{Job, Stop, may_be_its_own},
};
use crate::outbox::{Verdict, verdict};
use futures::{StreamExt, stream};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use tercel_sdk::Error;
use tercel_store::{ItemEnd, LedgerRow, SyncStep, now};

/// What came of looking.
#[derive(Default)]
pub struct Looked {
    /// Records that have not come to their ends.
    pub left: Vec<Open>,
    /// Something that was begun is not there, and may arrive until then.
    pub may_arrive_until: Option<i64>,
    /// Why nothing more is looked for.
    pub stop: Option<Stop>,
}

/// Looks for records that may be there. What is found out is written down; what follows from it comes in the next round,
/// and so does once more what the service failed at while it `answered` others.
pub async fn look(job: &Job, all: Vec<Open>, answered: &mut usize, is_last: bool) -> Result<Looked, Stop> {
    let (mut outcome, mut troubled) = (Looked::default(), Vec::new());
    let stands = AtomicBool::new(false);
    let looks: Vec<_> = all.into_iter().map(|open| unless(&stands, job, open)).collect();
    let mut looked = stream::iter(looks).buffer_unordered(AT_ONCE).ready_chunks(WINDOW);
    while let Some(some) = looked.next().await {
        let mut step = SyncStep::default();
        for (open, found) in some {
            let Some(found) = found else {
                outcome.left.push(open);
                continue;
            };
            *answered += usize::from(found.as_ref().err().is_none_or(is_refusal));
            match found {
                Ok(None) if let Some(at) = job.may_arrive_until(open.known.as_ref()) => {
                    outcome.may_arrive_until = outcome.may_arrive_until.max(Some(at));
                }
                Ok(found) => outcome.left.extend(note_found(open, found, &mut step)),
                // That it cannot be looked for says nothing about whether it is there.
                Err(error) if is_refusal(&error) => step.items.push(failed(&open.id, None, &error)),
                Err(error) if may_be_its_own(&error) || verdict(&error) == Verdict::Unknown => {
                    troubled.push((open, error));
                }
                Err(error) => outcome.stop = outcome.stop.or(Some(Stop::Because(error))),
            }
        }
        let is_down = *answered == 0 && troubled.len() >= AT_ONCE && !job.is_stuck();
        stands.store(is_down || outcome.stop.is_some(), Ordering::Relaxed);
        job.step(step).await?;
    }
    let Some((_, first)) = troubled.first() else { return Ok(outcome) };
    if !job.fails_at(troubled.len(), *answered) {
        outcome.stop = outcome.stop.or(Some(Stop::Because(first.clone())));
    } else if *answered > 0 && !is_last {
        outcome.left.extend(troubled.into_iter().map(|(open, _)| open));
    } else {
        let items = troubled.iter().map(|(open, error)| failed(&open.id, None, error)).collect();
        job.step(SyncStep { items, ..SyncStep::default() }).await?;
    }
    Ok(outcome)
}

/// Nothing more is looked for once something stands in the way.
async fn unless(stands: &AtomicBool, job: &Job, open: Open) -> (Open, Option<Result<Option<String>, Error>>) {
    if stands.load(Ordering::Relaxed) {
        return (open, None);
    }
    let found = push::find(job, &open).await;
    (open, Some(found))
}

fn is_refusal(error: &Error) -> bool {
    verdict(error) == Verdict::Refused
}

/// What the ledger says from now on. Answers the record, unless it has come to its end by this.
fn note_found(open: Open, found: Option<String>, step: &mut SyncStep) -> Option<Open> {
    let is_there = found.is_some();
    if !is_there && open.known.as_ref().is_none_or(|known| known.state == "absent") {
        return Some(Open { looked: true, ..open });
    }
    let was_sent = |known: &LedgerRow| {
        let sent: Value = serde_json::from_str(known.sending.as_deref()?).ok()?;
        Some(hash(&sent)).filter(|_| known.change == "create")
    };
    let before = open.known.clone();
    let in_flight = before.as_ref().filter(|known| known.state != "there");
    // What is there exactly is known of nothing but a creation of ours.
    let hash = is_there.then(|| in_flight.and_then(was_sent).unwrap_or_default());
    let key = open.here.as_ref().map(|here| here.key.clone());
    let row = LedgerRow {
        record_id: open.id.clone(),
        key: before.as_ref().map(|known| known.key.clone()).or(key).unwrap_or_default(),
        state: if is_there { "there" } else { "absent" }.into(),
        change: before.as_ref().map_or("create", |known| change_named(&known.change)).into(),
        remote_id: found,
        hash: hash.clone(),
        sending: None,
        error: None,
        pushes: before.as_ref().map_or_else(push::first_push, |known| known.pushes + 1),
        pushed_at: if is_there { Some(now()) } else { before.as_ref().and_then(|known| known.pushed_at) },
        updated_at: now(),
    };
    let done = |change| ItemEnd {
        record_id: open.id.clone(),
        change: Some(change),
        outcome: "done",
        remote_id: row.remote_id.clone(),
        error: None,
    };
    if !is_there && open.here.is_none() {
        if in_flight.is_some_and(|known| known.change == "delete") {
            step.items.push(done("delete"));
        }
        step.gone.push(open.id);
        return None;
    }
    let is_as_here = hash.is_some() && hash == open.here.as_ref().map(|here| here.hash.clone());
    if is_as_here {
        step.items.push(done("create"));
    }
    step.rows.push(row.clone());
    (!is_as_here).then_some(Open { known: Some(row), looked: !is_there, ..open })
}

#[cfg(test)]
mod tests {
    use super::{super::page::Here, *};
    use serde_json::json;

    fn open(known: Option<LedgerRow>, row: Option<Value>) -> Open {
        let here = row.map(|row| Here { key: "k".into(), hash: hash(&row), row });
        Open { id: "1".into(), here, known, looked: false }
    }

    fn sent(change: &str, row: &Value) -> LedgerRow {
        LedgerRow {
            key: "k".into(),
            state: "pushing".into(),
            change: change.into(),
            sending: Some(row.to_string()),
            ..LedgerRow::default()
        }
    }

    #[test]
    fn a_creation_that_is_found_is_done_if_nothing_changed_meanwhile() {
        let row = json!({"title": "A"});
        let mut step = SyncStep::default();
        assert!(note_found(open(Some(sent("create", &row)), Some(row.clone())), Some("7".into()), &mut step).is_none());
        assert_eq!((step.items[0].outcome, step.items[0].change), ("done", Some("create")));
        assert_eq!(step.rows[0].hash, Some(hash(&row)));
        let mut step = SyncStep::default();
        let left =
            note_found(open(Some(sent("create", &row)), Some(json!({"title": "B"}))), Some("7".into()), &mut step);
        assert!(left.is_some() && step.items.is_empty(), "it is updated next");
    }

    #[test]
    fn what_was_not_there_is_created_and_what_nobody_needs_is_forgotten() {
        let row = json!({"title": "A"});
        let mut step = SyncStep::default();
        let left = note_found(open(Some(sent("create", &row)), Some(row.clone())), None, &mut step).unwrap();
        assert_eq!((left.known.unwrap().state.as_str(), left.looked, step.items.len()), ("absent", true, 0));
        let mut step = SyncStep::default();
        assert!(note_found(open(Some(sent("delete", &Value::Null)), None), None, &mut step).is_none());
        assert_eq!((step.items[0].change, step.gone.as_slice()), (Some("delete"), ["1".to_owned()].as_slice()));
        let mut step = SyncStep::default();
        let left = note_found(open(None, Some(row.clone())), None, &mut step).unwrap();
        assert_eq!((left.known, left.looked, step.rows.len()), (None, true, 0), "nothing has to be written down");
        let left = note_found(open(None, Some(row)), Some("7".into()), &mut step).unwrap();
        assert_eq!(left.known.unwrap().hash.as_deref(), Some(""), "what it has there nobody knows");
    }
}
