//! Calling the parts of an integration for records.

use super::{
    mapping::hash,
    page::{Open, change_named},
    plan::Todo,
    work::{Job, Stop, json},
};
use crate::{
    app::Call,
    outbox::{Verdict, verdict},
    part::within,
    watchman,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};
use tercel_sdk::{
    Error, Handler, Host, Kind, Push, Pushed, Result,
    sync::{Change, Record},
};
use tercel_store::{LedgerRow, now};

/// A record on its way.
pub struct Outgoing {
    pub open: Open,
    pub change: Change,
    row: Value,
    /// As it was before this push.
    known: LedgerRow,
    /// It is what may have arrived, as it was.
    again: bool,
}

impl Outgoing {
    pub fn of(open: Open, todo: Todo) -> Self {
        let known = open.known.as_ref();
        let repeated = known.filter(|_| todo == Todo::Repeat);
        let sent = repeated.and_then(|known| serde_json::from_str(known.sending.as_deref()?).ok());
        let change = match (todo, repeated.map(|known| change_named(&known.change))) {
            (Todo::Delete, _) | (_, Some("delete")) => Change::Delete,
            (Todo::Update, _) | (_, Some("update")) => Change::Update,
            _ => Change::Create,
        };
        let row = sent.or_else(|| Some(open.here.as_ref()?.row.clone())).filter(|_| change != Change::Delete);
        let known = open.known.clone().unwrap_or_else(|| unknown_so_far(&open));
        Self { change, row: row.unwrap_or_default(), known, again: todo == Todo::Repeat, open }
    }

    pub fn name(&self) -> &'static str {
        match self.change {
            Change::Create => "create",
            Change::Update => "update",
            Change::Delete => "delete",
        }
    }

    pub fn push(&self) -> Push {
        Push {
            id: self.open.id.clone(),
            key: self.known.key.clone(),
            change: self.change,
            remote_id: self.known.remote_id.clone(),
            row: self.row.clone(),
        }
    }

    /// The same for a repetition of this push, and for nothing else.
    pub fn idempotency(&self) -> String {
        let row = hash(&self.row);
        format!("{}\n{}\n{}\n{}\n{row}", self.known.record_id, self.known.key, self.name(), self.known.pushes)
    }

    /// As it is written down before it leaves.
    pub fn begun(&self) -> LedgerRow {
        let (change, sending) = (self.name().into(), Some(self.row.to_string()));
        LedgerRow { state: "pushing".into(), change, sending, updated_at: now(), ..self.known.clone() }
    }

    pub fn done(&self, remote: Option<String>) -> LedgerRow {
        let known = self.known.clone();
        LedgerRow {
            state: "there".into(),
            change: self.name().into(),
            remote_id: remote.or_else(|| known.remote_id.clone()),
            hash: Some(hash(&self.row)),
            sending: None,
            error: None,
            pushes: known.pushes + 1,
            pushed_at: Some(now()),
            ..known
        }
    }

    /// This push surely did not happen. What may have happened before it may still have.
    pub fn not_sent(&self, error: &Error) -> LedgerRow {
        LedgerRow { error: Some(json(error)), ..self.known.clone() }
    }

    /// The service said no. It may know this push by now: the next one is another. Who is refused what may have arrived
    /// was refused it before.
    pub fn refused(&self, error: &Error) -> LedgerRow {
        let row = self.not_sent(error);
        let was_not_made = self.again && is_about_content(error);
        let pushes = row.pushes + i64::from(was_not_made || row.sending.is_none());
        match row.hash.is_some() {
            _ if !was_not_made => LedgerRow { pushes, ..row },
            true => LedgerRow { state: "there".into(), sending: None, pushes, ..row },
            false => LedgerRow { state: "absent".into(), sending: None, remote_id: None, pushes, ..row },
        }
    }

    pub fn put_back(self) -> LedgerRow {
        self.known
    }

    pub fn unknown(&self, error: &Error) -> LedgerRow {
        LedgerRow { state: "unknown".into(), error: Some(json(error)), ..self.begun() }
    }
}

/// Whether the service looked at what it was sent, and refuses just that. A conflict may be one with what arrived.
fn is_about_content(error: &Error) -> bool {
    error.kind == Kind::Schema && error.status.is_some_and(|status| (400..500).contains(&status) && status != 409)
}

fn unknown_so_far(open: &Open) -> LedgerRow {
    LedgerRow {
        record_id: open.id.clone(),
        key: open.here.as_ref().map(|here| here.key.clone()).unwrap_or_default(),
        state: "absent".into(),
        pushes: first_push(),
        ..LedgerRow::default()
    }
}

/// From where the pushes of a record are counted: no record of this name that was here before had these numbers.
pub fn first_push() -> i64 {
    now()
}

/// A record of which a row is wanted.
pub struct Given {
    pub id: String,
    /// What it is known by at the service, once it is.
    pub key: Option<String>,
    pub record: Value,
}

/// The key and the row of each record. One that nothing can be made of does not hold up the others.
pub async fn rows(job: &Job, records: Vec<Given>) -> Result<Vec<Result<(String, Value)>>, Stop> {
    let together = made(job, &records).await;
    Ok(match together {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) if matches!(verdict(&error), Verdict::Retry | Verdict::Park) => return Err(Stop::Because(error)),
        Err(error) if records.len() <= 1 => vec![Err(error); records.len()],
        Err(_) => {
            let mut rows = Vec::with_capacity(records.len());
            for one in records.chunks(1) {
                rows.push(made(job, one).await.map(|mut rows| rows.remove(0)));
            }
            rows
        }
    })
}

async fn made(job: &Job, records: &[Given]) -> Result<Vec<(String, Value)>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let host = || host_to_ask(job);
    let mut keys: Vec<String> =
        records.iter().map(|given| given.key.clone().unwrap_or_else(|| given.id.clone())).collect();
    if let Some(handler) = &job.part.keys {
        let unknown: Vec<usize> = (0..records.len()).filter(|n| records[*n].key.is_none()).collect();
        let all: Vec<&Value> = unknown.iter().map(|n| &records[*n].record).collect();
        let answer: Vec<String> = ask(job, handler, host()?, json!(all), "Naming records", Kind::Error).await?;
        is_whole(&answer, all.len(), "keys")?;
        unknown.into_iter().zip(answer).for_each(|(n, key)| keys[n] = key);
    }
    let Some(handler) = &job.part.rows else {
        return Ok(keys.into_iter().zip(records.iter().map(|given| given.record.clone())).collect());
    };
    let all: Vec<Record> = keys
        .iter()
        .zip(records)
        .map(|(key, given)| Record { key: key.clone(), record: given.record.clone() })
        .collect();
    let rows: Vec<Value> = ask(job, handler, host()?, json!(all), "Making rows of records", Kind::Error).await?;
    is_whole(&rows, all.len(), "rows")?;
    Ok(keys.into_iter().zip(rows).collect())
}

fn is_whole<T>(answer: &[T], wanted: usize, what: &str) -> Result<()> {
    match answer.len() == wanted {
        true => Ok(()),
        false => Err(Error::schema(format!("There are {} {what} for {wanted} records", answer.len()))),
    }
}

/// The id of a record at the service, if it is there.
pub async fn find(job: &Job, open: &Open) -> Result<Option<String>> {
    job.turn().await?;
    let handler = job.part.find.as_ref().ok_or_else(|| Error::new(Kind::Unsupported, "It cannot be looked for"))?;
    let known = open.known.as_ref();
    let sent = known.and_then(|known| serde_json::from_str(known.sending.as_deref()?).ok());
    let here = open.here.as_ref();
    let push = Push {
        id: open.id.clone(),
        key: known.map(|known| known.key.clone()).or(here.map(|here| here.key.clone())).unwrap_or_default(),
        change: Change::Create,
        remote_id: known.and_then(|known| known.remote_id.clone()),
        row: sent.or(here.map(|here| here.row.clone())).unwrap_or_default(),
    };
    let found = ask(job, handler, host_to_ask(job)?, json!(push), "Looking for a record", Kind::Timeout).await;
    saw(job, &found).await;
    found
}

/// Pushes in as many calls as the part wants; answers what became of each that was begun.
pub async fn all(job: &Job, pushes: &[Outgoing], at_once: usize) -> Vec<(String, Result<Option<String>>)> {
    let stands = AtomicBool::new(false);
    let calls: Vec<_> = pushes.chunks(job.part.batch.max(1)).map(|some| unless(&stands, job, some)).collect();
    stream::iter(calls).buffer_unordered(at_once).collect::<Vec<_>>().await.into_iter().flatten().collect()
}

/// Nothing more is begun once something stands in the way, the server stops, another one has its place or the connection
/// is at another one.
async fn unless(stands: &AtomicBool, job: &Job, some: &[Outgoing]) -> Vec<(String, Result<Option<String>>)> {
    if stands.load(Ordering::Relaxed) || !job.may_go_on() {
        return Vec::new();
    }
    let outcomes = match job.turn().await {
        Ok(()) if !job.may_go_on() => return Vec::new(),
        Ok(()) => together(job, some).await,
        Err(error) => some.iter().map(|out| (out.open.id.clone(), Err(error.clone()))).collect(),
    };
    let is_obstacle = |error: &Error| matches!(verdict(error), Verdict::Retry | Verdict::Park) && !job.bears(error);
    if outcomes.iter().any(|(_, outcome)| outcome.as_ref().is_err_and(is_obstacle)) {
        stands.store(true, Ordering::Relaxed);
    }
    outcomes
}

async fn together(job: &Job, all: &[Outgoing]) -> Vec<(String, Result<Option<String>>)> {
    let pushes: Vec<Push> = all.iter().map(Outgoing::push).collect();
    let answer: Result<Vec<Pushed>> = match host(job, Some(idempotency(job, all))) {
        Ok(Some(host)) => ask(job, &job.part.push, host, json!(pushes), "Pushing records", Kind::UnknownOutcome).await,
        Ok(None) => return Vec::new(),
        Err(error) => Err(error),
    };
    let mut by_id: HashMap<String, Pushed> = match answer {
        Ok(pushed) => pushed.into_iter().map(|pushed| (pushed.id.clone(), pushed)).collect(),
        Err(error) => {
            saw(job, &Err::<(), _>(error.clone())).await;
            return pushes.into_iter().map(|push| (push.id, Err(error.clone()))).collect();
        }
    };
    let is_refused = |pushed: &&Pushed| pushed.error.as_ref().is_some_and(|error| error.kind == Kind::Auth);
    let refused = by_id.values().find(is_refused).and_then(|pushed| pushed.error.clone());
    saw(job, &refused.map_or(Ok(()), Err)).await;
    let catalog = job.app.catalog();
    let mut outcome = |push: Push| {
        let outcome = match by_id.remove(&push.id) {
            Some(Pushed { error: Some(error), .. }) => Err(catalog.redactor.error(error)),
            Some(pushed) => Ok(pushed.remote_id),
            None => Err(Error::new(Kind::UnknownOutcome, "Nothing was said about this record")),
        };
        (push.id, outcome)
    };
    pushes.into_iter().map(&mut outcome).collect()
}

fn idempotency(job: &Job, pushes: &[Outgoing]) -> String {
    let sync = &job.sync;
    let mut digest = Sha256::new();
    digest.update(format!("{}\n{}\n{}\n", sync.integration, sync.connection, sync.collection));
    pushes.iter().for_each(|push| digest.update(push.idempotency()));
    hex::encode(&digest.finalize()[..16])
}

async fn saw<T>(job: &Job, outcome: &Result<T>) {
    watchman::saw_in_use(&job.app, &job.sync.integration, &job.sync.connection, outcome).await;
}

/// None: the connection is at another place by now.
fn host(job: &Job, idempotency_key: Option<String>) -> Result<Option<Host>> {
    let (integration, connection) = (&job.sync.integration, &job.sync.connection);
    let call = Call { idempotency_key, timeout: Some(job.app.config.limits.dispatcher), ..Call::default() };
    let missing = || Error::not_configured(format!("There is no connection `{connection}` of `{integration}`"));
    // The same values are looked at and used, whoever saves others meanwhile.
    let catalog = job.app.catalog();
    let entry = catalog.integrations.get(integration).ok_or_else(missing)?;
    let values = entry.values(connection).ok_or_else(missing)?;
    if job.has_left_for(entry) {
        return Ok(None);
    }
    job.app.host_with(integration, connection, values, call).map(Some).ok_or_else(missing)
}

fn host_to_ask(job: &Job) -> Result<Host> {
    let elsewhere = || Error::new(Kind::Network, "The connection is at another place by now: the sync goes on there");
    host(job, None)?.ok_or_else(elsewhere)
}

async fn ask<T: serde::de::DeserializeOwned>(
    job: &Job,
    handler: &Handler,
    host: Host,
    given: Value,
    what: &str,
    late: Kind,
) -> Result<T> {
    let handler = handler.clone();
    let call = async move { handler(host, given.into()).await };
    let what = format!("{what} by `{}`", job.sync.integration);
    let catalog = job.app.catalog();
    let answer = within(job.app.config.limits.dispatcher, &what, late, call).await;
    let answer = answer.map_err(|error| catalog.redactor.error(error))?;
    serde_json::from_value(answer).map_err(|error| {
        // The records were pushed; that the answer is odd does not undo it.
        let kind = if late == Kind::UnknownOutcome { late } else { Kind::Schema };
        Error::new(kind, format!("{what} answered what was not expected: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(todo: Todo, known: &LedgerRow, kind: Kind, status: u16) -> (String, bool, i64) {
        let open = Open { id: "1".into(), here: None, known: Some(known.clone()), looked: false };
        let row = Outgoing::of(open, todo).refused(&Error::new(kind, "no").status(status));
        (row.state, row.sending.is_some(), row.pushes)
    }

    #[test]
    fn a_repetition_that_is_refused_for_its_content_was_not_made_before() {
        let created = LedgerRow {
            state: "unknown".into(),
            change: "create".into(),
            sending: Some("{}".into()),
            pushes: 7,
            ..LedgerRow::default()
        };
        let updated = LedgerRow { change: "update".into(), hash: Some("h".into()), ..created.clone() };
        assert_eq!(refused(Todo::Repeat, &created, Kind::Schema, 422), ("absent".into(), false, 8));
        assert_eq!(refused(Todo::Repeat, &updated, Kind::Schema, 400), ("there".into(), false, 8));
        let as_it_was = ("unknown".to_owned(), true, 7);
        for (todo, kind, status) in [
            // It may be at work on the first one.
            (Todo::Repeat, Kind::Schema, 409),
            (Todo::Repeat, Kind::Schema, 200),
            (Todo::Repeat, Kind::Forbidden, 403),
            (Todo::Update, Kind::Schema, 422),
        ] {
            assert_eq!(refused(todo, &created, kind, status), as_it_was, "{todo:?} {kind:?} {status}");
        }
        let absent = LedgerRow { state: "absent".into(), sending: None, ..created };
        assert_eq!(refused(Todo::Create, &absent, Kind::Schema, 422), ("absent".into(), false, 8));
    }
}
