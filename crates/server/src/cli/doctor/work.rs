//! What goes on by itself: schedules, polls, prices, the database's clock.

use super::{Finding, configured::span};
use std::time::Duration;
use tercel_store::{Notice, Overview, Planned, Poll};

/// A schedule that is so late was not only busy.
const LATE: i64 = 60_000_000;
/// Clocks that are so far apart disagree about signatures and windows.
const APART: i64 = 2_000_000;
/// Notices that have a row of their own here.
pub const OWN: [&str; 3] = ["poll:", "unpriced:", super::outside::OWN];

/// `now` in microseconds; `works` when a server runs that is not held.
pub fn schedules(planned: &[Planned], now: i64, works: bool) -> Vec<Finding> {
    let repair = "GET /api/v1/schedules, and its history, say more";
    let mut findings = Vec::new();
    for one in planned {
        let Planned { name, next_at, last_run } = one;
        if let Some(due) = next_at.filter(|due| works && now - due > LATE) {
            let detail = format!("`{name}` is overdue: its time came {} ago", span(now - due));
            findings.push(Finding::warn("schedule", detail, "The log of the server says why it did not fire"));
        }
        match last_run.as_deref() {
            Some("failed") => {
                findings.push(Finding::warn("schedule", format!("The last run of `{name}` failed"), repair))
            }
            Some("waiting") => {
                let detail =
                    format!("The last run of `{name}` waits for somebody, and its times are skipped meanwhile");
                findings.push(Finding::warn("schedule", detail, repair));
            }
            _ => {}
        }
    }
    if findings.is_empty()
        && let Some((one, at)) = planned.iter().find_map(|one| Some((one, one.next_at?)))
    {
        let when = if at > now { format!("in {}", span(at - now)) } else { "now".into() };
        let detail = format!("{} are active; the next is `{}`, {when}", planned.len(), one.name);
        findings.push(Finding::ok("schedule", detail));
    }
    findings
}

pub fn polls(polls: &[Poll], notices: &[Notice], now: i64) -> Vec<Finding> {
    let failing = notices.iter().filter(|notice| notice.key.starts_with(OWN[0]));
    let mut findings: Vec<Finding> = failing
        .map(|notice| {
            let repair = notice.repair.clone().unwrap_or_else(|| "It is asked again, less and less often".into());
            Finding::warn("poll", format!("{}: {}", notice.title, notice.detail), repair)
        })
        .collect();
    for poll in polls {
        let Poll { integration, connection, name, polled_at, .. } = poll;
        if !notices.iter().any(|notice| notice.key == format!("{}{integration}:{connection}:{name}", OWN[0])) {
            let detail = format!("{integration}/{connection} `{name}`: news came last {} ago", span(now - polled_at));
            findings.push(Finding::ok("poll", detail));
        }
    }
    findings
}

/// Models that were used lately and whose calls count as nothing.
pub fn prices(overview: &Overview) -> Option<Finding> {
    if overview.models.is_empty() {
        return None;
    }
    let unpriced: Vec<&str> =
        overview.models.iter().map(String::as_str).filter(|model| !is_priced(model, &overview.priced)).collect();
    let listed = format!("Without a price: {}. Their calls are counted as 0", unpriced.join(", "));
    Some(match (unpriced.is_empty(), overview.counts_money) {
        (true, _) => Finding::ok("prices", "Every model that was used lately has a price"),
        (false, true) => {
            let repair = "PUT /api/v1/usage/prices with their prices; 0 for one that costs nothing";
            Finding::warn("prices", format!("A budget counts money. {listed}"), repair)
        }
        (false, false) => Finding::ok("prices", listed),
    })
}

/// Under any of the names that a model may have a price under.
fn is_priced(model: &str, priced: &[String]) -> bool {
    let plain = |name: &str| name.split_once('/').map_or(name, |(_, name)| name).to_owned();
    priced.iter().any(|known| known == "*" || known == model || *known == plain(model) || plain(known) == model)
}

pub fn paused(name: &str) -> Finding {
    let detail = format!("`{name}` is paused: what it sends is stored and not run");
    Finding::warn("paused", detail, format!("`tercel integrations resume {name}` lets it go on"))
}

/// The database's clock against ours.
pub fn clock(ahead: Option<i64>) -> Option<Finding> {
    let ahead = ahead?;
    let apart = Duration::from_micros(ahead.unsigned_abs()).as_secs_f64();
    Some(match ahead.abs() > APART {
        true => {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            let detail = format!("The database's is {apart:.1} seconds {way} ours");
            Finding::warn("clock", detail, "Let both machines follow the same time server")
        }
        false => Finding::ok("clock", format!("The database's is {apart:.1} seconds from ours")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use tercel_store::Uuid;

    const MINUTE: i64 = 60_000_000;

    fn said(findings: &[Finding]) -> Vec<(Level, &str)> {
        findings.iter().map(|finding| (finding.level, finding.detail.as_str())).collect()
    }

    fn planned(name: &str, next_at: i64, last_run: Option<&str>) -> Planned {
        Planned { name: name.into(), next_at: Some(next_at), last_run: last_run.map(str::to_owned) }
    }

    fn notice(key: &str) -> Notice {
        Notice {
            id: Uuid::nil(),
            key: key.into(),
            severity: "error".into(),
            title: "It cannot be asked".into(),
            detail: "It says no".into(),
            repair: None,
            count: 1,
            first_at: 0,
            last_at: 0,
            closed_at: None,
        }
    }

    #[test]
    fn a_schedule_that_is_overdue_or_fails_is_found_and_else_the_next_time_is_told() {
        let all = [planned("A", 5 * MINUTE, Some("complete")), planned("B", 9 * MINUTE, None)];
        assert_eq!(said(&schedules(&all, 0, true)), [(Level::Ok, "2 are active; the next is `A`, in 5 minutes")]);
        let overdue = [(Level::Warn, "`A` is overdue: its time came 2 minutes ago")];
        assert_eq!(said(&schedules(&all, 7 * MINUTE, true)), overdue);
        let none = [(Level::Ok, "2 are active; the next is `A`, now")];
        assert_eq!(said(&schedules(&all, 7 * MINUTE, false)), none, "nobody is there to start it");
        let failed = [planned("A", MINUTE, Some("failed")), planned("B", MINUTE, Some("waiting"))];
        let expected = [
            (Level::Warn, "The last run of `A` failed"),
            (Level::Warn, "The last run of `B` waits for somebody, and its times are skipped meanwhile"),
        ];
        assert_eq!(said(&schedules(&failed, 0, true)), expected);
        assert_eq!(said(&schedules(&[], 0, true)), []);
    }

    #[test]
    fn a_poll_that_fails_is_found_and_one_that_brings_news_is_told() {
        let poll = |name: &str| Poll {
            integration: "forge".into(),
            connection: "default".into(),
            name: name.into(),
            bookmark: "{}".into(),
            polled_at: MINUTE,
        };
        let notices = [notice("poll:forge:default:news"), notice("disk")];
        let expected = [
            (Level::Warn, "It cannot be asked: It says no"),
            (Level::Ok, "forge/default `issues`: news came last 2 minutes ago"),
        ];
        assert_eq!(said(&polls(&[poll("issues"), poll("news")], &notices, 3 * MINUTE)), expected);
    }

    #[test]
    fn a_model_without_a_price_is_found_where_money_is_counted() {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let look = |models: &[&str], priced: &[&str], counts_money| {
            let overview = Overview { models: list(models), priced: list(priced), counts_money, ..Overview::default() };
            prices(&overview).map(|finding| (finding.level, finding.detail))
        };
        assert_eq!(look(&[], &[], true), None);
        let models = ["there/m", "m", "n"];
        let (level, detail) = look(&models, &["m"], true).unwrap();
        assert_eq!((level, detail.contains("Without a price: n.")), (Level::Warn, true), "{detail}");
        assert_eq!(look(&models, &["there/m", "n"], true).unwrap().0, Level::Ok);
        assert_eq!(look(&models, &["*"], true).unwrap().0, Level::Ok);
        let (level, detail) = look(&models, &[], false).unwrap();
        assert_eq!((level, detail.contains("there/m, m, n")), (Level::Ok, true), "{detail}");
    }

    #[test]
    fn a_clock_of_the_database_that_goes_another_way_is_found() {
        assert!(clock(None).is_none());
        assert_eq!(clock(Some(-500_000)).unwrap().level, Level::Ok);
        let behind = clock(Some(-90_000_000)).unwrap();
        assert_eq!((behind.level, behind.detail.as_str()), (Level::Warn, "The database's is 90.0 seconds behind ours"));
    }
}
