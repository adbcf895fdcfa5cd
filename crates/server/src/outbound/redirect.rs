//! Where an answer sends us on to, and what goes along.

use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, COOKIE, LOCATION},
};
use tercel_sdk::{Error, Kind, Result, http::Request};
use url::Url;

pub const MOST: usize = 5;

/// The request to send next, when the answer is a redirect that is followed: reads always, writes by 303 as a read,
/// or by 307 and 308 within the same origin. Every other answer is the caller's to see.
///
/// # Errors
/// `forbidden` when it leads from https to http.
pub fn next(request: &Request, status: StatusCode, headers: &HeaderMap) -> Result<Option<Request>> {
    let Some(url) = target(&request.url, status, headers) else { return Ok(None) };
    let same_origin = url.origin() == request.url.origin();
    let is_read = matches!(request.method, Method::GET | Method::HEAD);
    let mut next = request.clone();
    match status {
        _ if is_read => {}
        StatusCode::SEE_OTHER => {
            next.method = Method::GET;
            next.body.clear();
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
                next.headers.remove(name);
            }
        }
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT if same_origin => {}
        _ => return Ok(None),
    }
    if request.url.scheme() == "https" && url.scheme() == "http" {
        let host = request.url.host_str().unwrap_or_default();
        let message = format!("`{host}` redirects from https to http, which is not followed");
        return Err(Error::new(Kind::Forbidden, message).hint("Use the final address, if it can be trusted"));
    }
    if !same_origin {
        next.headers = public(&next.headers);
        next.body.clear();
    }
    next.url = url;
    Ok(Some(next))
}

fn target(from: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    from.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

/// What may go to another origin.
fn public(headers: &HeaderMap) -> HeaderMap {
    let secret = |name: &HeaderName| *name == AUTHORIZATION || *name == COOKIE || name.as_str().starts_with("proxy-");
    let kept = headers.iter().filter(|(name, value)| !value.is_sensitive() && !secret(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(method: Method, url: &str) -> Request {
        let mut token = HeaderValue::from_static("key");
        token.set_sensitive(true);
        Request {
            method,
            url: url.parse().unwrap(),
            headers: [
                ("authorization", HeaderValue::from_static("Bearer t")),
                ("cookie", HeaderValue::from_static("a=b")),
                ("x-api-key", token),
                ("accept", HeaderValue::from_static("text/plain")),
                ("content-type", HeaderValue::from_static("text/plain")),
            ]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), value))
            .collect(),
            body: "hello".into(),
            timeout: None,
            repeatable: false,
            max_response: None,
        }
    }

    /// What goes out next: method, address, names of the headers, body.
    fn check(method: Method, from: &str, status: u16, to: &str) -> String {
        let headers = [(LOCATION, to.parse().unwrap())].into_iter().collect();
        match next(&request(method, from), StatusCode::from_u16(status).unwrap(), &headers) {
            Ok(None) => "stays".into(),
            Err(error) => error.kind.as_str().into(),
            Ok(Some(next)) => {
                let names: Vec<&str> = next.headers.keys().map(HeaderName::as_str).collect();
                format!("{} {} [{}] {:?}", next.method, next.url, names.join(" "), next.body)
            }
        }
    }

    const ALL: &str = "[authorization cookie x-api-key accept content-type]";

    #[test]
    fn reads_follow_every_redirect_and_keep_credentials_on_the_same_origin_only() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(
                check(Method::GET, "https://a.example/x", status, "/y?z=1"),
                format!("GET https://a.example/y?z=1 {ALL} b\"hello\"")
            );
            for other in ["https://b.example/", "https://a.example:444/", "//b.example/"] {
                let answer = check(Method::GET, "https://a.example/x", status, other);
                assert!(answer.ends_with(" [accept content-type] b\"\""), "{answer}");
            }
        }
    }

    #[test]
    fn a_write_goes_on_as_a_read_or_within_its_origin_or_not_at_all() {
        let from = "https://a.example/x";
        assert_eq!(
            check(Method::POST, from, 303, "https://a.example/y"),
            "GET https://a.example/y [authorization cookie x-api-key accept] b\"\""
        );
        assert_eq!(check(Method::POST, from, 303, "https://b.example/y"), "GET https://b.example/y [accept] b\"\"");
        for status in [307, 308] {
            assert_eq!(check(Method::POST, from, status, "/y"), format!("POST https://a.example/y {ALL} b\"hello\""));
            assert_eq!(check(Method::POST, from, status, "https://b.example/y"), "stays");
        }
        for status in [301, 302] {
            assert_eq!(check(Method::POST, from, status, "/y"), "stays");
        }
    }

    #[test]
    fn encryption_is_never_given_up() {
        assert_eq!(check(Method::GET, "https://a.example/x", 302, "http://a.example/x"), "forbidden");
        assert_eq!(check(Method::POST, "https://a.example/x", 303, "http://a.example/x"), "forbidden");
        assert_eq!(check(Method::GET, "http://a.example/x", 302, "https://a.example/x").split(' ').next(), Some("GET"));
    }

    #[test]
    fn what_is_no_redirect_is_an_answer() {
        assert_eq!(check(Method::GET, "https://a.example/x", 304, "/y"), "stays");
        assert_eq!(check(Method::GET, "https://a.example/x", 200, "/y"), "stays");
        assert_eq!(check(Method::GET, "https://a.example/x", 302, "https://[broken"), "stays");
    }
}
