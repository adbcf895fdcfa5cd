//! What a failing status of GitHub means, and what to do about it.

use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tercel_sdk::{Error, Kind, Result, http::Response, text};

pub fn check(response: Response, now: SystemTime) -> Result<Response> {
    if response.status.is_success() {
        return Ok(response);
    }
    let status = response.status.as_u16();
    let said = said(&response);
    let error = |kind, hint: String| {
        Err(Error::new(kind, format!("GitHub answered {status}: {said}")).status(status).hint(hint))
    };
    match status {
        401 => error(Kind::Auth, "Create a new token at github.com/settings/tokens and set it as GITHUB_TOKEN".into()),
        403 | 429 if let Some(wait) = rate_limit(&response, &said, now) => {
            let who = if response.header("x-ratelimit-limit") == Some("60") { ": set GITHUB_TOKEN" } else { "" };
            error(Kind::RateLimited, format!("The rate limit is used up{who}")).map_err(|e| e.retry_after(Some(wait)))
        }
        403 if said.contains("locked") => error(
            Kind::Forbidden,
            "The conversation is locked: unlock it, or give the token's owner write access".into(),
        ),
        403 => error(Kind::Forbidden, permission_hint(&response)),
        404 => error(Kind::NotFound, "It does not exist, or the token cannot see it".into()),
        410 => error(Kind::NotFound, "It was deleted, or issues are switched off in this repository".into()),
        301 | 302 | 307 | 308 => error(Kind::NotFound, "The repository or issue has moved: use its new name".into()),
        422 => error(Kind::Schema, "GitHub understood the request and finds its content wrong".into()),
        _ => response.ok(),
    }
}

/// How long to wait, when the answer is about a rate limit at all.
fn rate_limit(response: &Response, said: &str, now: SystemTime) -> Option<Duration> {
    // GitHub asks for at least a minute where it names no time.
    const UNNAMED: Duration = Duration::from_secs(60);
    if let Some(wait) = response.retry_after() {
        return Some(wait);
    }
    if response.header("x-ratelimit-remaining") == Some("0") {
        return Some(response.header("x-ratelimit-reset").and_then(|reset| until(reset, now)).unwrap_or(UNNAMED));
    }
    let limited = response.status.as_u16() == 429 || said.to_lowercase().contains("rate limit");
    limited.then_some(UNNAMED)
}

/// The time from now to a second of the Unix clock, and a second more because theirs may be ahead.
fn until(reset: &str, now: SystemTime) -> Option<Duration> {
    let reset = UNIX_EPOCH.checked_add(Duration::from_secs(reset.trim().parse().ok()?))?;
    let wait = reset.duration_since(now).unwrap_or_default() + Duration::from_secs(1);
    Some(wait.min(Duration::from_secs(86_400)))
}

fn permission_hint(response: &Response) -> String {
    let named = |header| response.header(header).map(str::trim).filter(|value| !value.is_empty());
    if let Some(permissions) = named("x-accepted-github-permissions") {
        format!("The token needs the permission `{permissions}` for this repository")
    } else if let Some(scopes) = named("x-accepted-oauth-scopes") {
        format!("The token needs one of the scopes `{scopes}`")
    } else {
        "The token needs access to this repository with the permissions Contents: read, Issues: write and Pull requests: write"
            .into()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    message: String,
    errors: Vec<serde_json::Value>,
}

fn said(response: &Response) -> String {
    let said = response.json::<Said>().unwrap_or_default();
    let details = said.errors.iter().map(|error| match error {
        serde_json::Value::String(text) => text.clone(),
        other => other["message"].as_str().map_or_else(|| other.to_string(), str::to_owned),
    });
    let all: Vec<_> = std::iter::once(said.message.clone()).chain(details).filter(|text| !text.is_empty()).collect();
    let all = if all.is_empty() { response.text().trim().to_owned() } else { all.join("; ") };
    text::cut(&all, 300)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercel_sdk::testing::respond;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn failure(status: u16, headers: &[(&str, &str)], body: &'static str) -> (Kind, Option<u64>, String) {
        let error = check(respond(status, headers, body), at(1_000)).unwrap_err();
        assert_eq!(error.status, Some(status));
        (error.kind, error.retry_after.map(|wait| wait.as_secs()), error.hint.unwrap_or_default())
    }

    #[test]
    fn a_used_up_rate_limit_says_when_to_come_back() {
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1060"), ("x-ratelimit-limit", "5000")];
        let plain = "The rate limit is used up".to_owned();
        assert_eq!(failure(403, &used_up, "{}"), (Kind::RateLimited, Some(61), plain.clone()));
        let passed = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "10")];
        assert_eq!(failure(429, &passed, "{}"), (Kind::RateLimited, Some(1), plain.clone()));
        let absurd = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "18446744073709551615")];
        assert_eq!(failure(403, &absurd, "{}").0, Kind::RateLimited);
        assert_eq!(failure(403, &[("retry-after", "7")], "{}"), (Kind::RateLimited, Some(7), plain.clone()));
        let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        assert_eq!(failure(403, &[], secondary), (Kind::RateLimited, Some(60), plain));
        let anonymous = [("x-ratelimit-remaining", "0"), ("x-ratelimit-limit", "60")];
        assert_eq!(failure(403, &anonymous, "{}").2, "The rate limit is used up: set GITHUB_TOKEN");
    }

    #[test]
    fn a_missing_permission_is_named() {
        let fine_grained =
            [("x-accepted-github-permissions", "pull_requests=write"), ("x-ratelimit-remaining", "4999")];
        let hint = "The token needs the permission `pull_requests=write` for this repository".to_owned();
        assert_eq!(failure(403, &fine_grained, "{}"), (Kind::Forbidden, None, hint));
        let classic = failure(403, &[("x-accepted-oauth-scopes", "repo")], "{}");
        assert_eq!(classic.2, "The token needs one of the scopes `repo`");
        assert_eq!(
            failure(403, &[], r#"{"message": "issue is locked"}"#).2.split(':').next(),
            Some("The conversation is locked")
        );
    }

    #[test]
    fn what_github_says_is_part_of_the_message() {
        let body = r#"{"message": "Validation Failed", "errors": [{"message": "body is too long"}, "and odd", {"code": "x"}]}"#;
        let error = check(respond(422, &[], body), at(0)).unwrap_err();
        assert_eq!(error.message, r#"GitHub answered 422: Validation Failed; body is too long; and odd; {"code":"x"}"#);
        assert_eq!(check(respond(404, &[], "<html>"), at(0)).unwrap_err().message, "GitHub answered 404: <html>");
    }

    #[test]
    fn only_a_server_failure_leaves_the_outcome_open() {
        for (status, kind) in [
            (401, Kind::Auth),
            (404, Kind::NotFound),
            (410, Kind::NotFound),
            (307, Kind::NotFound),
            (422, Kind::Schema),
            (500, Kind::UnknownOutcome),
            (502, Kind::UnknownOutcome),
        ] {
            assert_eq!(failure(status, &[], "{}").0, kind, "{status}");
        }
    }
}
