//! Asking, as often as the service wants it, whether somebody has typed the code.

use super::{
    Ended, Place,
    asking::{self, Asking, Way},
    complete,
};
use crate::{app::App, succession, tokens::ask::No};
use std::{sync::Arc, time::Duration};
use tercel_store::now;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Seconds by which a service makes us slower.
const SLOWER: u64 = 5;
/// Between two questions at the most, while the service cannot be reached.
const LONGEST: u64 = 60;
const EXPIRED: &str = "expired";
const UNTYPED: &str = "The code was not typed in time";

/// Until somebody has agreed or not, began anew, or the code is over.
pub async fn follow(app: &Arc<App>, place: &Place, asking: Arc<Asking>) {
    let Way::Device { device_code, interval, .. } = &asking.way else { return };
    let mut interval = *interval;
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(interval)) => {}
        }
        succession::is_ours(app).await;
        let open = place.values(app).and_then(|values| values.asking);
        let Some(asking) = open.filter(|open| asking.is_open_as(open)) else { return };
        if asking.ends_at <= now() {
            return end(app, place, &asking, EXPIRED, UNTYPED).await;
        }
        let form = vec![("grant_type", GRANT.to_owned()), ("device_code", device_code.clone())];
        let no = match complete::exchange(app, place, &asking, form).await {
            Ok(Ended::Agreed(_) | Ended::Failed(_) | Ended::Unreached(_)) => return,
            Err(no) => no,
        };
        match verdict(&no, interval) {
            Verdict::Again(pause) => interval = pause,
            Verdict::Over(code, message) => return end(app, place, &asking, code, &message).await,
        }
    }
}

enum Verdict {
    /// After so many seconds.
    Again(u64),
    Over(&'static str, String),
}

fn verdict(no: &No, interval: u64) -> Verdict {
    match no.code.as_deref() {
        Some("authorization_pending") => Verdict::Again(interval),
        Some("slow_down") => Verdict::Again(interval + SLOWER),
        Some("expired_token") => Verdict::Over(EXPIRED, UNTYPED.into()),
        _ if no.may_pass() => Verdict::Again((interval * 2).min(LONGEST)),
        _ => Verdict::Over(no.error.kind.as_str(), no.error.message.clone()),
    }
}

async fn end(app: &Arc<App>, place: &Place, asking: &Asking, code: &str, message: &str) {
    if let Err(error) = asking::end(app, place, asking, code, message).await {
        tracing::error!("That nobody agreed could not be stored: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercel_sdk::{Error, Kind};

    #[test]
    fn a_service_says_how_often_it_wants_to_be_asked_and_when_no_more() {
        let check = |code: Option<&str>, kind| {
            let no = No { code: code.map(str::to_owned), error: Error::new(kind, "no") };
            match verdict(&no, 5) {
                Verdict::Again(pause) => pause.to_string(),
                Verdict::Over(code, _) => code.to_owned(),
            }
        };
        assert_eq!(check(Some("authorization_pending"), Kind::Schema), "5");
        assert_eq!(check(Some("slow_down"), Kind::Schema), "10");
        assert_eq!(check(None, Kind::Network), "10");
        assert_eq!(check(None, Kind::RateLimited), "10");
        assert_eq!(check(Some("expired_token"), Kind::Schema), EXPIRED);
        assert_eq!(check(Some("access_denied"), Kind::Forbidden), "forbidden");
        assert_eq!(check(Some("invalid_client"), Kind::Auth), "auth");
        assert_eq!(check(None, Kind::Schema), "schema");
    }
}
