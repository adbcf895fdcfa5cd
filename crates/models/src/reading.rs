//! Reads an answer off the wire: pieces as they come, or all at once from servers that do not stream.

use super::{assembly::Assembly, failure, not_understood, wire::Chunk};
use crate::Sink;
use bytes::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use serde_json::Value;
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Request},
    http::Streaming,
};

/// No model writes as much in one answer; a server that does is broken.
const MAX_ANSWER: usize = 16 << 20;

pub async fn read(
    reply: Streaming,
    request: &Request,
    sink: &dyn Sink,
    redact: impl Fn(&str) -> String,
) -> Result<Answer> {
    let content_type = reply.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.contains("event-stream") {
        return pieces(reply.body, request, sink, redact).await;
    }
    let body = collect(reply.body).await?;
    let text = String::from_utf8_lossy(&body);
    if ["data:", ":", "event:"].iter().any(|start| text.trim_start().starts_with(start)) {
        let body = futures::stream::once(async move { Ok(body.clone()) }).boxed();
        return pieces(body, request, sink, redact).await;
    }
    whole(&redact(&text), request, sink)
}

pub async fn collect(body: BoxStream<'static, Result<Bytes>>) -> Result<Bytes> {
    let all = limited(body).try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    all.await.map(Bytes::from)
}

fn whole(text: &str, request: &Request, sink: &dyn Sink) -> Result<Answer> {
    let mut assembly = Assembly::new(request, sink);
    let chunk = chunk(text)?;
    if chunk.choices.as_ref().is_none_or(Vec::is_empty) {
        assembly.push(chunk);
        return Err(not_understood("The model provider's answer has no choices", text));
    }
    assembly.push(chunk);
    assembly.finish()
}

async fn pieces(
    body: BoxStream<'static, Result<Bytes>>,
    request: &Request,
    sink: &dyn Sink,
    redact: impl Fn(&str) -> String,
) -> Result<Answer> {
    let mut assembly = Assembly::new(request, sink);
    // A server that ends without a blank line has still sent its last event.
    let end = futures::stream::once(async { Ok(Bytes::from_static(b"\n\n")) });
    let mut events = limited(body).chain(end).boxed().eventsource();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) if event.data.trim() == "[DONE]" => return assembly.finish(),
            Ok(event) => match piece(&redact(&event.data), &event)? {
                Some(chunk) => assembly.push(chunk),
                None => return Err(broken_off()),
            },
            Err(_) if assembly.is_over() => {
                assembly.note("the connection broke after the answer was complete");
                return assembly.finish();
            }
            Err(EventStreamError::Transport(error)) => return Err(error),
            Err(error) => {
                return Err(not_understood("The model provider's stream is not readable", &error.to_string()));
            }
        }
    }
    if assembly.is_over() { assembly.finish() } else { Err(broken_off()) }
}

/// One event; none when it ends in its midst, which only the last one of a broken stream does.
fn piece(data: &str, event: &Event) -> Result<Option<Chunk>> {
    match serde_json::from_str::<Value>(data) {
        Ok(value) if event.event == "error" => Err(failure::within(&value)),
        Err(error) if error.is_eof() && !data.trim().is_empty() => Ok(None),
        _ => chunk(data).map(Some),
    }
}

fn chunk(text: &str) -> Result<Chunk> {
    let value: Value = serde_json::from_str(text).map_err(|_| {
        let error = not_understood("The model provider's answer is not JSON", text);
        error.hint("Is LLM_BASE_URL the address of an OpenAI-compatible API? It usually ends in /v1")
    })?;
    let is_error = value.get("error").is_some_and(|error| !error.is_null())
        || value.get("object").and_then(Value::as_str) == Some("error");
    if is_error {
        return Err(failure::within(&value));
    }
    if !value.is_object() {
        return Err(not_understood("The model provider's answer has no choices", text));
    }
    serde_json::from_value(value)
        .map_err(|error| not_understood(&format!("The model provider's answer has an unknown shape ({error})"), text))
}

pub fn limited(body: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
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

fn broken_off() -> Error {
    Error::new(Kind::Network, "The model provider's stream broke off before the answer was complete")
}
