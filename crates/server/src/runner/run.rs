//! One run, from its claim to its end.

use super::{
    answer,
    log::Log,
    prepare::{self, Prepared, context_of, ids_of},
    tools,
};
use crate::{app::App, ceilings, part, queue::patiently};
use futures::FutureExt;
use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_agent::{Committed, Finish, Next, Step, next};
use tercel_models::Meter;
use tercel_sdk::{Error, Kind, Trust, chat, hook, host::Ids};
use tercel_store::{Ceiling, Commit, Counts, End, NewNotice, Task, Uuid};
use tokio_util::sync::CancellationToken;

/// The notice that runs wait for a model.
pub const NO_MODEL: &str = "model";
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

/// Fails a run whose own log may be of no use any more.
async fn give_up(app: &Arc<App>, task: &Arc<Task>, why: String) -> tercel_store::Result<&'static str> {
    tracing::error!(task.id = %task.id, "{why}");
    let commit = Commit {
        task: task.id,
        attempt: task.attempt,
        steps: Vec::new(),
        used: Counts::default(),
        spent: Vec::new(),
        parked: None,
        end: Some(End::Failed(json(&Error::new(Kind::Error, why)))),
    };
    patiently("The end of a run", || app.store.commit(commit.clone())).await?;
    tell(app, &ids_of(task), "failed");
    Ok("failed")
}

async fn drive(app: &Arc<App>, task: &Arc<Task>, cancel: &CancellationToken) -> tercel_store::Result<&'static str> {
    let (mut log, steps) = Log::read(app, task).await?;
    if cancel.is_cancelled() {
        return end(app, &ids_of(task), &mut log, End::Cancelled).await;
    }
    if let Some(error) = died_too_often(task, &steps) {
        return end(app, &ids_of(task), &mut log, End::Failed(json(&error))).await;
    }
    let mut prepared = match prepare::prepare(app, task, &mut log, steps).await {
        Ok(prepared) => prepared,
        Err(error) => return end(app, &ids_of(task), &mut log, End::Failed(json(&error))).await,
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
            let error = Error::new(Kind::Timeout, format!("The run took longer than {} seconds", limit.as_secs()))
                .hint("TERCEL_RUN_SECONDS sets the limit");
            End::Failed(json(&error))
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
                let asked = async {
                    tokio::time::sleep(wait).await;
                    ask(app, prepared, Asked { iteration, model, fallback, request, base }).await
                };
                let (step, wasted) = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    answered = asked => answered,
                };
                log.add(&step)?;
                if let Step::ModelFailed { model, .. } = &step
                    && wasted.total() > 0
                {
                    log.spend(model, wasted);
                }
                prepared.run.steps.push(Committed { attempt: prepared.run.attempt, step });
            }
            Next::CallTools(calls) => {
                log.flush(app, &prepared.session.client_id).await?;
                tools::run_all(app, prepared, log, calls).await?;
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
                    outbox: answer::parts(app, prepared, &text),
                    text,
                };
                return end(app, &prepared.ids, log, complete).await.map(Some);
            }
            Next::Finish(Finish::Failed(error)) => {
                crate::hooks::fire(app, &prepared.ids, || hook::AfterResponse {
                    context: context_of(&prepared.ids),
                    response_length: 0,
                    tool_calls_made: Vec::new(),
                    error: true,
                });
                return end(app, &prepared.ids, log, End::Failed(json(&error))).await.map(Some);
            }
            Next::Park(error) => {
                let status = park(app, &prepared.ids, log, error.clone()).await?;
                app.runs.miss(&prepared.run.models);
                app.raise(no_model(error)).await;
                return Ok(Some(status));
            }
        }
    }
}

/// Whether nobody but trusted people had a say in the answer.
fn is_trusted(prepared: &Prepared) -> bool {
    let foreign = |committed: &Committed| match &committed.step {
        Step::Tool { output, .. } => output.trust == Trust::Untrusted,
        _ => false,
    };
    !prepared.run.tainted && !prepared.run.steps.iter().any(foreign)
}

struct Asked {
    iteration: u32,
    model: String,
    fallback: bool,
    request: chat::Request,
    /// Steps before it.
    base: i64,
}

/// Answers the step, and what a call took that failed all the same.
async fn ask(app: &Arc<App>, prepared: &Prepared, asked: Asked) -> (Step, chat::Usage) {
    let Asked { iteration, model, fallback, request, base } = asked;
    let task = &prepared.task;
    // A task that was accepted without a model is not handed to one that was configured since.
    let withheld = task.rehearse && !app.config.rehearse;
    let provider = app.chosen(&model, withheld);
    let is_rehearsed = provider.is_rehearsal();
    let ids = &prepared.ids;
    crate::hooks::fire(app, ids, || hook::BeforeLlmCall {
        context: context_of(ids),
        model: model.clone(),
        message_count: request.messages.len(),
        tools_count: request.tools.len(),
        provider_id: provider.id().into(),
        iteration,
    });
    let http = app.plain_http(provider.base_url(), Some(task.id), &prepared.stop);
    let began = Instant::now();
    let saying = prepared.feed.begin(base, app.catalog());
    let meter = Meter::over(&saying);
    let answered = provider.answer(&http, &request, &meter).await;
    let reading = meter.reading();
    match &answered {
        Ok(_) => saying.finish(),
        Err(_) => prepared.feed.void(),
    }
    let catalog = app.catalog();
    let answered =
        answered.map(|answer| catalog.redactor.answer(answer)).map_err(|error| catalog.redactor.error(error));
    let duration_ms = began.elapsed().as_millis() as u64;
    metrics::histogram!("tercel_model_seconds").record(began.elapsed().as_secs_f64());
    let step = match answered {
        Ok(answer) => {
            if !is_rehearsed && app.runs.found(&model) {
                // Not a part of this run: that may be cancelled in the middle of it.
                app.work.spawn(recovered(app.clone()));
            }
            crate::hooks::fire(app, ids, || hook::AfterLlmCall {
                context: context_of(ids),
                model: model.clone(),
                duration_ms,
                prompt_tokens: answer.usage.prompt_tokens,
                completion_tokens: answer.usage.completion_tokens,
                total_tokens: answer.usage.total(),
                tool_calls_count: answer.tool_calls.len(),
                fallback_used: fallback,
                fallback_model: fallback.then(|| model.clone()),
                iteration,
                provider_id: provider.id().into(),
            });
            Step::Model { iteration, model, provider: provider.id().into(), answer, duration_ms, fallback }
        }
        Err(error) => {
            tracing::warn!(task.id = %task.id, model, "The model did not answer: {error}");
            Step::ModelFailed { iteration, model, error, duration_ms }
        }
    };
    (step, reading)
}

async fn end(app: &Arc<App>, ids: &Ids, log: &mut Log, end: End) -> tercel_store::Result<&'static str> {
    let status = match &end {
        End::Complete { .. } => "complete",
        End::Failed(_) => "failed",
        End::Cancelled => "cancelled",
        End::Waiting(_) => "waiting",
    };
    log.commit(app, ids.client_id.as_deref().unwrap_or_default(), Some(end)).await?;
    if status != "waiting" {
        tell(app, ids, status);
    }
    Ok(status)
}

fn tell(app: &Arc<App>, ids: &Ids, status: &str) {
    crate::hooks::fire(app, ids, || hook::AfterTaskComplete {
        context: context_of(ids),
        task_id: ids.task.map(|id| id.to_string()).unwrap_or_default(),
        task_type: "agent".into(),
        status: status.into(),
    });
}

/// Lets a run wait for a ceiling.
async fn wait_for(
    app: &Arc<App>,
    prepared: &Prepared,
    log: &mut Log,
    ceiling: &Ceiling,
) -> tercel_store::Result<&'static str> {
    ceilings::report(app, ceiling).await;
    let error = ceilings::error(ceiling);
    log.add(&Step::Parked { error: error.clone() })?;
    let end = Some(End::Waiting(json(&error)));
    log.commit_waiting(app, &prepared.session.client_id, end, Some(ceiling.scope.clone())).await?;
    Ok("waiting")
}

/// Lets a run wait for a person, or for the time that the error names.
async fn park(app: &Arc<App>, ids: &Ids, log: &mut Log, error: Error) -> tercel_store::Result<&'static str> {
    log.add(&Step::Parked { error: error.clone() })?;
    let status = end(app, ids, log, End::Waiting(json(&error))).await?;
    if let (Some(wait), Some(id)) = (error.retry_after, ids.task) {
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
    Ok(status)
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

/// A model answers that runs wait for: they go on.
async fn recovered(app: Arc<App>) {
    app.close_notice(NO_MODEL).await;
    if let Err(error) = app.store.resume_tasks(None, "a model that answers again").await {
        tracing::error!("Waiting runs cannot go on: {error}");
    }
}

fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
