//! The steps of a task as they are committed, by server-sent events. Only what is committed has an id.

use super::{
    error::Result,
    request::{Id, Ids, Query},
    tasks,
    time::Time,
};
use crate::app::App;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};
use tercel_store::{StepRow, Uuid};
use tokio::sync::broadcast::{self, error::RecvError};

const OVER: [&str; 4] = ["complete", "failed", "cancelled", "waiting"];

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

/// Follow the steps of a task
///
/// Each event `step` has the number of the step as its id; `Last-Event-ID` resumes after it. The event `end` with the
/// status comes last, when the task is complete, failed, cancelled or waiting.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}/events",
    tag = "tasks",
    params(("id" = Uuid, Path), From, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = Step)),
)]
pub async fn follow(
    State(app): State<Arc<App>>,
    Ids(id): Id,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    tasks::find(&app, id).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = last.or(from.after).unwrap_or_default();
    Ok(Sse::new(steps(app, id, after))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)).text("keep-alive")))
}

struct Following {
    app: Arc<App>,
    task: Uuid,
    after: i64,
    commits: broadcast::Receiver<Uuid>,
    begun: bool,
    ready: VecDeque<Event>,
    over: bool,
}

fn steps(app: Arc<App>, task: Uuid, after: i64) -> impl Stream<Item = Result<Event, Infallible>> {
    // Before the first reading, so that no commit comes between that and the waiting.
    let commits = app.store.wake().steps.subscribe();
    let start = Following { app, task, after, commits, begun: false, ready: VecDeque::new(), over: false };
    stream::unfold(start, |mut following| async move {
        loop {
            if let Some(event) = following.ready.pop_front() {
                return Some((Ok(event), following));
            }
            if following.over || !following.advance().await {
                return None;
            }
        }
    })
}

impl Following {
    /// Waits until something was committed, and reads it. Answers false when the stream must end.
    async fn advance(&mut self) -> bool {
        if std::mem::replace(&mut self.begun, true) && !self.committed().await {
            return false;
        }
        if let Err(error) = self.read().await {
            tracing::warn!(task.id = %self.task, "A stream of steps ends early: {error}");
            return false;
        }
        true
    }

    /// Answers false when the server stops.
    async fn committed(&mut self) -> bool {
        loop {
            tokio::select! {
                commit = self.commits.recv() => match commit {
                    Ok(task) if task != self.task => {}
                    // Commits that were missed may have been of this task.
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                },
                () = self.app.stopping.cancelled() => return false,
            }
        }
    }

    async fn read(&mut self) -> tercel_store::Result<()> {
        // First the status: a task that is over then has no steps later.
        let status = self.app.store.task(self.task).await?.map_or_else(|| "failed".into(), |task| task.status);
        let catalog = self.app.catalog();
        for row in self.app.store.steps(self.task, self.after).await? {
            self.after = row.n;
            let step = catalog.redactor.json(serde_json::to_value(Step::of(row))?);
            self.ready.push_back(Event::default().event("step").id(self.after.to_string()).data(step.to_string()));
        }
        if OVER.contains(&status.as_str()) {
            self.over = true;
            let end = serde_json::json!({"status": status}).to_string();
            self.ready.push_back(Event::default().event("end").data(end));
        }
        Ok(())
    }
}
