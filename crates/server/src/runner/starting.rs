//! Telling the place where an answer will go that its run has begun.

use crate::{
    app::{App, Call},
    connection::choice,
    part::within,
    places,
};
use std::sync::Arc;
use tercel_sdk::{Dispatcher, Kind, Mode, Target, host::Ids};
use tercel_store::{Session, Task};

/// The task as it goes on: its target is what the dispatcher made of it, such as a message to be replaced by the answer.
/// Told once: an attempt after the first does not know whether it was told.
pub async fn begin(app: &Arc<App>, task: &Arc<Task>, session: &Session, ids: Ids) -> Arc<Task> {
    if task.attempt > 1 || task.rehearse {
        return task.clone();
    }
    let Some(target) = changed(app, task, session, ids).await else { return task.clone() };
    let sealed = app.seal_target(&target);
    match app.store.retarget_task(task, sealed.clone()).await {
        Ok(()) => Arc::new(Task { sealed_target: Some(sealed), ..(**task).clone() }),
        Err(error) => {
            tracing::warn!(task.id = %task.id, "What the dispatcher made of the target could not be kept: {error}");
            task.clone()
        }
    }
}

async fn changed(app: &Arc<App>, task: &Task, session: &Session, ids: Ids) -> Option<Target> {
    let own = task.sealed_target.clone().or_else(|| session.sealed_target.clone());
    let sealed = match (own, task.channel_id) {
        (None, Some(channel)) => places::target_of(app, channel).await,
        (own, _) => own,
    };
    let target = app.open_target(&sealed?).ok()?;
    let catalog = app.catalog();
    let owned = catalog.dispatchers.get(&target.kind)?;
    let start = owned.dispatcher.start.clone()?;
    let limit = app.config.limits.hook;
    let call = Call { ids, mode: Mode::Live, timeout: Some(limit), ..Call::default() };
    let entry = catalog.integrations.get(&owned.integration)?;
    let host = app.host(&owned.integration, choice::of_target(entry, &target).ok()?, call)?;
    let call = Dispatcher::start_call(&target);
    let told = async move { start(host, call).await };
    let answer = within(limit, "Telling of the start", Kind::Timeout, told).await.inspect_err(|error| {
        let error = catalog.redactor.error(error.clone());
        tracing::warn!(integration = owned.integration, "The start of a run was not told: {error}");
    });
    let config = answer.ok()?;
    let config = config.get("dispatch_config").unwrap_or(&config).as_object()?.clone();
    let new = Target { config, ..target.clone() };
    (new != target).then_some(new)
}
