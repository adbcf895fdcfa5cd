//! Talking to a bot and watching it answer, by server-sent events.

use super::{ChatRequest, Outcome, body_of, failure, submit};
use crate::{
    api::{
        auth::Identity,
        error::Result,
        events::{keep_alive, last_seen},
        follow::{Follower, Seen},
        request::{Body, Idempotency, Query},
        tasks,
    },
    app::App,
    inject,
};
use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, sse::Event, sse::Sse},
};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::VecDeque, convert::Infallible, sync::Arc};
use tercel_agent::Committed;
use tercel_sdk::text::cut;
use tercel_store::{StepRow, Task, Uuid};

/// Characters of a tool's result that are shown.
const SHOWN: usize = 20_000;

/// Say something to a bot and watch it answer
///
/// Events are `data: {"type", "session_id", "task_id", …}`: `text_delta` and `thinking` (`text`, and `reset` when it stands in
/// the place of what was shown of this answer before), `tool_start` and `tool_result`, `tool_request` (answer it with `POST
/// /chat/tool_result`), and last one of `response` (`text`, `tools_used`, `client_actions`, `correlation_id`), `error`,
/// `cancelled`, or `queued` when the run waits for a person. Only what is committed has an id. A stream that broke off is
/// resumed by `GET /chat/stream`, or by the same request with the same `Idempotency-Key`, with `Last-Event-ID`.
#[utoipa::path(
    post,
    path = "/chat/stream",
    tag = "chat",
    params(("Idempotency-Key" = Option<String>, Header), ("Last-Event-ID" = Option<i64>, Header)),
    request_body = ChatRequest,
    responses((status = 200, content_type = "text/event-stream", body = String)),
)]
pub async fn say(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    headers: HeaderMap,
    Body(body): Body<ChatRequest>,
) -> Result<impl IntoResponse> {
    let submitted = submit(&app, &identity, key, body).await?;
    let place = Place { session: submitted.session_id, task: submitted.task_id, transcript: submitted.transcript };
    Ok(watched(app, place, last_seen(&headers)))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    task_id: Uuid,
}

/// Watch the answer to a message that was sent before
#[utoipa::path(
    get,
    path = "/chat/stream",
    tag = "chat",
    params(Which, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String)),
)]
pub async fn watch(
    State(app): State<Arc<App>>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    let task = tasks::find(&app, which.task_id).await?;
    let message = app.store.message(task.message_id).await?;
    let transcript = message.and_then(|message| inject::transcript(&message));
    let place = Place { session: task.session_id, task: task.id, transcript };
    Ok(watched(app, place, last_seen(&headers)))
}

/// What every event says of where it belongs.
struct Place {
    session: Uuid,
    task: Uuid,
    transcript: Option<String>,
}

struct Watched {
    app: Arc<App>,
    place: Place,
    follower: Follower,
    ready: VecDeque<Event>,
}

fn watched(app: Arc<App>, place: Place, last: Option<i64>) -> impl IntoResponse {
    let follower = Follower::new(app.clone(), place.task, last.unwrap_or_default(), last.is_some());
    let start = Watched { app, place, follower, ready: VecDeque::new() };
    let events = stream::unfold(start, |mut watched| async move {
        loop {
            if let Some(event) = watched.ready.pop_front() {
                return Some((Ok::<_, Infallible>(event), watched));
            }
            let seen = watched.follower.next().await?;
            watched.take(seen).await;
        }
    });
    Sse::new(events).keep_alive(keep_alive())
}

impl Watched {
    async fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Text { text, reset, .. } => self.piece("text_delta", text, reset),
            Seen::Thinking { text, reset } => self.piece("thinking", text, reset),
            Seen::Request(request) => self.say("tool_request", json!(request)),
            Seen::Step(row) => self.step(row).await,
            Seen::Over(task) => self.end(*task).await,
        }
    }

    async fn step(&mut self, row: StepRow) {
        let step = body_of(&self.app, &row);
        let before = self.ready.len();
        match row.kind.as_str() {
            "model" if step["answer"]["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()) => {
                for call in self.started(row.n).await {
                    let call = self.app.catalog().redactor.json(call);
                    self.say("tool_start", call);
                }
            }
            "tool" => {
                let output = &step["output"];
                let result = cut(output["content"].as_str().unwrap_or_default(), SHOWN);
                let data = json!({
                    "call_id": step["call_id"], "name": step["name"], "ok": output["ok"], "result": result,
                    "duration_ms": step["duration_ms"],
                });
                self.say("tool_result", data);
            }
            _ => {}
        }
        // Of the events of one step only the last has its id: who saw fewer gets all of them again.
        if self.ready.len() > before
            && let Some(last) = self.ready.pop_back()
        {
            self.ready.push_back(last.id(row.n.to_string()));
        }
    }

    /// The calls of the answer that is the n-th step.
    async fn started(&self, n: i64) -> Vec<Value> {
        let rows = match self.app.store.steps(self.place.task, 0).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(task.id = %self.place.task, "The steps of a run cannot be read: {error}");
                return Vec::new();
            }
        };
        let rows = rows.iter().filter(|row| row.n <= n && row.kind != "context");
        let steps: Vec<Committed> = rows
            .filter_map(|row| Some(Committed { attempt: 1, step: serde_json::from_str(&row.body).ok()? }))
            .collect();
        let data = |call: tercel_sdk::chat::ToolCall| {
            let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::String(call.arguments));
            json!({"call_id": call.id, "name": call.name, "arguments": arguments})
        };
        tercel_agent::started(&steps).into_iter().map(data).collect()
    }

    async fn end(&mut self, task: Task) {
        match task.status.as_str() {
            "complete" => {
                let outcome = Outcome::of(&self.app, &task).await.unwrap_or_default();
                let data = json!({
                    "text": task.result, "tools_used": outcome.tools_used, "client_actions": outcome.client_actions,
                    "correlation_id": task.id, "transcript": self.place.transcript,
                });
                self.say("response", data);
            }
            "cancelled" => self.say("cancelled", json!({})),
            "waiting" => self.say("queued", json!({"message": failure(&task)})),
            _ => {
                let error = crate::api::json(task.error.as_deref());
                self.say("error", json!({"message": failure(&task), "code": error["code"]}));
            }
        }
    }

    fn piece(&mut self, kind: &str, text: String, reset: bool) {
        let mut data = json!({"text": text});
        if reset {
            data["reset"] = true.into();
        }
        self.say(kind, data);
    }

    fn say(&mut self, kind: &str, data: Value) {
        let mut event = json!({"type": kind, "session_id": self.place.session, "task_id": self.place.task});
        if let (Value::Object(event), Value::Object(data)) = (&mut event, data) {
            event.extend(data);
        }
        self.ready.push_back(Event::default().data(event.to_string()));
    }
}
