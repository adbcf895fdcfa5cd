//! What the code of a folder answered, kept beside its delivery for whoever sends it again.

use super::read_headers;
use crate::folders::{headers, route};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tercel_sdk::routes::Body;
use tercel_store::Delivery;

/// Bytes of an answer that are kept for repetitions.
const KEPT: usize = 1 << 20;

/// What the sender was answered, for a repetition.
#[derive(Serialize, Deserialize)]
pub struct Said {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body_base64: String,
    /// Only its beginning would have been kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
}

impl Said {
    pub fn of(status: StatusCode, headers: &HeaderMap, bytes: &Bytes) -> Self {
        let kept = [http::header::CONTENT_TYPE, http::header::LOCATION];
        let headers =
            kept.iter().filter_map(|name| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned())));
        let mut said = Self {
            status: status.as_u16(),
            headers: headers.collect(),
            body: String::new(),
            body_base64: String::new(),
            is_cut: bytes.len() > KEPT,
        };
        match std::str::from_utf8(bytes) {
            _ if said.is_cut => {}
            Ok(text) => said.body = text.to_owned(),
            Err(_) => said.body_base64 = BASE64.encode(bytes),
        }
        said
    }
}

/// The answer that an earlier one of the same got.
pub fn again(delivery: &Delivery) -> Response<Body> {
    let said = delivery.answer.as_deref().and_then(|answer| serde_json::from_str::<Said>(answer).ok());
    let Some(said) = said.filter(|said| !said.is_cut) else {
        let text = serde_json::json!({"status": "duplicate", "delivery_id": delivery.id}).to_string();
        let kind = (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return route::answer_of(StatusCode::OK, HeaderMap::from_iter([kind]), text.into());
    };
    let bytes = match said.body_base64.is_empty() {
        true => said.body.into_bytes(),
        false => BASE64.decode(&said.body_base64).unwrap_or_default(),
    };
    let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::OK);
    route::answer_of(status, headers::outward(read_headers(&said.headers, str::to_owned)), bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_whatever_its_bytes_are() {
        let kind = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("a/b"))]);
        let said = |bytes: &'static [u8]| Said::of(StatusCode::CREATED, &kind, &bytes.into());
        assert_eq!((said(b"ok").status, said(b"ok").body.as_str()), (201, "ok"));
        assert_eq!(said(b"\xff").body_base64, "/w==");
        assert_eq!(said(b"ok").headers, [("content-type".to_owned(), "a/b".to_owned())]);
    }
}
