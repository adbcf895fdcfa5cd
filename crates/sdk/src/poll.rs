//! Services that are asked what is new, and what they sent while nobody listened.

use crate::{Error, Event, FromHost, Handler, Result, erased::erase};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{future::Future, time::Duration};

/// How far a poll has read: whatever the integration needs to go on, nothing at the first time. It is committed together
/// with what the poll brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(Value);

impl Cursor {
    pub fn of(place: &impl Serialize) -> Result<Self> {
        Ok(Self(serde_json::to_value(place)?))
    }

    /// `None` at the first poll of all.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        serde_json::from_value(self.0.clone())
            .map_err(|e| Error::schema(format!("The stored cursor cannot be read: {e}")))
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// The same id within 30 days is the same news; what also comes by webhook has it as the id of its [`Event`].
    pub id: String,
    /// In the service's own words: `post.created`.
    pub name: String,
    pub event: Event,
}

/// What a poll answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Polled {
    /// In the order in which it happened.
    pub news: Vec<News>,
    /// Where the next poll goes on.
    pub cursor: Cursor,
}

/// A poll part.
#[derive(Clone)]
pub struct Poll {
    pub name: String,
    pub every: Duration,
    pub handler: Handler,
}

impl Poll {
    pub(crate) fn new<H, F, Fut>(name: &str, every: Duration, poll: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Cursor) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Polled>> + Send + 'static,
    {
        Self { name: name.into(), every, handler: erase(poll) }
    }
}

/// A time in which nobody listened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Seconds since 1970.
    pub since: i64,
    pub until: i64,
    /// What the address of the connection's webhook ends in; the whole of it when it is known.
    pub webhook: String,
    /// Places of the integration that there are conversations of: `forge:owner/repo`.
    pub places: Vec<String>,
}

/// What became of a gap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Missed {
    /// What the service was asked to send again. It comes by the webhook.
    pub asked_again: u64,
    /// What was fetched.
    #[serde(default)]
    pub news: Vec<News>,
    /// Sentences about what could not be looked at, and what to do.
    #[serde(default)]
    pub unknown: Vec<String>,
}
