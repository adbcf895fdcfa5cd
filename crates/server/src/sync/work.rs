//! One sync: page by page, until all was looked at or something stands in the way.

use super::{
    mapping::{Mapping, hash},
    page::{self, WINDOW},
    plan::Ways,
    settings::Settings,
    told,
};
use crate::{
    app::App,
    catalog::Entry,
    outbox::{Verdict, verdict, wait},
    part::words,
    queue::patiently,
    tier,
};
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tercel_sdk::{Error, Kind, rate::Rate, sync::Part};
use tercel_store::{LedgerRow, Sync, SyncEnd, SyncPlace, SyncStep, now};
use tokio::time::Instant;

/// Records that are looked at together, at the most.
const MOST: i64 = 500;
/// Bytes of them, unless it is one.
const BYTES: i64 = 4 << 20;
/// A service that wants a longer pause is asked again after this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);
/// Turns that come later are not waited for: the sync goes on then.
const LONGEST_TURN: Duration = Duration::from_secs(30);
/// How often something is tried that does not get on.
const MOST_ATTEMPTS: i64 = 12;
/// Attempts that do not get on, over two minutes and more, before single records are taken for the reason.
const MANY_ATTEMPTS: i64 = 8;

/// Why the work on a sync ends before everything was looked at.
#[derive(Debug)]
pub enum Stop {
    /// The service, or something on the way to it.
    Because(Error),
    /// What was begun is not there, and may arrive until that time.
    Until(i64),
    /// Somebody asked for it.
    Cancelled,
    /// The server stops, or the connection is at another place by now: it is taken up again at once.
    Stopping,
    /// It belongs to another worker, or the database is gone for good.
    Lost(tercel_store::Error),
}

impl From<tercel_store::Error> for Stop {
    fn from(error: tercel_store::Error) -> Self {
        match error {
            tercel_store::Error::Stopping => Self::Stopping,
            other => Self::Lost(other),
        }
    }
}

/// A connection that records can be pushed by.
#[derive(Clone)]
pub struct Ready {
    pub part: Part,
    pub mapping: Mapping,
    pub collection: String,
    pub rate: Option<Rate>,
}

/// A sync with all that it needs.
pub struct Job {
    pub app: Arc<App>,
    pub sync: Sync,
    pub part: Part,
    pub ways: Ways,
    pub mapping: Mapping,
    /// How often the service is asked.
    rate: Option<Rate>,
    /// Whose ledger it goes by.
    pub place: SyncPlace,
    /// A dry run at another place than that of the ledger.
    pub knows_nothing: bool,
    /// Something was done since it was taken up.
    pub got_on: std::sync::atomic::AtomicBool,
}

pub async fn work(app: &Arc<App>, sync: Sync) {
    // A fault in here must not leave it running for ever. What was on its way is marked in the ledger.
    let outcome = AssertUnwindSafe(go(app, &sync)).catch_unwind().await.unwrap_or_else(|panic| {
        let message = format!("The sync hit a fault in the program: it panicked ({})", words(&*panic));
        SyncEnd::Failed(json(&Error::new(Kind::Error, message)))
    });
    told::tell(app, &sync, &outcome).await;
    end(app, &sync, outcome).await;
    told::settle(app, &sync).await;
    if let Err(error) = app.store.forget_old_syncs(&sync.integration, &sync.connection).await {
        tracing::error!("Old syncs of `{}` could not be forgotten: {error}", sync.integration);
    }
}

pub async fn end(app: &App, sync: &Sync, end: SyncEnd) {
    match patiently("The end of a sync", || app.store.end_sync(sync, end.clone())).await {
        // The next start takes it up.
        Ok(()) | Err(tercel_store::Error::Stopping) => {}
        Err(error) => tracing::error!(sync.id = %sync.id, "The end of a sync could not be committed: {error}"),
    }
}

async fn go(app: &Arc<App>, sync: &Sync) -> SyncEnd {
    let (Ready { mut part, mapping, rate, .. }, place) = match open(app, sync).await {
        Ok(opened) => opened,
        Err(error) => return stopped(sync, error, false),
    };
    // One that the service fails at does not fail those that would leave with it; but some know a repetition only by all
    // that left together.
    if sync.attempts >= MANY_ATTEMPTS && !(part.idempotent && part.by_id) {
        part.batch = 1;
    }
    let entered = patiently("The place of a sync", || app.store.enter_place(sync, &place)).await;
    let (begun, knows_nothing) = match entered.map_err(Stop::from) {
        Ok(true) => (Sync { phase: "records".into(), reached: String::new(), ..sync.clone() }, sync.dry_run),
        Ok(false) => (sync.clone(), false),
        Err(stop) => return ended(sync, Err(stop), false),
    };
    let (ways, got_on) = (Ways::from(&part), false.into());
    let job = Job { app: app.clone(), sync: begun, part, ways, mapping, rate, place, knows_nothing, got_on };
    let outcome = match pages(&job).await {
        // What stood in the way there says nothing about where it goes on.
        Err(Stop::Because(_) | Stop::Until(_)) if job.is_elsewhere() => Err(Stop::Stopping),
        outcome => outcome,
    };
    ended(sync, outcome, job.got_on.into_inner())
}

fn ended(sync: &Sync, outcome: Result<(), Stop>, got_on: bool) -> SyncEnd {
    match outcome {
        Ok(()) => SyncEnd::Complete,
        Err(Stop::Cancelled) => SyncEnd::Cancelled,
        Err(Stop::Stopping) => SyncEnd::Later { at: now(), error: None },
        Err(Stop::Until(at)) => {
            let message = "The service did not say whether it made some records: it may still do so, and is asked then";
            SyncEnd::Later { at, error: Some(json(&Error::new(Kind::UnknownOutcome, message))) }
        }
        Err(Stop::Because(error)) => stopped(sync, error, got_on),
        Err(Stop::Lost(error)) => {
            tracing::error!(sync.id = %sync.id, "A sync could not be written down: {error}");
            SyncEnd::Later { at: now() + 1_000_000, error: None }
        }
    }
}

/// Waits for a person, is tried again later, or has failed.
fn stopped(sync: &Sync, error: Error, got_on: bool) -> SyncEnd {
    let attempts = if got_on { 1 } else { sync.attempts };
    match verdict(&error) {
        Verdict::Park => SyncEnd::Waiting(json(&error)),
        Verdict::Retry | Verdict::Unknown if attempts < MOST_ATTEMPTS => {
            SyncEnd::Later { at: now() + pause(attempts, &error).as_micros() as i64, error: Some(json(&error)) }
        }
        _ => SyncEnd::Failed(json(&error)),
    }
}

/// As long as the service asks for: nobody waits for a sync as for an answer.
fn pause(attempts: i64, error: &Error) -> Duration {
    let asked = error.retry_after.unwrap_or_default().min(LONGEST_PAUSE);
    wait(u32::try_from(attempts).unwrap_or(1), error.retry_after).max(asked)
}

async fn pages(job: &Job) -> Result<(), Stop> {
    let phases: &[&'static str] = match (job.sync.partial, job.sync.phase.as_str()) {
        (true, _) => &["records"],
        (false, "removals") => &["removals"],
        (false, _) => &["records", "removals"],
    };
    for (n, phase) in phases.iter().enumerate() {
        let mut reached = if n == 0 { job.sync.reached.clone() } else { String::new() };
        loop {
            if job.app.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            let rows = job.app.store.sync_page(&job.sync, phase, &reached, MOST, BYTES).await?;
            let Some(last) = rows.last() else { break };
            reached.clone_from(&last.record_id);
            let skipped = page::push(job, rows).await?;
            let mut step = SyncStep { reached: Some((phase, reached.clone())), ..SyncStep::default() };
            match job.sync.partial {
                true => step.items = skipped.into_iter().map(page::skipped).collect(),
                false => step.skipped = skipped.len() as i64,
            }
            job.step(step).await?;
        }
        if n + 1 < phases.len() {
            let reached = Some((phases[n + 1], String::new()));
            job.step(SyncStep { reached, ..SyncStep::default() }).await?;
        }
    }
    Ok(())
}

impl Job {
    /// Whether this server may begin something: it does not stop, and no other one has its place.
    pub fn may_go_on(&self) -> bool {
        !self.app.stopping.is_cancelled() && self.app.store.turn().borrow().is_ours()
    }

    /// Whether the connection is at another place by now, whose ledger is another.
    pub fn is_elsewhere(&self) -> bool {
        let catalog = self.app.catalog();
        let entry = catalog.integrations.get(&self.sync.integration);
        entry.is_some_and(|entry| self.has_left_for(entry))
    }

    pub fn has_left_for(&self, entry: &Entry) -> bool {
        self.place.is_left_for(&place(entry, &self.sync.connection))
    }

    /// Waits until the service may be asked once more, or the server stops.
    ///
    /// # Errors
    /// `rate_limited` when that is too long.
    pub async fn turn(&self) -> Result<(), Error> {
        let Some(rate) = self.rate else { return Ok(()) };
        let place = format!("{}/{}", self.sync.integration, self.sync.connection);
        tokio::select! {
            () = self.app.stopping.cancelled() => Ok(()),
            turn = self.app.sync_turns.turn(rate, &place, Some(Instant::now() + LONGEST_TURN)) => turn,
        }
    }

    /// It has not got on for long: single records may be the reason.
    pub fn is_stuck(&self) -> bool {
        self.sync.attempts >= MANY_ATTEMPTS
    }

    /// Whether others are asked about all the same after the service failed at this one.
    pub fn bears(&self, error: &Error) -> bool {
        may_be_its_own(error) && (error.retry_after.is_none() || self.is_stuck())
    }

    /// Whether the service fails at some records for what they are. Where it answers nothing else it is down, as far as
    /// anybody can tell: then they are only given up when they are few, and after long.
    pub fn fails_at(&self, troubled: usize, answered: usize) -> bool {
        let has_got_on = self.got_on.load(std::sync::atomic::Ordering::Relaxed);
        answered > 0 || self.is_stuck() && troubled < WINDOW && !has_got_on
    }

    /// Until when a creation may arrive that was begun and is not there; absent: it will not any more. A service may be
    /// at work on it longer than it is waited for, and what an earlier life of this server began may have left as late as
    /// its end.
    pub fn may_arrive_until(&self, known: Option<&LedgerRow>) -> Option<i64> {
        let begun = known.filter(|known| matches!(known.state.as_str(), "pushing" | "unknown"))?;
        let silence = Duration::from_micros((now() - begun.updated_at).max(0).unsigned_abs());
        let silence = silence.min(self.app.started.elapsed());
        let left = (self.app.config.http_timeout * 2).checked_sub(silence).filter(|left| !left.is_zero())?;
        (begun.change == "create").then(|| now() + left.as_micros() as i64)
    }

    /// Commits, and stops when somebody has asked for that.
    pub async fn step(&self, step: SyncStep) -> Result<(), Stop> {
        if step.reached.is_some() || !step.items.is_empty() {
            self.got_on.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        for item in &step.items {
            let integration = self.sync.integration.clone();
            metrics::counter!("tercel_sync_records_total", "integration" => integration, "outcome" => item.outcome)
                .increment(1);
        }
        let goes_on = patiently("A step of a sync", || self.app.store.step_sync(&self.sync, step.clone())).await?;
        if goes_on { Ok(()) } else { Err(Stop::Cancelled) }
    }
}

/// The service was reached and failed: at this record, or as it would at each.
pub fn may_be_its_own(error: &Error) -> bool {
    error.kind == Kind::Network && error.status.is_some()
}

/// Why an integration pushes nothing now, whichever connection it is.
pub fn obstacle(app: &App, entry: &Entry) -> Option<Error> {
    let id = &entry.integration.name;
    if let Some(obstacle) = entry.listed.obstacle() {
        return Some(Error::not_configured(obstacle));
    }
    if let Some(why) = locked(app, id) {
        return Some(Error::not_configured(why));
    }
    app.ceilings
        .paused
        .has(id)
        .then(|| Error::not_configured(format!("`{id}` is paused")).hint("The sync goes on when the integration does"))
}

/// Whether the tier in force does not have syncs of this integration.
pub fn locked(app: &App, integration: &str) -> Option<String> {
    let feature = format!("{integration}_sync");
    let needed = tier::features(&app.catalog()).remove(&feature)?;
    app.config.tier.refusal(&format!("`{feature}`"), &needed)
}

/// # Errors
/// `unsupported` when it pushes no records.
pub async fn ready(app: &App, entry: &Entry, connection: &str) -> Result<Ready, Error> {
    let id = &entry.integration.name;
    let unsupported = || Error::new(Kind::Unsupported, format!("`{id}` pushes no records"));
    let part = entry.integration.sync.clone().ok_or_else(unsupported)?;
    let broken =
        |error: tercel_store::Error| Error::new(Kind::Network, format!("Its settings cannot be read: {error}"));
    let stored = app.store.sync_settings_of(id, connection).await.map_err(broken)?;
    let settings = stored.map(|stored| Settings::read(&stored.definition)).transpose()?.unwrap_or_default();
    let collection = settings.collection.unwrap_or_else(|| part.collection.clone());
    Ok(Ready { part, mapping: settings.mapping, collection, rate: settings.rate })
}

async fn open(app: &Arc<App>, sync: &Sync) -> Result<(Ready, SyncPlace), Error> {
    let catalog = app.catalog();
    let missing = || Error::not_configured(format!("There is no integration `{}`", sync.integration));
    let entry = catalog.integrations.get(&sync.integration).ok_or_else(missing)?;
    if let Some(obstacle) = obstacle(app, entry) {
        return Err(obstacle);
    }
    if !entry.connections.contains_key(&sync.connection) {
        let message = format!("The connection `{}` of `{}` is gone", sync.connection, sync.integration);
        return Err(Error::new(Kind::NotFound, message));
    }
    if !entry.is_configured(&sync.connection) {
        let message = format!("The connection `{}` of `{}` is not configured", sync.connection, sync.integration);
        return Err(Error::not_configured(message));
    }
    let ready = ready(app, entry, &sync.connection).await?;
    if ready.collection != sync.collection {
        let (before, now) = (&sync.collection, &ready.collection);
        // Its mapping is for the records of that one.
        let message = format!("This sync is of `{before}`, and the connection is kept in step with `{now}` by now");
        return Err(Error::new(Kind::Unsupported, message).hint(format!(
            "Start a sync anew; for one of `{before}`, name it and its mapping first: PUT …/connections/{}/sync",
            sync.connection
        )));
    }
    Ok((ready, place(entry, &sync.connection)))
}

/// The settings that somebody gave and that are no secrets, and the account that the test named.
fn place(entry: &Entry, connection: &str) -> SyncPlace {
    let values = entry.values(connection);
    let given = entry.integration.fields.iter().filter(|field| !field.secret).filter_map(|field| {
        let value = values?.fields.get(&field.key).map(|value| value.trim())?;
        let is_given = !value.is_empty() && field.default.as_deref().map(str::trim) != Some(value);
        is_given.then(|| (field.key.clone(), value.into()))
    });
    let target = hash(&serde_json::Value::Object(given.collect()));
    SyncPlace { target, account: entry.healths.get(connection).and_then(|health| health.account.clone()) }
}

/// What a person found out about a record: that it is there, with its id if that is known, or that it is not.
pub async fn settle(
    app: &App,
    of: (&str, &str, &str),
    record: &str,
    there: Option<Option<String>>,
) -> tercel_store::Result<LedgerRow> {
    let all = app.store.whereabouts(of.2, record).await?.into_iter();
    let known = all.map(|place| (place.integration, place.connection, place.row));
    let known =
        known.filter(|(integration, connection, _)| (integration.as_str(), connection.as_str()) == (of.0, of.1));
    // What is there exactly is known of nothing but a creation: an update may have changed it or not.
    let sent = known.filter(|(_, _, row)| row.change == "create").filter_map(|(_, _, row)| row.sending).next();
    let sent = sent.and_then(|sent| serde_json::from_str(&sent).ok()).map(|sent: serde_json::Value| hash(&sent));
    app.store.settle_record(of, record, there.map(|remote| (remote, sent))).await
}

pub fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_wants_a_long_pause_gets_it() {
        let hours = |asked: Option<u64>| {
            let asked = asked.map(|hours| Duration::from_secs(hours * 3_600));
            pause(1, &Error::new(Kind::RateLimited, "later").retry_after(asked)).as_secs() / 3_600
        };
        assert_eq!([hours(None), hours(Some(7)), hours(Some(24)), hours(Some(99))], [0, 7, 24, 24]);
    }
}
