//! A task as it goes on, by server-sent events. Only what is committed has an id.

use super::{
    auth::Identity,
    error::Result,
    follow::{Follower, Seen},
    request::{Id, Ids, Query},
    tasks,
    time::Time,
};
use crate::app::App;
use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tercel_store::StepRow;

/// The longest silence of a stream.
const SILENCE: Duration = Duration::from_secs(15);

/// A committed step; what else it has depends on its kind.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Step {
    /// From 1.
    n: i64,
    /// Counts the workers that had the task, from 1.
    attempt: i64,
    at: Time,
    /// `kind` is `context`, `model`, `model_failed`, `tool`, `parked` or `resumed`.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    body: Map<String, Value>,
}

impl Step {
    pub fn of(row: StepRow) -> Self {
        let body = match super::json(Some(&row.body)) {
            Value::Object(body) => body,
            _ => Map::from_iter([("kind".to_owned(), row.kind.into())]),
        };
        Self { n: row.n, attempt: row.attempt, at: Time(row.created_at), body }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// Only steps after this one.
    after: Option<i64>,
}

/// Follow a task
///
/// Each event `step` has the number of the step as its id; `Last-Event-ID` resumes after it. Between them, without ids, come
/// `text_delta` and `thinking` of the answer that the model is giving: `text`, and `reset` when it stands in the place of
/// what was shown of this answer before. `tool_request` (`call_id`, `name`, `arguments`) waits for `POST /chat/tool_result`.
/// The event `end` with the status comes last, when the task is complete, failed, cancelled or waiting.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}/events",
    tag = "tasks",
    params(("id" = tercel_store::Uuid, Path), From, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = Step)),
)]
pub async fn follow(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    tasks::visible(&app, &identity, id).await?;
    let after = last_seen(&headers).or(from.after);
    let follower = Follower::new(app.clone(), id, after.unwrap_or_default(), after.is_some());
    let events = stream::unfold((app, follower), |(app, mut follower)| async move {
        loop {
            let event = event(&app, follower.next().await?);
            if let Some(event) = event {
                return Some((Ok::<_, Infallible>(event), (app, follower)));
            }
        }
    });
    Ok(Sse::new(events).keep_alive(keep_alive()))
}

/// The last event that the client has seen, as it says itself.
pub fn last_seen(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok())
}

/// So that nobody on the way takes a long silence for an end.
pub fn keep_alive() -> KeepAlive {
    after(SILENCE)
}

fn after(silence: Duration) -> KeepAlive {
    KeepAlive::new().interval(silence).text("keep-alive")
}

fn event(app: &App, seen: Seen) -> Option<Event> {
    let event = |kind: &str, data: Value| Some(Event::default().event(kind).data(data.to_string()));
    match seen {
        Seen::Step(row) => {
            let n = row.n;
            let step = app.catalog().redactor.json(serde_json::to_value(Step::of(row)).unwrap_or_default());
            Some(Event::default().event("step").id(n.to_string()).data(step.to_string()))
        }
        // The step itself says it.
        Seen::Text { is_committed: true, .. } => None,
        Seen::Text { text, reset: false, .. } => event("text_delta", json!({"text": text})),
        Seen::Text { text, reset: true, .. } => event("text_delta", json!({"text": text, "reset": true})),
        Seen::Thinking { text, reset: false } => event("thinking", json!({"text": text})),
        Seen::Thinking { text, reset: true } => event("thinking", json!({"text": text, "reset": true})),
        Seen::Request(request) => event("tool_request", json!(request)),
        Seen::Over(task) => event("end", json!({"status": task.status})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    #[tokio::test]
    async fn a_stream_in_which_nothing_happens_has_a_comment_each_fifteen_seconds() {
        assert_eq!(SILENCE, Duration::from_secs(15));
        let silent = || Sse::new(stream::pending::<Result<Event, Infallible>>());
        let mut quick =
            silent().keep_alive(after(Duration::from_millis(5))).into_response().into_body().into_data_stream();
        for _ in 0..3 {
            assert_eq!(quick.next().await.unwrap().unwrap(), ": keep-alive\n\n");
        }
        let mut usual = silent().keep_alive(keep_alive()).into_response().into_body().into_data_stream();
        assert!(futures::poll!(usual.next()).is_pending(), "not before its time");
    }
}
