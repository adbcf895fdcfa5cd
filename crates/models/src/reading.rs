//! Reads an answer off the wire: pieces as they come, or all at once from servers that do not stream.

use crate::{adapter::Assembly, failure};
use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use serde_json::Value;
use tercel_sdk::{Error, Kind, Result, chat::Answer, http::Streaming};

/// No model writes as much in one answer; a server that does is broken.
const MAX_ANSWER: usize = 16 << 20;

/// `hint` says what to look at when it is no answer.
pub async fn read(
    reply: Streaming,
    assembly: impl Assembly,
    redact: impl Fn(&str) -> String,
    hint: &str,
) -> Result<Answer> {
    let content_type = reply.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.contains("event-stream") {
        return pieces(reply.body, assembly, redact, hint).await;
    }
    let body = collect(reply.body).await?;
    let text = String::from_utf8_lossy(&body);
    if ["data:", ":", "event:"].iter().any(|start| text.trim_start().starts_with(start)) {
        let body = futures::stream::once(async move { Ok(body.clone()) }).boxed();
        return pieces(body, assembly, redact, hint).await;
    }
    let mut assembly = assembly;
    let said = redact(&text);
    let value = serde_json::from_str(&said).map_err(|_| not_json(&said, hint))?;
    assembly.whole(value, &said)?;
    assembly.finish()
}

pub async fn collect(body: BoxStream<'static, Result<Bytes>>) -> Result<Bytes> {
    let all = limited(body).try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    all.await.map(Bytes::from)
}

/// What was not understood, with its beginning.
pub fn not_understood(what: &str, said: &str) -> Error {
    let said = tercel_sdk::text::cut(said.trim(), 200);
    Error::new(Kind::Error, format!("{what}: {said}"))
}

async fn pieces(
    body: BoxStream<'static, Result<Bytes>>,
    mut assembly: impl Assembly,
    redact: impl Fn(&str) -> String,
    hint: &str,
) -> Result<Answer> {
    // A server that ends without a blank line has still sent its last event.
    let end = futures::stream::once(async { Ok(Bytes::from_static(b"\n\n")) });
    let mut events = limited(body).chain(end).boxed().eventsource();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(_) if assembly.is_over() => {
                assembly.note("the connection broke after the answer was complete");
                break;
            }
            Err(EventStreamError::Transport(error)) => return Err(error),
            Err(error) => {
                return Err(not_understood("The model provider's stream is not readable", &error.to_string()));
            }
        };
        if event.data.trim() == "[DONE]" {
            return assembly.finish();
        }
        let said = redact(&event.data);
        let value: Value = match serde_json::from_str(&said) {
            Ok(value) => value,
            // Only the last event of a broken stream ends in its midst.
            Err(error) if error.is_eof() && !said.trim().is_empty() => return Err(broken_off()),
            Err(_) => return Err(not_json(&said, hint)),
        };
        if assembly.event(&event.event, value, &said)? {
            return assembly.finish();
        }
    }
    if assembly.is_over() { assembly.finish() } else { Err(broken_off()) }
}

fn limited(body: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let mut seen = 0;
    body.map(move |piece| {
        let piece = piece.map_err(failure::in_stream)?;
        seen += piece.len();
        if seen > MAX_ANSWER {
            return Err(Error::new(Kind::Error, "The model provider's answer does not end: more than 16 MB came"));
        }
        Ok(piece)
    })
    .boxed()
}

fn not_json(said: &str, hint: &str) -> Error {
    not_understood("The model provider's answer is not JSON", said).hint(hint)
}

fn broken_off() -> Error {
    Error::new(Kind::Network, "The model provider's stream broke off before the answer was complete")
}
