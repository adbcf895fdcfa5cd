//! How a run ends, or begins to wait.

use super::{
    calling::Lacking,
    client,
    log::Log,
    prepare::{Prepared, context_of, ids_of},
};
use crate::{app::App, ceilings, consent::over, emission, hooks, queue::patiently};
use serde_json::Value;
use std::sync::Arc;
use tercel_agent::{Step, awaited};
use tercel_sdk::{
    Error, Kind,
    hook::{AfterTaskComplete, HookEvent},
    host::Ids,
};
use tercel_store::{Ceiling, ClientCall, ClientCalls, Commit, Counts, End, NewNotice, Task, Uuid};

/// The notice that runs wait for a model.
pub const NO_MODEL: &str = "model";

pub async fn end(app: &Arc<App>, ids: &Ids, log: &mut Log, end: End) -> tercel_store::Result<&'static str> {
    let status = match &end {
        End::Complete { .. } => "complete",
        End::Failed(_) => "failed",
        End::Cancelled => "cancelled",
        End::Waiting(_) => "waiting",
    };
    let event = (status != "waiting").then(|| completed(app, ids, status));
    log.commit(app, ids.client_id.as_deref().unwrap_or_default(), Some(end)).await?;
    match event {
        Some(event) => hooks::fire_recorded::<AfterTaskComplete>(app, ids, &event),
        None => tell_if_cancelled(app, ids).await,
    }
    Ok(status)
}

/// Asks a run to stop; one that does not run has ended with that. Answers its status.
pub async fn cancel(app: &Arc<App>, id: Uuid) -> tercel_store::Result<String> {
    let cancelled = app.store.cancel_task(id).await?;
    app.runs.cancel(id);
    if cancelled.at_once
        && let Some(task) = app.store.task(id).await?
    {
        let client_id = app.store.session(task.session_id).await?.map(|session| session.client_id);
        tell_cancelled(app, &Ids { client_id, ..ids_of(app, &task) }, &task);
    }
    Ok(cancelled.status)
}

/// One that was asked to stop while it began to wait does not wait.
async fn tell_if_cancelled(app: &Arc<App>, ids: &Ids) {
    let Some(id) = ids.task else { return };
    match app.store.task(id).await {
        Ok(Some(task)) if task.cancelled && task.status == "cancelled" => tell_cancelled(app, ids, &task),
        Ok(_) => {}
        Err(error) => tracing::warn!(task.id = %id, "Whether the run was cancelled cannot be read: {error}"),
    }
}

/// Fails a run whose own log may be of no use any more.
pub async fn give_up(app: &Arc<App>, task: &Arc<Task>, why: String) -> tercel_store::Result<&'static str> {
    tracing::error!(task.id = %task.id, "{why}");
    let ids = ids_of(app, task);
    let event = completed(app, &ids, "failed");
    let commit = Commit {
        task: task.id,
        attempt: task.attempt,
        steps: Vec::new(),
        used: Counts::default(),
        spent: Vec::new(),
        parked: None,
        client: ClientCalls::default(),
        events: app.emission.take(task.id),
        begun: true,
        end: Some(failed(&Error::new(Kind::Error, why))),
    };
    patiently("The end of a run", || app.store.commit(commit.clone())).await?;
    app.emission.ring();
    hooks::fire_recorded::<AfterTaskComplete>(app, &ids, &event);
    Ok("failed")
}

pub fn failed(error: &Error) -> End {
    End::Failed(json(error))
}

/// Lets a run wait for a ceiling.
pub async fn wait_for(
    app: &Arc<App>,
    prepared: &Prepared,
    log: &mut Log,
    ceiling: &Ceiling,
) -> tercel_store::Result<&'static str> {
    let error = ceilings::error(ceiling);
    log.add(&Step::Parked { error: error.clone() })?;
    let end = Some(End::Waiting(json(&error)));
    log.commit_waiting(app, &prepared.session.client_id, end, Some(ceiling.scope.clone())).await?;
    ceilings::report(app, ceiling).await;
    tell_if_cancelled(app, &prepared.ids).await;
    Ok("waiting")
}

/// Lets a run wait for its client.
pub async fn wait_for_client(
    app: &Arc<App>,
    prepared: &Prepared,
    log: &mut Log,
    open: Vec<ClientCall>,
) -> tercel_store::Result<&'static str> {
    let waiting = End::Waiting(json(&client::waits(&open)));
    log.waits_for(open);
    let status = end(app, &prepared.ids, log, waiting).await?;
    app.runs.asked.notify_one();
    Ok(status)
}

/// Lets a run wait until somebody has agreed.
pub async fn wait_for_consent(
    app: &Arc<App>,
    prepared: &Prepared,
    log: &mut Log,
    Lacking { place, error }: Lacking,
) -> tercel_store::Result<&'static str> {
    let end = Some(End::Waiting(json(&error)));
    log.add(&Step::Parked { error })?;
    log.commit_waiting(app, &prepared.session.client_id, end, Some(over::scope(&place))).await?;
    tell_if_cancelled(app, &prepared.ids).await;
    // Somebody may have agreed meanwhile.
    ceilings::look(app);
    Ok("waiting")
}

/// Lets a run wait for a person, or for the time that the error names.
pub async fn park(
    app: &Arc<App>,
    prepared: &Prepared,
    log: &mut Log,
    error: Error,
) -> tercel_store::Result<&'static str> {
    let (ids, wait) = (&prepared.ids, error.retry_after);
    log.add(&Step::Parked { error: error.clone() })?;
    let status = end(app, ids, log, End::Waiting(json(&error))).await?;
    if let (Some(wait), Some(id)) = (wait, ids.task) {
        let app = app.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = app.stopping.cancelled() => return,
            }
            if let Err(error) = app.store.resume_tasks(Some(id), "time").await {
                tracing::error!(task.id = %id, "The run cannot go on: {error}");
            }
        });
    }
    app.runs.miss(awaited(&prepared.run));
    app.raise(no_model(error)).await;
    Ok(status)
}

/// A model answers that runs wait for: they go on.
pub async fn recovered(app: Arc<App>) {
    app.close_notice(NO_MODEL).await;
    if let Err(error) = app.store.resume_tasks(None, "a model that answers again").await {
        tracing::error!("Waiting runs cannot go on: {error}");
    }
}

/// The event that a run is over, which is committed together with its end.
fn completed(app: &Arc<App>, ids: &Ids, status: &str) -> Value {
    let event = over(ids, status);
    emission::record(app, ids, AfterTaskComplete::NAME, &event);
    event
}

fn over(ids: &Ids, status: &str) -> Value {
    let event = AfterTaskComplete {
        context: context_of(ids),
        task_id: ids.task.map(|id| id.to_string()).unwrap_or_default(),
        task_type: "agent".into(),
        status: status.into(),
    };
    serde_json::to_value(event).unwrap_or_default()
}

/// One that was cancelled while it did not run: no commit of its own takes the event along.
fn tell_cancelled(app: &Arc<App>, ids: &Ids, task: &Task) {
    let event = over(ids, "cancelled");
    emission::record_outside(app, ids, &task.origin, AfterTaskComplete::NAME, &event);
    hooks::fire_recorded::<AfterTaskComplete>(app, ids, &event);
}

fn no_model(error: Error) -> NewNotice {
    NewNotice {
        key: NO_MODEL.into(),
        severity: "error",
        title: "No model answers".into(),
        detail: error.message,
        repair: Some(error.hint.unwrap_or_else(|| {
            "Mend the credentials or the quota of the model; waiting runs go on at the next start, or by POST /api/v1/tasks/{id}/resume".into()
        })),
    }
}

fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
