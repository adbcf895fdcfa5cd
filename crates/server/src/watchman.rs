//! Says that the server is there, and afterwards when it was not; and whose credentials are refused.

use crate::{api::time::rfc3339, app::App, catalog::DEFAULT};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tercel_sdk::{Error, Kind};
use tercel_store::{DownTime, NewNotice};

/// How exactly an end without a word is known.
const BEAT: Duration = Duration::from_secs(30);
/// Microseconds without a server that are worth telling.
const GAP: i64 = 300_000_000;
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

/// Leaves a sign now and then until the server stops.
pub async fn watch(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(BEAT) => app.store.is_here(),
        }
    }
}

/// At the start: how long there was no server, and whose credentials were refused when it stopped.
pub async fn begin(app: &App) -> tercel_store::Result<()> {
    for notice in app.store.notices(true, None, 1000).await? {
        if let Some(connection) = notice.key.strip_prefix(CREDENTIALS) {
            app.refused.lock().insert(connection.to_owned());
        }
    }
    let Some(down) = app.store.down_time() else { return Ok(()) };
    match told(down) {
        Some(notice) => _ = app.raise(notice).await,
        // It stayed until it was told to stop: what made it end before is gone.
        None => _ = app.store.close_notice(DOWN).await?,
    }
    Ok(())
}

/// A long gap is a notice of its own, until somebody has looked what was missed. Short ones, after an end without a word,
/// are one.
fn told(down: DownTime) -> Option<NewNotice> {
    let is_long = down.to - down.from > GAP;
    if down.orderly && !is_long {
        return None;
    }
    let (from, to) = (rfc3339(down.from), rfc3339(down.to));
    let how = if down.orderly { "was told to stop" } else { "ended without being told to" };
    Some(NewNotice {
        key: if is_long { format!("{DOWN}:{from}") } else { DOWN.into() },
        severity: "warning",
        title: "The server was not running".into(),
        detail: format!("From {from} to {to}. It {how}"),
        repair: Some(
            "What services sent meanwhile may be missing here: let them deliver it again. The log says why it ended"
                .into(),
        ),
    })
}

/// What a call to a service says about the credentials.
pub async fn saw<T>(app: &App, integration: &str, connection: &str, outcome: &Result<T, Error>) {
    let name = match connection {
        DEFAULT => integration.to_owned(),
        other => format!("{integration}/{other}"),
    };
    match outcome {
        Err(error) if error.kind == Kind::Auth => {
            if !app.refused.lock().insert(name.clone()) {
                return;
            }
            app.raise(NewNotice {
                key: format!("{CREDENTIALS}{name}"),
                severity: "error",
                title: format!("The credentials of `{name}` are refused"),
                detail: error.message.clone(),
                repair: Some(format!("Give `{name}` new ones in its settings; the test of the connection closes this")),
            })
            .await;
        }
        Err(error) if error.kind != Kind::NotConfigured => {}
        _ => {
            if app.refused.lock().remove(&name) {
                app.close_notice(&format!("{CREDENTIALS}{name}")).await;
            }
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
