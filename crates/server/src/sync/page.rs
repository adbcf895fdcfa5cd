//! Some records of a sync: what has to be found out, what has to be pushed, and what became of it.

use super::{
    look::look,
    mapping::hash,
    plan::{Todo, decide},
    push::{self, Outgoing},
    send::send,
    work::{Job, Stop, json},
};
use crate::outbox::{Verdict, verdict};
use serde_json::{Map, Value};
use tercel_sdk::{Error, Kind};
use tercel_store::{ItemEnd, LedgerRow, SyncRow, SyncStep, now};

/// Rounds after which what may have arrived is not looked for once more.
const PATIENCE: usize = 4;
/// Records that may be on their way at once, where what may have arrived can be found out.
pub const WINDOW: usize = 32;
/// Requests at the same time.
pub const AT_ONCE: usize = 4;

/// A record that has not come to its end.
pub struct Open {
    pub id: String,
    /// What the service would have; absent when the record is gone.
    pub here: Option<Here>,
    pub known: Option<LedgerRow>,
    /// It was looked for in this sync, and is not there.
    pub looked: bool,
}

pub struct Here {
    pub key: String,
    pub row: Value,
    pub hash: String,
}

/// Brings records to their ends; answers those that were as before.
pub async fn push(job: &Job, rows: Vec<SyncRow>) -> Result<Vec<String>, Stop> {
    let mut page = Page::default();
    let open = prepare(job, rows.into_iter().filter(is_open).collect()).await?;
    // Pushes come first, and some records are looked for and pushed before others are looked for: a service that lets
    // few calls through would be asked about the same records for ever.
    let (looks, open): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|open| todo(job, open) == Todo::Look);
    bring(job, open, &mut page).await?;
    let mut looks = looks.into_iter().peekable();
    while looks.peek().is_some() {
        if job.app.stopping.is_cancelled() {
            return Err(Stop::Stopping);
        }
        let some: Vec<Open> = looks.by_ref().take(WINDOW.max(job.part.batch)).collect();
        bring(job, some, &mut page).await?;
    }
    match page.may_arrive_until {
        Some(at) => Err(Stop::Until(at)),
        None => Ok(page.skipped),
    }
}

/// Brings some records to their ends, but for those that may still arrive.
async fn bring(job: &Job, mut open: Vec<Open>, page: &mut Page) -> Result<(), Stop> {
    // What was put off has had its rounds; all the same it is looked for once before it is given up.
    let earlier = usize::try_from(job.sync.attempts - 1).unwrap_or_default();
    let mut round = 0;
    page.answered = 0;
    while !open.is_empty() {
        round += 1;
        let is_last = round >= PATIENCE || round > 1 && round + earlier >= PATIENCE;
        open = go_round(job, open, page, is_last).await?;
    }
    page.stop.take().map_or(Ok(()), Err)
}

#[derive(Default)]
struct Page {
    /// Records that were as before.
    skipped: Vec<String>,
    /// Something that was begun is not there, and may arrive until then.
    may_arrive_until: Option<i64>,
    /// Those of the records at hand that the service answered when they were looked for.
    answered: usize,
    /// Nothing more is looked for: what was found out is pushed, and then this is the end.
    stop: Option<Stop>,
}

fn todo(job: &Job, open: &Open) -> Todo {
    let hash = open.here.as_ref().map(|here| here.hash.as_str());
    decide(job.ways, open.looked, hash, open.known.as_ref())
}

fn is_open(row: &SyncRow) -> bool {
    row.outcome.is_none()
}

pub fn skipped(record_id: String) -> ItemEnd {
    ItemEnd { record_id, change: None, outcome: "skipped", remote_id: None, error: None }
}

/// What would be sent of each record. Those of which nothing can be made have failed.
async fn prepare(job: &Job, rows: Vec<SyncRow>) -> Result<Vec<Open>, Stop> {
    let (mut open, mut given, mut step) = (Vec::new(), Vec::new(), SyncStep::default());
    for mut row in rows {
        row.ledger = row.ledger.filter(|_| !job.knows_nothing);
        match row.record.as_deref().map(serde_json::from_str::<Map<String, Value>>) {
            None => open.push(Open { id: row.record_id, here: None, known: row.ledger, looked: false }),
            Some(Ok(record)) => given.push((row.record_id, Value::Object(job.mapping.apply(record)), row.ledger)),
            Some(Err(error)) => step.items.push(failed(&row.record_id, None, &error.into())),
        }
    }
    let records: Vec<push::Given> = given
        .iter()
        .map(|(id, record, known)| push::Given {
            id: id.clone(),
            key: known.as_ref().map(|known| known.key.clone()),
            record: record.clone(),
        })
        .collect();
    for ((id, _, known), made) in given.into_iter().zip(push::rows(job, records).await?) {
        match made {
            Ok((key, row)) => {
                let hash = hash(&row);
                let looked = known.as_ref().is_some_and(|known| was_looked_for(job, known));
                open.push(Open { id, here: Some(Here { key, row, hash }), known, looked });
            }
            Err(error) => step.items.push(failed(&id, None, &error)),
        }
    }
    if !step.items.is_empty() {
        job.step(step).await?;
    }
    Ok(open)
}

/// It was looked for earlier in this sync, and was put off before it was pushed. What was found out before this server
/// started may be true of a database that is no more.
fn was_looked_for(job: &Job, known: &LedgerRow) -> bool {
    let started = now() - i64::try_from(job.app.started.elapsed().as_micros()).unwrap_or(i64::MAX);
    let since = job.sync.started_at.map_or(i64::MAX, |begun| begun.max(started));
    let error = known.error.as_deref().and_then(|error| serde_json::from_str(error).ok());
    let is_put_off = error.is_some_and(|error: Error| verdict(&error) == Verdict::Retry);
    is_put_off && known.state == "absent" && known.updated_at > since
}

async fn go_round(job: &Job, all: Vec<Open>, page: &mut Page, is_last: bool) -> Result<Vec<Open>, Stop> {
    let (mut step, mut looks, mut pushes, mut left) = (SyncStep::default(), Vec::new(), Vec::new(), Vec::new());
    for open in all {
        let todo = todo(job, &open);
        let is_dry = job.sync.dry_run;
        match todo {
            Todo::Nothing => {}
            Todo::Skip => page.skipped.push(open.id),
            Todo::Hold => hold(open, is_dry, &mut step),
            Todo::Forget if !is_dry => step.gone.push(open.id),
            Todo::Forget => {}
            _ if is_dry => step.items.push(withheld(&open, todo)),
            Todo::Look if page.stop.is_some() => {}
            Todo::Look => looks.push(open),
            Todo::Create | Todo::Update | Todo::Delete | Todo::Repeat => pushes.push(Outgoing::of(open, todo)),
        }
    }
    if !step.items.is_empty() || !step.gone.is_empty() {
        job.step(step).await?;
    }
    if !looks.is_empty() {
        let looked = look(job, looks, &mut page.answered, is_last).await?;
        left.extend(looked.left);
        page.may_arrive_until = page.may_arrive_until.max(looked.may_arrive_until);
        page.stop = looked.stop;
    }
    let window = match job.part.find.is_some() || job.part.idempotent {
        true => WINDOW.max(job.part.batch),
        false => job.part.batch,
    };
    let mut pushes = pushes.into_iter().peekable();
    while pushes.peek().is_some() {
        if job.app.stopping.is_cancelled() {
            return Err(Stop::Stopping);
        }
        let some: Vec<Outgoing> = pushes.by_ref().take(window).collect();
        left.extend(send(job, some, is_last).await?);
    }
    Ok(left)
}

/// A push began, and nobody can find out how it ended.
fn hold(open: Open, is_dry: bool, step: &mut SyncStep) {
    let Some(known) = open.known else { return };
    let message = "It may be there: the acknowledgement of a push was lost, and this integration cannot look for it";
    let hint = "Look there, then say whether it is there: POST …/connections/{name}/ledger/{record}";
    let error = Error::new(Kind::UnknownOutcome, message).hint(hint);
    let change = change_named(&known.change);
    step.items.push(ItemEnd {
        record_id: open.id,
        change: Some(change),
        outcome: "unknown",
        remote_id: known.remote_id.clone(),
        error: Some((error.kind.as_str(), json(&error))),
    });
    if !is_dry && known.state != "unknown" {
        step.rows.push(LedgerRow { state: "unknown".into(), error: Some(json(&error)), ..known });
    }
}

fn withheld(open: &Open, todo: Todo) -> ItemEnd {
    let change = match (todo, &open.known) {
        (Todo::Create, _) | (Todo::Look, None) => "create",
        (Todo::Look, Some(known)) if known.state == "absent" => "create",
        (Todo::Delete, _) => "delete",
        (Todo::Repeat, Some(known)) => change_named(&known.change),
        (_, known) if open.here.is_none() && known.is_some() => "delete",
        _ => "update",
    };
    let remote_id = open.known.as_ref().and_then(|known| known.remote_id.clone());
    ItemEnd { record_id: open.id.clone(), change: Some(change), outcome: "withheld", remote_id, error: None }
}

pub fn failed(id: &str, change: Option<&'static str>, error: &Error) -> ItemEnd {
    let error = Some((error.kind.as_str(), json(error)));
    ItemEnd { record_id: id.into(), change, outcome: "failed", remote_id: None, error }
}

pub fn change_named(change: &str) -> &'static str {
    match change {
        "update" => "update",
        "delete" => "delete",
        _ => "create",
    }
}
