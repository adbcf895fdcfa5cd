//! Which headers are kept with a delivery: all that a replay may need, and nothing that proves or opens something.

use crate::redact::Redactor;
use http::HeaderMap;
use std::{borrow::Cow, collections::BTreeMap};

/// Of the way that a request came, and not of the request. So are `proxy-…` and `x-forwarded-…`.
const WAY: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];
/// What stands in the names of headers that prove or open something.
const PROOFS: [&str; 9] = ["auth", "cookie", "credential", "jwt", "key", "password", "secret", "signature", "token"];
/// Keys that are names, and open nothing.
const NAMES: [&str; 2] = ["event-key", "idempotency-key"];

/// `proof` is the header by which the request was verified, whatever its name. Any other may say which event it is, as
/// services have no rule for that. A secret that is known is masked wherever it stands.
pub fn kept(redactor: &Redactor, headers: &HeaderMap, proof: Option<&str>) -> String {
    let is_proof = |name: &str| proof.is_some_and(|proof| proof.eq_ignore_ascii_case(name));
    let kept: BTreeMap<&str, Cow<'_, str>> = headers
        .iter()
        .filter(|(name, _)| describes(name.as_str()) && !is_proof(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), redactor.text(value.to_str().ok()?))))
        .collect();
    serde_json::to_string(&kept).unwrap_or_default()
}

fn describes(name: &str) -> bool {
    let is_of_the_way = WAY.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-");
    let proves = || PROOFS.iter().any(|word| name.contains(word)) && !NAMES.iter().any(|known| name.ends_with(known));
    !is_of_the_way && !proves()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use serde_json::{Value, json};
    use tercel_store::MASK;

    fn kept_of(proof: Option<&str>, pairs: &[(&'static str, &'static str)]) -> Value {
        let redactor = Redactor::new(["the-known-secret".into()]);
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        serde_json::from_str(&kept(&redactor, &pairs.iter().map(pair).collect(), proof)).unwrap()
    }

    #[test]
    fn what_says_which_event_it_is_is_kept_under_any_name() {
        let pairs = [
            ("content-type", "application/json"),
            ("idempotency-key", "1"),
            ("linear-event", "Issue"),
            ("sentry-hook-resource", "issue"),
            ("user-agent", "Forge/1"),
            ("webhook-id", "m1"),
            ("x-event-key", "repo:push"),
            ("x-forge-event", "push"),
        ];
        let expected: Value = pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        assert_eq!(kept_of(None, &pairs), expected);
    }

    #[test]
    fn what_proves_a_request_or_opens_something_is_not_kept() {
        let pairs = [
            ("authorization", "Bearer a"),
            ("cookie", "a"),
            ("proxy-authorization", "a"),
            ("stripe-signature", "a"),
            ("webhook-signature", "a"),
            ("x-api-key", "a"),
            ("x-forwarded-access-token", "a"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-gitlab-token", "a"),
            ("x-hub-signature-256", "a"),
            ("x-oidc-jwt-assertion", "a"),
            ("x-proof", "a"),
        ];
        assert_eq!(kept_of(Some("X-Proof"), &pairs), json!({}));
        assert_eq!(kept_of(None, &[("x-copy", "is the-known-secret")]), json!({"x-copy": format!("is {MASK}")}));
    }
}
