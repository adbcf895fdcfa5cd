//! Lets go what is old, a little at a time, while everything else goes on.

use crate::{app::App, attachments, ceilings::this_hour, config::Keep};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tercel_store::{Old, now};
use tokio::time::{Instant, sleep};

const DAY: Duration = Duration::from_secs(86_400);
/// Until then, what was spent can be asked for by the hour.
const HOURS_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Between two passes, at the most.
const PAUSE: Duration = Duration::from_secs(3600);
/// The writer is left alone for so many times as long as it was held.
const REST: u32 = 19;
/// What is committed so much later than its time says is not passed over.
const LATE: Duration = Duration::from_secs(60);
/// Others wait for the writer: this is not the moment.
const BUSY: Duration = Duration::from_millis(100);

/// Prunes until the server stops. A server that is held changes nothing.
pub async fn prune_all(app: Arc<App>) {
    for old in Old::ALL {
        metrics::counter!("tercel_pruned_rows_total", "what" => old.name()).increment(0);
    }
    metrics::counter!("tercel_pruned_rows_total", "what" => "usage").increment(0);
    let stopping = app.stopping.clone();
    tokio::select! {
        () = stopping.cancelled() => {}
        () = passes(&app) => {}
    }
}

async fn passes(app: &App) {
    app.hold.released().await;
    let pause = pause(&app.config.keep);
    loop {
        // Once a day from the beginning: what somebody had to deal with may be dealt with by now.
        let (begun, mut reached) = (Instant::now(), HashMap::new());
        measure(app).await;
        if let Err(error) = attachments::sweep(app).await {
            tracing::warn!("Files without a name could not be removed and are looked at later: {error}");
        }
        while begun.elapsed() < DAY {
            if let Err(error) = forget_files(app).await {
                tracing::warn!("Files that nobody has could not be removed and are looked at later: {error}");
            }
            for old in Old::ALL {
                let after = reached.entry(old).or_insert(0);
                if let Err(error) = prune(app, old, after).await {
                    tracing::warn!("What is old ({}) could not be removed and is looked at later: {error}", old.name());
                }
            }
            if let Err(error) = app.store.forget_earlier().await {
                tracing::warn!("Secrets that were replaced could not be removed and are looked at later: {error}");
            }
            if let Err(error) = close_accounts(app).await {
                tracing::warn!("Old accounts could not be closed and are looked at later: {error}");
            }
            sleep(pause).await;
        }
    }
}

/// Hours become days, and days end.
async fn close_accounts(app: &App) -> tercel_store::Result<()> {
    let ago = |kept: Duration| this_hour() - (kept.as_secs() / 3600) as i64;
    // The day that is not over is counted on.
    let folded = ago(HOURS_KEPT).min(this_hour() - 48);
    while app.store.fold_usage(folded).await?.more {
        sleep(BUSY).await;
    }
    let kept = app.config.keep.usage;
    if kept.is_zero() {
        return Ok(());
    }
    loop {
        let closed = app.store.drop_usage(ago(kept).min(this_hour() - 48)).await?;
        metrics::counter!("tercel_pruned_rows_total", "what" => "usage").increment(closed.rows);
        if !closed.more {
            return Ok(());
        }
        sleep(BUSY).await;
    }
}

async fn prune(app: &App, old: Old, after: &mut i64) -> tercel_store::Result<()> {
    let Some(kept) = kept(&app.config.keep, old) else { return Ok(()) };
    let before = now() - kept.as_micros() as i64;
    let mut upto = *after;
    loop {
        while app.store.writer_lag() > BUSY {
            sleep(Duration::from_secs(1)).await;
        }
        let pruned = app.store.prune(old, upto, before).await?;
        upto = upto.max(pruned.upto);
        if pruned.rows > 0 {
            metrics::counter!("tercel_pruned_rows_total", "what" => old.name()).increment(pruned.rows);
            metrics::histogram!("tercel_prune_seconds").record(pruned.held.as_secs_f64());
        }
        if !pruned.more {
            *after = (*after).max(upto.min(now() - LATE.as_micros() as i64));
            return Ok(());
        }
        sleep((pruned.held * REST).clamp(Duration::from_millis(10), Duration::from_secs(5))).await;
    }
}

async fn forget_files(app: &App) -> tercel_store::Result<()> {
    let gone = attachments::let_go(app).await?;
    metrics::counter!("tercel_pruned_rows_total", "what" => "attachments").increment(gone);
    Ok(())
}

/// `None`: for ever.
fn kept(keep: &Keep, old: Old) -> Option<Duration> {
    let kept = match old {
        Old::Bodies | Old::HookEvents => keep.bodies,
        Old::Steps => keep.steps,
        Old::Answers => keep.answers,
        Old::Egress => keep.egress,
        Old::Notices => keep.notices,
        // They say themselves how long they count.
        Old::Dedupe => return Some(Duration::ZERO),
    };
    (!kept.is_zero()).then_some(kept)
}

/// Who keeps something for a minute does not want to wait an hour for its end.
fn pause(keep: &Keep) -> Duration {
    let shortest = Old::ALL.into_iter().filter_map(|old| kept(keep, old)).filter(|kept| !kept.is_zero()).min();
    (shortest.unwrap_or(PAUSE) / 10).clamp(Duration::from_millis(500), PAUSE)
}

async fn measure(app: &App) {
    match app.store.table_sizes().await {
        Ok(sizes) => {
            for (table, bytes) in sizes {
                metrics::gauge!("tercel_table_bytes", "table" => table).set(bytes as f64);
            }
        }
        Err(error) => tracing::warn!("The sizes of the tables are not known: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_what_is_kept_for_the_shortest_time() {
        let day = |n| DAY * n;
        let keep = Keep {
            bodies: day(14),
            steps: day(90),
            answers: day(90),
            egress: day(30),
            notices: day(90),
            usage: day(400),
        };
        assert_eq!(pause(&keep), PAUSE);
        assert_eq!(pause(&Keep { egress: Duration::from_secs(60), ..keep }), Duration::from_secs(6));
        assert_eq!(kept(&Keep { steps: Duration::ZERO, ..keep }, Old::Steps), None);
    }
}
