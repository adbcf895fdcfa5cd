//! Which headers pass between a stranger and the code of a folder, and which do not.

use crate::api::Identity;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;
use tercel_store::Uuid;

pub const CALL: HeaderName = HeaderName::from_static("tercel-call");
const DELIVERY: HeaderName = HeaderName::from_static("tercel-delivery");
const SCOPES: HeaderName = HeaderName::from_static("tercel-scopes");

/// What belongs to one connection and not to the request.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only the server says of a request.
const OURS: [&str; 6] =
    ["cookie", "forwarded", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// What an answer below the administrator's own address must not do to it.
const FORBIDDEN: [&str; 6] = [
    "alt-svc",
    "clear-site-data",
    "public-key-pins",
    "service-worker-allowed",
    "set-cookie",
    "strict-transport-security",
];

/// Who sends a request, as the server knows it.
pub struct Sender<'a> {
    /// Of the key that came with it, when it is one of this server's.
    pub identity: Option<&'a Identity>,
    pub source: Option<IpAddr>,
    /// Whether the peer is a proxy whose forwarding headers count.
    pub is_forwarded: bool,
}

/// The headers with which a request reaches the code of `integration`.
pub fn inward(
    mut headers: HeaderMap,
    integration: &str,
    sender: &Sender,
    call: Uuid,
    delivery: Option<Uuid>,
) -> HeaderMap {
    let said = |name: &str| headers.get(name).filter(|_| sender.is_forwarded).cloned();
    let host = said("x-forwarded-host").or_else(|| headers.get(header::HOST).cloned());
    let proto = said("x-forwarded-proto").unwrap_or(HeaderValue::from_static("http"));
    drop_hops(&mut headers);
    OURS.iter().for_each(|name| _ = headers.remove(*name));
    drop_prefix(&mut headers, "tercel-");
    if let Some(identity) = sender.identity {
        headers.remove(header::AUTHORIZATION);
        let own = identity.folder.as_ref().is_some_and(|folder| folder.integration == integration);
        let scopes = identity.scopes.to_string() + if own { " self" } else { "" };
        set(&mut headers, SCOPES, &scopes);
    }
    set(&mut headers, CALL, &call.to_string());
    if let Some(delivery) = delivery {
        set(&mut headers, DELIVERY, &delivery.to_string());
    }
    if let Some(source) = sender.source {
        set(&mut headers, HeaderName::from_static("x-forwarded-for"), &source.to_string());
    }
    headers.insert("x-forwarded-proto", proto);
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
    headers
}

/// The headers with which an answer of a folder's code leaves: its pages are never the administrator's origin.
pub fn outward(mut headers: HeaderMap) -> HeaderMap {
    drop_hops(&mut headers);
    FORBIDDEN.iter().for_each(|name| _ = headers.remove(*name));
    drop_prefix(&mut headers, "tercel-");
    // Beside one of its own: a browser obeys both.
    let sandbox = HeaderValue::from_static("sandbox allow-scripts allow-forms");
    headers.append(header::CONTENT_SECURITY_POLICY, sandbox);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

/// Whether a request wants to go on as something else than HTTP.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || headers.contains_key("sec-websocket-key")
}

fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.into_iter().for_each(|name| _ = headers.remove(name));
    HOP_BY_HOP.iter().for_each(|name| _ = headers.remove(*name));
}

fn drop_prefix(headers: &mut HeaderMap, prefix: &str) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect();
    names.into_iter().for_each(|name| _ = headers.remove(name));
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).expect("ids, scopes and addresses are visible ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::Scopes, folders::Folder};
    use tercel_hosts::RootKind;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .filter(|(name, _)| **name != CALL)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_belongs_to_the_server_or_the_connection_does_not_reach_code() {
        let request = headers(&[
            ("host", "tercel.example"),
            ("cookie", "session=1"),
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "6.6.6.6"),
            ("tercel-scopes", "admin"),
            ("tercel-delivery", "1"),
            ("authorization", "Bearer theirs"),
            ("x-signature", "abc"),
        ]);
        let sender = Sender { identity: None, source: "192.0.2.7".parse().ok(), is_forwarded: false };
        let inside = inward(request, "forge", &sender, Uuid::nil(), None);
        assert_eq!(
            shown(&inside),
            [
                "authorization: Bearer theirs",
                "host: tercel.example",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: tercel.example",
                "x-forwarded-proto: http",
                "x-signature: abc",
            ]
        );
    }

    #[test]
    fn a_key_of_ours_becomes_its_scopes() {
        let folder = |name: &str| Folder { integration: name.into(), kind: RootKind::Operator };
        let scopes = |folder: Option<Folder>| {
            let identity = Identity { id: None, scopes: Scopes::from("tasks:read"), folder };
            let sender = Sender { identity: Some(&identity), source: None, is_forwarded: false };
            let inside = inward(headers(&[("authorization", "Bearer tk_ours")]), "forge", &sender, Uuid::nil(), None);
            assert!(!inside.contains_key("authorization"));
            inside["tercel-scopes"].to_str().unwrap().to_owned()
        };
        assert_eq!(scopes(None), "tasks:read");
        assert_eq!(scopes(Some(folder("forge"))), "tasks:read self");
        assert_eq!(scopes(Some(folder("other"))), "tasks:read");
    }

    #[test]
    fn an_answer_cannot_act_as_the_administrators_page() {
        let answer = headers(&[
            ("content-type", "text/html"),
            ("set-cookie", "session=2"),
            ("clear-site-data", "\"*\""),
            ("content-security-policy", "default-src *"),
            ("connection", "close"),
        ]);
        assert_eq!(
            shown(&outward(answer)),
            [
                "content-security-policy: default-src *",
                "content-security-policy: sandbox allow-scripts allow-forms",
                "content-type: text/html",
                "x-content-type-options: nosniff",
            ]
        );
    }
}
