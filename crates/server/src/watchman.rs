//! Says that the server is there, and afterwards when it was not; and whose credentials are refused.

use crate::{
    api::time::rfc3339,
    app::App,
    clock::{Clock, SET_BACK, Wall},
    connection,
    consent::{Place, over},
    gaps,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tercel_sdk::{Error, Kind};
use tercel_store::{DownTime, NewNotice, now};

/// How exactly an end without a word is known.
const BEAT: Duration = Duration::from_secs(30);
/// Microseconds without a server that are worth telling.
const GAP: i64 = 300_000_000;
/// Microseconds that the wall's clock may gain before the machine counts as having slept.
const ASLEEP: i64 = 60_000_000;
const CREDENTIALS: &str = "credentials:";
const DOWN: &str = "downtime";

/// Connections whose credentials are refused.
#[derive(Default)]
pub struct Refused(Mutex<HashSet<String>>);

impl Refused {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Leaves a sign now and then until the server stops, and notices when the machine slept.
pub async fn watch(app: Arc<App>) {
    watch_by(app, Arc::new(now), BEAT).await;
}

/// The same by a given clock, so often.
pub async fn watch_by(app: Arc<App>, wall: Wall, beat: Duration) {
    let mut clock = Clock::of(wall);
    loop {
        let before = clock.now();
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(beat) => app.store.is_here(),
        }
        let jump = clock.jump();
        if jump < -SET_BACK {
            pull_back(&app).await;
        }
        if jump > ASLEEP {
            let slept = DownTime { from: before, to: clock.now(), orderly: true };
            if slept.to - slept.from > GAP {
                app.raise(not_there(slept, "The machine slept, or its clock was put forward")).await;
            }
            tokio::spawn(gaps::after(app.clone(), Some(slept)));
        }
    }
}

/// Makes due what would wait until a clock that was put back is as late again.
pub async fn pull_back(app: &App) {
    match app.store.pull_back().await {
        Ok(0) => {}
        Ok(count) => tracing::warn!("The clock was put back: {count} runs and answers do not wait for its old time"),
        Err(error) => tracing::error!("What waits for a time that was put back cannot be made due: {error}"),
    }
}

/// At the start: how long there was no server, and whose credentials were refused when it stopped.
pub async fn begin(app: &App) -> tercel_store::Result<()> {
    read_anew(app).await?;
    let Some(down) = app.store.down_time() else { return Ok(()) };
    match told(down) {
        Some(notice) => _ = app.raise(notice).await,
        // It stayed until it was told to stop: what made it end before is gone.
        None => _ = app.store.close_notice(DOWN).await?,
    }
    Ok(())
}

/// Whose credentials are refused, as people were told.
pub async fn read_anew(app: &App) -> tercel_store::Result<()> {
    let open = app.store.notices(Some(true), None, 1000).await?;
    let refused = open.iter().filter_map(|notice| Some(notice.key.strip_prefix(CREDENTIALS)?.to_owned()));
    *app.refused.lock() = refused.collect();
    Ok(())
}

/// A long gap is a notice of its own, until somebody has looked what was missed. Short ones, after an end without a word,
/// are one.
fn told(down: DownTime) -> Option<NewNotice> {
    let is_long = down.to - down.from > GAP;
    if down.orderly && !is_long {
        return None;
    }
    let why = if down.orderly { "It was told to stop" } else { "It ended without being told to" };
    let notice = not_there(down, why);
    Some(match is_long {
        true => notice,
        false => NewNotice { key: DOWN.into(), ..notice },
    })
}

fn not_there(down: DownTime, why: &str) -> NewNotice {
    let (from, to) = (rfc3339(down.from), rfc3339(down.to));
    NewNotice {
        key: format!("{DOWN}:{from}"),
        severity: "warning",
        title: "The server was not running".into(),
        detail: format!("From {from} to {to}. {why}"),
        repair: Some(
            "What services sent meanwhile may be missing here: let them deliver it again. The log says why it ended"
                .into(),
        ),
    }
}

/// Whether people were told that the credentials of an integration are refused.
pub fn is_refused(app: &App, integration: &str) -> bool {
    app.refused.lock().contains(integration)
}

/// What was told of a connection that is gone is over.
pub async fn forget(app: &App, integration: &str, connection: &str) {
    let name = connection::name::of(integration, connection);
    app.refused.lock().remove(&name);
    app.close_notice(&format!("{CREDENTIALS}{name}")).await;
}

/// What a call in use says about the credentials; when they are refused, the connection is looked at.
pub async fn saw_in_use<T>(app: &Arc<App>, integration: &str, connection: &str, outcome: &Result<T, Error>) {
    saw(app, integration, connection, outcome).await;
    if outcome.as_ref().is_err_and(|error| error.kind == Kind::Auth) {
        app.retests.doubt(integration, connection);
    }
}

/// What a call to a service says about the credentials. Answers whether they were refused before and are good now.
pub async fn saw<T>(app: &Arc<App>, integration: &str, connection: &str, outcome: &Result<T, Error>) -> bool {
    let name = connection::name::of(integration, connection);
    match outcome {
        // Of a consent that is over people were told, and no other value would mend it.
        Err(error) if error.kind == Kind::Auth && over::of(app, &Place::new(integration, connection)).is_some() => {
            false
        }
        Err(error) if error.kind == Kind::Auth => {
            app.refused.lock().insert(name.clone());
            app.raise(NewNotice {
                key: format!("{CREDENTIALS}{name}"),
                severity: "error",
                title: format!("The credentials of `{name}` are refused"),
                detail: error.message.clone(),
                repair: Some(format!(
                    "Give `{name}` new ones in its settings; the test of the connection closes this, and answers that wait \
                     are sent then"
                )),
            })
            .await;
            false
        }
        Err(error) if error.kind != Kind::NotConfigured => false,
        _ => {
            let was_refused = app.refused.lock().remove(&name);
            if was_refused {
                app.close_notice(&format!("{CREDENTIALS}{name}")).await;
            }
            was_refused && outcome.is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_word_and_a_long_gap_are_told_and_a_restart_is_not() {
        let key = |seconds: i64, orderly| {
            told(DownTime { from: 0, to: seconds * 1_000_000, orderly }).map(|notice| (notice.key, notice.detail))
        };
        assert_eq!(key(299, true), None);
        let short = "From 1970-01-01T00:00:00.000000Z to 1970-01-01T00:00:02.000000Z. \
                     It ended without being told to";
        assert_eq!(key(2, false), Some(("downtime".into(), short.into())));
        let (key, detail) = key(301, true).unwrap();
        assert_eq!(key, "downtime:1970-01-01T00:00:00.000000Z");
        assert!(detail.ends_with("It was told to stop"), "{detail}");
    }
}
