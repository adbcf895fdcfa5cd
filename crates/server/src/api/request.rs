//! Reading requests. What does not fit is refused with the name of the field and the reason.

use super::error::{Error, Result};
use crate::receiving::body::Unread;
use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query as AxumQuery, Request, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tercel_store::Uuid;

/// A JSON body. The content type is not looked at: everything that is sent here is JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        if bytes.is_empty() {
            return Err(Error::invalid("The body is empty; a JSON object is expected"));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Error::invalid(plain(&rejection.body_text(), "The body"))),
        }
    }
}

pub const TOO_LARGE: &str = "The body is larger than this server takes; TERCEL_MAX_BODY says how much that is";

/// A body of any type, up to the server's limit.
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Error::too_large(TOO_LARGE)),
            Err(rejection) => Err(Error::bad_request(format!("The body could not be read: {}", rejection.body_text()))),
        }
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::too_large(TOO_LARGE),
            Unread::Full => Self::unavailable(unread.to_string()),
            Unread::Late(_) | Unread::Broken(_) => Self::bad_request(unread.to_string()),
        }
    }
}

/// What stands behind the `?`.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let refused = |rejection: QueryRejection| Error::invalid(plain(&rejection.body_text(), "The query"));
        AxumQuery::from_request_parts(parts, state).await.map(|AxumQuery(query)| Self(query)).map_err(refused)
    }
}

/// The ids in a path.
pub struct Ids<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(ids)| Self(ids)).map_err(|rejection| Error::invalid(plain(&rejection.body_text(), "The path")))
    }
}

pub type Id = Ids<Uuid>;

/// The same key on the same call within a day is the same call.
pub struct Idempotency(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| Error::invalid("Idempotency-Key: only ASCII characters are taken"))?;
        match text.len() {
            0 => Ok(Self(None)),
            1..=255 => Ok(Self(Some(text.to_owned()))),
            _ => Err(Error::invalid("Idempotency-Key: at most 255 characters are taken")),
        }
    }
}

/// For a field that may be absent (keep), null (clear) or have a value (set).
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `name` has something in it, not too much, and no control characters.
pub fn name(field: &str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("{field}: it must not be empty")));
    }
    if text.chars().count() > most {
        return Err(Error::invalid(format!("{field}: at most {most} characters are taken")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{field}: line ends and other control characters are not taken")));
    }
    Ok(())
}

/// Says that there is no such name, and which one may have been meant.
pub fn no_such<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let advice = match tercel_agent::nearest(name, known.clone()).first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", known.collect::<Vec<_>>().join(", ")),
    };
    format!("there is no `{name}`; {advice}")
}

/// Takes the framework's words off: what is left names the field and what is wrong with it.
fn plain(text: &str, what: &str) -> String {
    const PREFIXES: [&str; 4] = [
        "Failed to deserialize the JSON body into the target type: ",
        "Failed to parse the request body as JSON: ",
        "Failed to deserialize query string: ",
        "Invalid URL: ",
    ];
    let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    format!("{what} is not as expected: {rest}")
}
