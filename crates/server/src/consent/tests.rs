//! When a token counts, by our clock.

use super::*;

const SECOND: i64 = 1_000_000;

fn consent(life: Option<i64>) -> Consent {
    Consent {
        access: "a".into(),
        refresh: Some("r".into()),
        got_at: 1_000 * SECOND,
        life: life.map(|life| life * SECOND),
        agreed_at: 0,
        asked: vec!["read".into()],
        scopes: vec!["read".into()],
        account: None,
        account_id: None,
        client: String::new(),
        over: None,
    }
}

#[test]
fn a_token_is_renewed_before_its_end_and_when_the_clock_was_set() {
    let check = |life, at: i64| {
        let consent = consent(life);
        (consent.is_fresh(at * SECOND), consent.may_count(at * SECOND))
    };
    assert_eq!(check(Some(3_600), 1_000), (true, true));
    assert_eq!(check(Some(3_600), 4_539), (true, true));
    assert_eq!(check(Some(3_600), 4_540), (false, true), "a minute before its end");
    assert_eq!(check(Some(3_600), 4_600), (false, false));
    assert_eq!(check(Some(10), 1_007), (true, true));
    assert_eq!(check(Some(10), 1_008), (false, true), "a fifth of a short life");
    assert_eq!(check(Some(0), 1_000), (false, false));
    assert_eq!(check(Some(3_600), 999), (false, false), "the clock was put back");
    assert_eq!(check(Some(3_600), i64::MAX / SECOND), (false, false), "the clock was put forward");
    assert_eq!(check(None, 1), (true, true), "until the service says no");
}

#[test]
fn a_renewal_keeps_what_the_service_does_not_say_again() {
    let got = |refresh: Option<&str>, scope: Option<&str>| Got {
        secret: "b".into(),
        life: None,
        refresh: refresh.map(str::to_owned),
        scope: scope.map(str::to_owned),
    };
    let kept = consent(Some(1)).renewed(got(None, None));
    assert_eq!((kept.access.as_str(), kept.refresh.as_deref(), kept.life), ("b", Some("r"), None));
    assert_eq!(kept.scopes, ["read"]);
    let rotated = consent(Some(1)).renewed(got(Some("r2"), Some("read write")));
    assert_eq!((rotated.refresh.as_deref(), rotated.scopes), (Some("r2"), vec!["read".into(), "write".to_owned()]));
    assert_eq!(rotated.agreed_at, 0);
}
