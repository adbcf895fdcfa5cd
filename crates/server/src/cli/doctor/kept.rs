//! What is kept: backups, what waits in a copy, what takes how much room.

use super::{Finding, configured::span};
use crate::{backup, config::Config, hold};
use tercel_store::{Inspection, now};

/// A backup that is older than this is worth a word.
const OLD: i64 = 7 * 86_400_000_000;
/// Tables that are named.
const NAMED: usize = 4;

pub fn held(config: &Config) -> Option<Finding> {
    let held = hold::look(&config.data_dir)?;
    let detail = format!("{}. Runs and answers have been waiting for {}", held.reason, span(now() - held.since));
    Some(Finding::warn("held", detail, "`tercel resume` shows what would be sent, and asks"))
}

pub fn backup(config: &Config, there_is_data: bool) -> Option<Finding> {
    if config.database_url.is_some() || !there_is_data {
        return None;
    }
    let repair = "`tercel backup <file>` makes one while the server runs";
    Some(match backup::last(&config.data_dir) {
        None => Finding::warn("backup", "None was made yet", repair),
        Some(last) => {
            let secrets = if last.secrets { "" } else { ", without secrets" };
            let detail = format!("The last one is {} old ({} kB{secrets})", span(now() - last.at), last.bytes / 1000);
            match now() - last.at > OLD {
                true => Finding::warn("backup", detail, repair),
                false => Finding::ok("backup", detail),
            }
        }
    })
}

/// The largest tables, and for how long their rows are kept.
pub fn sizes(config: &Config, inspection: Option<&Inspection>) -> Option<Finding> {
    let inspection = inspection?;
    let mega = |bytes: i64| format!("{:.1} MB", bytes as f64 / 1e6);
    let largest: Vec<String> =
        inspection.tables.iter().take(NAMED).map(|(table, bytes)| format!("{table} {}", mega(*bytes))).collect();
    let keep = &config.keep;
    let days = |kept: std::time::Duration| match kept.as_secs() / 86_400 {
        _ if kept.is_zero() => "for ever".into(),
        0 => "less than a day".into(),
        days => format!("{days} days"),
    };
    Some(Finding::ok(
        "size",
        format!(
            "{}; {} free for new rows\nKept: bodies {}, steps {}, outbox {}, egress {}, notices {}",
            largest.join(", "),
            mega(inspection.free),
            days(keep.bodies),
            days(keep.steps),
            days(keep.answers),
            days(keep.egress),
            days(keep.notices)
        ),
    ))
}
