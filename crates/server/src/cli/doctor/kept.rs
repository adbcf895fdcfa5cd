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
    if !there_is_data {
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
            "{}; {} free for new rows\nKept: bodies {}, steps {}, outbox {}, egress {}, notices {}, usage {}",
            largest.join(", "),
            mega(inspection.free),
            days(keep.bodies),
            days(keep.steps),
            days(keep.answers),
            days(keep.egress),
            days(keep.notices),
            days(keep.usage)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Level, config::Environment};

    #[test]
    fn a_backup_that_is_missing_or_old_is_found() {
        let place = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.set("TERCEL_DATA_DIR", place.path().to_string_lossy());
        // Whatever is stored in.
        environment.set("DATABASE_URL", "postgres://localhost/agents");
        let config = Config::from(environment).unwrap();
        let look = || backup(&config, true).unwrap();
        assert!(backup(&config, false).is_none(), "there is nothing to keep");
        assert_eq!((look().level, look().detail.as_str()), (Level::Warn, "None was made yet"));
        let made = |days: i64| {
            let at = now() - days * 86_400_000_000;
            let note = serde_json::json!({"at": at, "bytes": 5000, "secrets": false}).to_string();
            std::fs::write(place.path().join("last-backup.json"), note).unwrap();
        };
        made(2);
        assert_eq!(
            (look().level, look().detail.as_str()),
            (Level::Ok, "The last one is 2 days old (5 kB, without secrets)")
        );
        made(8);
        assert_eq!(look().level, Level::Warn);
    }
}
