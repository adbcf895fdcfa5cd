//! Pushing some records: each is written down before it leaves, and what became of it after.

use super::{
    page::{AT_ONCE, Open, failed},
    plan::{Todo, decide},
    push::{self, Outgoing},
    work::{Job, Stop, may_be_its_own},
};
use crate::outbox::{Verdict, verdict};
use std::collections::HashMap;
use tercel_sdk::{Error, Kind, sync::Change};
use tercel_store::{ItemEnd, LedgerRow, SyncStep};

/// Pushes records that are written down as on their way first.
pub async fn send(job: &Job, all: Vec<Outgoing>, is_last: bool) -> Result<Vec<Open>, Stop> {
    job.step(SyncStep { begun: all.iter().map(Outgoing::begun).collect(), ..SyncStep::default() }).await?;
    let outcomes = push::all(job, &all, AT_ONCE).await;
    let mut by_id: HashMap<String, Outgoing> = all.into_iter().map(|out| (out.open.id.clone(), out)).collect();
    let (mut step, mut stop, mut left) = (SyncStep::default(), None, Vec::new());
    let (mut troubled, mut answered) = (Vec::new(), 0_usize);
    for (id, outcome) in outcomes {
        let Some(out) = by_id.remove(&id) else { continue };
        match outcome {
            Ok(remote) => {
                answered += 1;
                left.extend(arrived(out, remote, &mut step));
            }
            Err(error) if out.change == Change::Delete && error.kind == Kind::NotFound => {
                answered += 1;
                left.extend(arrived(out, None, &mut step));
            }
            Err(error) if may_be_its_own(&error) => troubled.push((out, error)),
            Err(error) => match verdict(&error) {
                Verdict::Retry | Verdict::Park => {
                    let may_have_arrived = may_have_arrived(job, &out, &error);
                    step.rows.push(if may_have_arrived { out.unknown(&error) } else { out.not_sent(&error) });
                    stop = stop.or(Some(Stop::Because(error)));
                }
                Verdict::Refused => {
                    answered += 1;
                    let error = if out.change == Change::Update { told_if_gone(error) } else { error };
                    step.items.push(failed(&id, Some(out.name()), &error));
                    step.rows.push(out.refused(&error));
                }
                Verdict::Unknown => {
                    let row = out.unknown(&error);
                    if is_last || !can_be_found_out(job, &out.open, &row) {
                        step.items.push(unknown(&out, &error));
                    } else {
                        left.push(Open { known: Some(row.clone()), ..out.open });
                    }
                    step.rows.push(row);
                }
            },
        }
    }
    let are_given_up = job.is_stuck() && job.fails_at(troubled.len(), answered);
    for (out, error) in troubled {
        let may_have_arrived = may_have_arrived(job, &out, &error);
        if are_given_up {
            let item = if may_have_arrived { unknown } else { not_there };
            step.items.push(item(&out, &error));
        }
        step.rows.push(if may_have_arrived { out.unknown(&error) } else { out.not_sent(&error) });
        if !are_given_up {
            stop = stop.or(Some(Stop::Because(error)));
        }
    }
    // What was not begun because something stands in the way, or because this server may not go on.
    if !by_id.is_empty() {
        stop = stop.or(Some(Stop::Stopping));
    }
    step.rows.extend(by_id.into_values().map(|out| match &stop {
        // When it goes on, it is not looked for once more.
        Some(Stop::Because(error)) if out.open.looked && verdict(error) == Verdict::Retry => out.not_sent(error),
        _ => out.put_back(),
    }));
    job.step(step).await?;
    match stop {
        Some(stop) => Err(stop),
        None => Ok(left),
    }
}

fn unknown(out: &Outgoing, error: &Error) -> ItemEnd {
    let remote_id = out.open.known.as_ref().and_then(|known| known.remote_id.clone());
    ItemEnd { outcome: "unknown", remote_id, ..not_there(out, error) }
}

fn not_there(out: &Outgoing, error: &Error) -> ItemEnd {
    failed(&out.open.id, Some(out.name()), error)
}

fn can_be_found_out(job: &Job, open: &Open, unknown: &LedgerRow) -> bool {
    let hash = open.here.as_ref().map(|here| here.hash.as_str());
    decide(job.ways, false, hash, Some(unknown)) != Todo::Hold
}

/// What is tried again because its repetition does no harm may have happened: then it must be repeated as it was.
fn may_have_arrived(job: &Job, out: &Outgoing, error: &Error) -> bool {
    let is_repeatable = job.ways.idempotent || out.change != Change::Create;
    let may = match error.status {
        Some(status) => status == 408 || status >= 500,
        None => is_repeatable,
    };
    error.kind == Kind::Network && may && can_be_found_out(job, &out.open, &out.unknown(error))
}

fn told_if_gone(error: Error) -> Error {
    match error.kind {
        Kind::NotFound if error.hint.is_none() => error.hint(
            "If it was removed there, say so: POST …/connections/{name}/ledger/{record} with {\"there\": false}; the next sync \
             makes it anew",
        ),
        _ => error,
    }
}

/// Answers the record when what arrived is not what it is by now.
fn arrived(out: Outgoing, remote: Option<String>, step: &mut SyncStep) -> Option<Open> {
    let id = out.open.id.clone();
    if out.change == Change::Delete && out.open.here.is_some() {
        // It came back meanwhile.
        step.gone.push(id);
        return Some(Open { known: None, looked: true, ..out.open });
    }
    if out.change == Change::Delete {
        let remote_id = out.open.known.as_ref().and_then(|known| known.remote_id.clone());
        step.items.push(ItemEnd {
            record_id: id.clone(),
            change: Some("delete"),
            outcome: "done",
            remote_id,
            error: None,
        });
        step.gone.push(id);
        return None;
    }
    let row = out.done(remote);
    step.rows.push(row.clone());
    if out.open.here.as_ref().map(|here| &here.hash) == row.hash.as_ref() {
        let (change, remote_id) = (Some(out.name()), row.remote_id);
        step.items.push(ItemEnd { record_id: id, change, outcome: "done", remote_id, error: None });
        return None;
    }
    Some(Open { known: Some(row), ..out.open })
}
