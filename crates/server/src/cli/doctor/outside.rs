//! Addresses outside that are told what happens: whether they hear it.

use super::{Finding, configured::span};
use crate::{cli::client::Client, config::Config};
use serde_json::Value;
use tercel_store::Listener;
use url::Url;

/// Notices that have a row of their own here.
pub const OWN: &str = "hook:";

/// `now` in microseconds; `works` when a server runs that is not held.
pub fn hooks(listeners: &[Listener], now: i64, works: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = listeners.iter().filter_map(|one| trouble(one, now, works)).collect();
    let told = listeners.iter().filter(|one| one.enabled && one.failing_since.is_none()).count();
    if told > 0 {
        findings.push(Finding::ok("hooks", format!("What is sent to {told} of {} gets through", listeners.len())));
    }
    findings
}

fn trouble(one: &Listener, now: i64, works: bool) -> Option<Finding> {
    // The rest of the address may be a secret.
    let host = one.url.parse::<Url>().ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let (id, last) = (one.id, one.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default());
    if let (Some(why), false) = (&one.stopped, one.enabled) {
        let repair =
            format!("Mend the receiver, then enable it (PUT /api/v1/hooks/{id}); POST …/replay sends what it missed");
        return Some(Finding::warn("hooks", format!("The hook to `{host}` is disabled: {why}{last}"), repair));
    }
    let since = one.failing_since.filter(|_| one.enabled)?;
    let again = match (works, one.next_at - now) {
        (false, _) => "it is tried when the server works".into(),
        (true, ..=0) => "it is tried now".into(),
        (true, wait) => format!("it is tried in {}", span(wait)),
    };
    let detail = format!("Nothing has got through to `{host}` for {}{last}; {again}", span(now - since));
    let repair = format!("Mend the receiver; POST /api/v1/hooks/{id}/test tries it at once");
    Some(Finding::warn("hooks", detail, repair))
}

/// What the running server says of the addresses in the environment.
pub async fn urls(config: &Config, client: Option<&Client>) -> Vec<Finding> {
    let count = config.hook_webhook_urls.len();
    if count == 0 {
        return Vec::new();
    }
    let figures = match client {
        Some(client) => client.get("/metrics").await.unwrap_or_default(),
        None => Value::Null,
    };
    told(count, figures.as_str().unwrap_or_default())
}

fn told(count: usize, figures: &str) -> Vec<Finding> {
    let failing = figures.lines().filter_map(|line| {
        let labels = line.strip_prefix("tercel_hook_webhook_failing{host=\"")?;
        labels.strip_suffix("\"} 1").map(str::to_owned)
    });
    let mut findings: Vec<Finding> = failing
        .map(|host| {
            let detail = format!("`{host}`, which HOOK_WEBHOOK_URLS names, did not take what was sent to it last");
            Finding::warn("hooks", detail, "Mend the receiver, or take it out; what it missed is not sent again")
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok("hooks", format!("HOOK_WEBHOOK_URLS names {count}; none is known to fail")));
    }
    findings
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

    fn listener() -> Listener {
        Listener {
            id: Uuid::nil(),
            url: "https://there.example/x?key=hush".into(),
            enabled: true,
            ..Listener::default()
        }
    }

    #[test]
    fn one_that_does_not_hear_is_found_with_why_and_when_it_is_tried() {
        let away = Listener {
            failing_since: Some(MINUTE),
            next_at: 8 * MINUTE,
            error: Some("The address answered 500".into()),
            ..listener()
        };
        let stopped = Listener { enabled: false, stopped: Some("It wants no more".into()), ..listener() };
        let by_hand = Listener { enabled: false, failing_since: Some(MINUTE), ..listener() };
        let all = [listener(), away, stopped, by_hand];
        let expected = [
            (
                Level::Warn,
                "Nothing has got through to `there.example` for 5 minutes (The address answered 500); it is tried in 2 minutes",
            ),
            (Level::Warn, "The hook to `there.example` is disabled: It wants no more"),
            (Level::Ok, "What is sent to 1 of 4 gets through"),
        ];
        assert_eq!(said(&hooks(&all, 6 * MINUTE, true)), expected);
        assert!(hooks(&all[1..2], 9 * MINUTE, true)[0].detail.ends_with("it is tried now"));
        assert!(hooks(&all[1..2], 6 * MINUTE, false)[0].detail.ends_with("when the server works"));
        assert_eq!(hooks(&[], 0, true), []);
    }

    #[test]
    fn one_of_the_environment_that_did_not_take_the_last_event_is_found() {
        let figures =
            "tercel_hook_webhook_failing{host=\"a.example\"} 0\ntercel_hook_webhook_failing{host=\"b.example\"} 1\n";
        assert_eq!(said(&told(2, figures)).len(), 1);
        assert!(told(2, figures)[0].detail.contains("`b.example`"));
        assert_eq!(told(2, "")[0].level, Level::Ok);
    }
}
