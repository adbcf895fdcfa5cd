//! One run, from its claim to its end.

use super::{
    answer,
    calling::{Asked, Calling},
    ending::{NO_MODEL, end, failed, give_up, park, recovered, wait_for, wait_for_client, wait_for_consent},
    log::Log,
    prepare::{self, Prepared, RunConfig, context_of, ids_of},
    tools::{self, Open},
};
use crate::{app::App, ceilings, part};
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};
use tercel_agent::{Committed, Finish, Next, Step, next, tools_used};
use tercel_sdk::{Error, Kind, Trust, chat, hook};
use tercel_store::{End, Task, Uuid, now};
use tokio_util::sync::CancellationToken;

/// Starts of one run that ended with the process, after which the run is held to be the cause.
const MOST_DEATHS: usize = 20;

/// Runs a claimed task to its end and commits it. Whatever happens, the task does not stay `running`: its session would
/// wait for it. Only when the server stops it is left to the next start.
pub async fn run(app: &Arc<App>, task: Task, cancel: CancellationToken) {
    let task = Arc::new(task);
    let outcome = match AssertUnwindSafe(drive(app, &task, &cancel)).catch_unwind().await {
        Ok(Err(error)) if !matches!(error, tercel_store::Error::Fenced | tercel_store::Error::Stopping) => {
            give_up(app, &task, format!("The run could not go on: {error}")).await
        }
        Ok(outcome) => outcome,
        Err(panic) => {
            let words = app.catalog().redactor.text(part::words(&*panic)).into_owned();
            give_up(app, &task, format!("The run hit a fault in the program: it panicked ({words})")).await
        }
    };
    // One that goes on elsewhere, or at the next start, says nothing.
    if outcome.is_ok() && app.runs.cleared(task.id) {
        app.close_notice(NO_MODEL).await;
    }
    match outcome {
        Ok(status) => {
            tracing::info!(task.id = %task.id, bot = %task.bot_id, status, "A run has ended");
            metrics::counter!("tercel_runs_total", "status" => status).increment(1);
        }
        Err(tercel_store::Error::Fenced) => tracing::warn!(task.id = %task.id, "Another worker has this run by now"),
        Err(tercel_store::Error::Stopping) => {}
        Err(error) => {
            tracing::error!(task.id = %task.id, "A run could not be ended; it is taken up at the next start: {error}")
        }
    }
}

async fn drive(app: &Arc<App>, task: &Arc<Task>, cancel: &CancellationToken) -> tercel_store::Result<&'static str> {
    let (mut log, steps) = Log::read(app, task).await?;
    if cancel.is_cancelled() {
        return end(app, &ids_of(app, task), &mut log, End::Cancelled).await;
    }
    if let Some(error) = died_too_often(task, &steps) {
        return end(app, &ids_of(app, task), &mut log, failed(&error)).await;
    }
    if let Some(error) = came_too_late(task, &steps) {
        return end(app, &ids_of(app, task), &mut log, failed(&error)).await;
    }
    let mut prepared = match prepare::prepare(app, task, &mut log, steps).await {
        Ok(prepared) => prepared,
        Err(error) => return end(app, &ids_of(app, task), &mut log, failed(&error)).await,
    };
    // A stopped run still commits what it is committing: nothing here is dropped in the middle.
    prepared.stop = cancel.child_token();
    let stop = prepared.stop.clone();
    let limit = Duration::from_secs(app.config.run_seconds);
    let (worked, is_late) = {
        let mut working = pin!(work(app, &mut prepared, &mut log));
        tokio::select! {
            worked = &mut working => (worked?, false),
            () = tokio::time::sleep(limit) => {
                stop.cancel();
                (working.await?, true)
            }
        }
    };
    let stopped = match worked {
        Some(status) => return Ok(status),
        None if is_late && !cancel.is_cancelled() => {
            tell_failure(app, &prepared);
            let error = Error::new(Kind::Timeout, format!("The run took longer than {} seconds", limit.as_secs()))
                .hint("TERCEL_RUN_SECONDS sets the limit");
            failed(&error)
        }
        None => End::Cancelled,
    };
    end(app, &prepared.ids, &mut log, stopped).await
}

/// A run that ends the process each time would do so for ever.
fn died_too_often(task: &Task, steps: &[Committed]) -> Option<Error> {
    let resumed = steps.iter().filter(|committed| matches!(committed.step, Step::Resumed { .. })).count();
    let deaths = (task.attempt as usize).saturating_sub(1 + resumed);
    (deaths > MOST_DEATHS).then(|| {
        Error::new(Kind::Error, format!("The server ended {deaths} times in the middle of this run"))
            .hint("The log of the server says why it ended; then send the message again")
    })
}

/// What an event was about is over by the time that its turn has come.
fn came_too_late(task: &Task, steps: &[Committed]) -> Option<Error> {
    let config: RunConfig = serde_json::from_str(task.execution_config.as_deref()?).ok()?;
    let is_late = steps.is_empty() && config.expires_at.is_some_and(|at| at < now());
    is_late.then(|| {
        Error::new(Kind::Timeout, "Its turn came after the shelf life of its event: no agent was asked")
            .hint("`shelf_life` of the event says how long it is worth a run")
    })
}

/// Answers how the run ended, or nothing when it was stopped.
async fn work(app: &Arc<App>, prepared: &mut Prepared, log: &mut Log) -> tercel_store::Result<Option<&'static str>> {
    let stop = prepared.stop.clone();
    loop {
        if stop.is_cancelled() {
            return Ok(None);
        }
        match next(&prepared.run) {
            Next::CallModel { iteration, model, fallback, request, wait } => {
                log.flush(app, &prepared.session.client_id).await?;
                if let Some(ceiling) = ceilings::in_the_way(app, &prepared.task, &prepared.session.client_id).await? {
                    return wait_for(app, prepared, log, &ceiling).await.map(Some);
                }
                let base = log.count();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    () = tokio::time::sleep(wait) => {}
                }
                let (step, wasted) = ask(app, prepared, Asked { iteration, model, fallback, request }, base).await;
                if prepared.showing.has_begun() {
                    log.has_begun();
                }
                if let Step::ModelFailed { model, .. } = &step {
                    if wasted.total() > 0 {
                        log.spend(model, wasted);
                    }
                    if stop.is_cancelled() {
                        return Ok(None);
                    }
                }
                log.add(&step)?;
                prepared.run.steps.push(Committed { attempt: prepared.run.attempt, step });
            }
            Next::CallTools(calls) => {
                log.flush(app, &prepared.session.client_id).await?;
                match tools::run_all(app, prepared, log, calls).await? {
                    _ if stop.is_cancelled() => {}
                    Open::Nothing => {}
                    Open::Client(open) => return wait_for_client(app, prepared, log, open).await.map(Some),
                    Open::Consent(lacking) => return wait_for_consent(app, prepared, log, lacking).await.map(Some),
                }
            }
            Next::Finish(Finish::Complete { text, tools_used }) => {
                crate::hooks::fire(app, &prepared.ids, || hook::AfterResponse {
                    context: context_of(&prepared.ids),
                    response_length: text.chars().count(),
                    tool_calls_made: tools_used,
                    error: false,
                });
                let complete = End::Complete {
                    message_id: Uuid::now_v7(),
                    trusted: is_trusted(prepared),
                    hops: prepared.task.hops as u32,
                    outbox: answer::parts(app, prepared, &text).await,
                    text,
                };
                return end(app, &prepared.ids, log, complete).await.map(Some);
            }
            Next::Finish(Finish::Failed(error)) => {
                tell_failure(app, prepared);
                return end(app, &prepared.ids, log, failed(&error)).await.map(Some);
            }
            Next::Park(error) => return park(app, prepared, log, error).await.map(Some),
        }
    }
}

/// Tells that there is no answer.
fn tell_failure(app: &Arc<App>, prepared: &Prepared) {
    crate::hooks::fire(app, &prepared.ids, || hook::AfterResponse {
        context: context_of(&prepared.ids),
        response_length: 0,
        tool_calls_made: tools_used(&prepared.run),
        error: true,
    });
}

/// Whether nobody but trusted people had a say in the answer.
fn is_trusted(prepared: &Prepared) -> bool {
    let foreign = |committed: &Committed| match &committed.step {
        Step::Tool { output, .. } => output.trust == Trust::Untrusted,
        _ => false,
    };
    !prepared.run.tainted && !prepared.run.steps.iter().any(foreign)
}

/// Answers the step, and what a call took that failed or was cut off all the same.
async fn ask(app: &Arc<App>, prepared: &mut Prepared, asked: Asked, base: i64) -> (Step, chat::Usage) {
    let (mut showing, done) = (std::mem::take(&mut prepared.showing), CancellationToken::new());
    let task = &prepared.task;
    // A task that was accepted without a model is not handed to one that was configured since.
    let withheld = task.rehearse && app.config.rehearse.is_none();
    let provider = app.chosen(&asked.model, withheld);
    let saying = prepared.feed.begin(base, app.catalog());
    let calling = Calling { app, ids: &prepared.ids, stop: &prepared.stop };
    let answering = async {
        let _done = done.clone().drop_guard();
        calling.model(&provider, asked, &saying).await
    };
    let ((step, reading), ()) = tokio::join!(answering, showing.follow(app, prepared, &done));
    match &step {
        Step::Model { model, .. } => {
            saying.finish();
            if !provider.is_rehearsal() && app.runs.found(model) {
                // Not a part of this run: that may be cancelled in the middle of it.
                app.work.spawn(recovered(app.clone()));
            }
        }
        _ => prepared.feed.void(),
    }
    prepared.showing = showing;
    (step, reading)
}
