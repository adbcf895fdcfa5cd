//! One run, from its claim to its end.

use super::{
    answer,
    log::Log,
    prepare::{self, Prepared, context_of},
    tools,
};
use crate::app::App;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tercel_agent::{Committed, Finish, Next, Step, next};
use tercel_models::NoSink;
use tercel_sdk::{Error, Kind, chat, hook};
use tercel_store::{End, NewNotice, Task, Uuid};
use tokio_util::sync::CancellationToken;

const NO_MODEL: &str = "model";

/// Runs a claimed task to its end and commits it. What cannot be committed is left to the next start of the server.
pub async fn run(app: &Arc<App>, task: Task, cancel: CancellationToken) {
    let outcome = drive(app, &task, &cancel).await;
    match outcome {
        Ok(status) => {
            tracing::info!(task.id = %task.id, bot = %task.bot_id, status, "A run has ended");
            metrics::counter!("tercel_runs_total", "status" => status).increment(1);
        }
        Err(tercel_store::Error::Fenced) => tracing::warn!(task.id = %task.id, "Another worker has this run by now"),
        Err(tercel_store::Error::Stopping) => {}
        Err(error) => {
            tracing::error!(task.id = %task.id, "A run could not go on; it is taken up at the next start: {error}")
        }
    }
}

async fn drive(app: &Arc<App>, task: &Task, cancel: &CancellationToken) -> tercel_store::Result<&'static str> {
    let (mut log, steps) = Log::read(app, task).await?;
    let mut prepared = match prepare::prepare(app, task, &mut log, steps).await {
        Ok(prepared) => prepared,
        Err(error) => {
            log.commit(app, task, "", Some(End::Failed(json(&error)))).await?;
            return Ok("failed");
        }
    };
    let limit = Duration::from_secs(app.config.run_seconds);
    let stopped = tokio::select! {
        biased;
        () = cancel.cancelled() => Some(End::Cancelled),
        worked = work(app, task, &mut prepared, &mut log, cancel) => return worked,
        () = tokio::time::sleep(limit) => {
            let error = Error::new(Kind::Timeout, format!("The run took longer than {} seconds", limit.as_secs()))
                .hint("TERCEL_RUN_SECONDS sets the limit");
            Some(End::Failed(json(&error)))
        }
    };
    let status = if matches!(stopped, Some(End::Cancelled)) { "cancelled" } else { "failed" };
    end(app, task, &prepared, &mut log, stopped, status).await
}

async fn work(
    app: &Arc<App>,
    task: &Task,
    prepared: &mut Prepared,
    log: &mut Log,
    cancel: &CancellationToken,
) -> tercel_store::Result<&'static str> {
    let client_id = prepared.session.client_id.clone();
    loop {
        match next(&prepared.run) {
            Next::CallModel { iteration, model, fallback, request, wait } => {
                log.flush(app, task, &client_id).await?;
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                let step = ask(app, task, prepared, Asked { iteration, model, fallback, request }, cancel).await;
                commit_later(prepared, log, task, step)?;
            }
            Next::CallTools(calls) => {
                log.flush(app, task, &client_id).await?;
                tools::run_all(app, task, prepared, log, calls, cancel).await?;
            }
            Next::Finish(Finish::Complete { text, tools_used }) => {
                crate::hooks::fire(app, &prepared.ids, || hook::AfterResponse {
                    context: context_of(&prepared.ids),
                    response_length: text.chars().count(),
                    tool_calls_made: tools_used,
                    error: false,
                });
                let outbox = answer::parts(app, task, &prepared.session, &text).await?;
                let complete = End::Complete {
                    message_id: Uuid::now_v7(),
                    trusted: !prepared.run.tainted,
                    hops: task.hops as u32,
                    text,
                    outbox,
                };
                return end(app, task, prepared, log, Some(complete), "complete").await;
            }
            Next::Finish(Finish::Failed(error)) => {
                crate::hooks::fire(app, &prepared.ids, || hook::AfterResponse {
                    context: context_of(&prepared.ids),
                    response_length: 0,
                    tool_calls_made: Vec::new(),
                    error: true,
                });
                return end(app, task, prepared, log, Some(End::Failed(json(&error))), "failed").await;
            }
            Next::Park(error) => {
                park(app, task, &error).await;
                log.add(&Step::Parked { error: error.clone() })?;
                log.commit(app, task, &client_id, Some(End::Waiting(json(&error)))).await?;
                return Ok("waiting");
            }
        }
    }
}

struct Asked {
    iteration: u32,
    model: String,
    fallback: bool,
    request: chat::Request,
}

async fn ask(app: &Arc<App>, task: &Task, prepared: &Prepared, asked: Asked, cancel: &CancellationToken) -> Step {
    let Asked { iteration, model, fallback, request } = asked;
    // A task that was accepted without a model is not handed to one that was configured since.
    let withheld = task.rehearse && !app.config.rehearse;
    let provider = if withheld || model == "rehearsal" { &app.rehearsal } else { &app.model };
    let ids = &prepared.ids;
    crate::hooks::fire(app, ids, || hook::BeforeLlmCall {
        context: context_of(ids),
        model: model.clone(),
        message_count: request.messages.len(),
        tools_count: request.tools.len(),
        provider_id: provider.id().into(),
        iteration,
    });
    let http = app.plain_http(app.config.llm.base_url.as_deref(), Some(task.id), cancel);
    let began = Instant::now();
    let answered = provider.answer(&http, &request, &NoSink).await;
    let duration_ms = began.elapsed().as_millis() as u64;
    metrics::histogram!("tercel_model_seconds").record(began.elapsed().as_secs_f64());
    match answered {
        Ok(answer) => {
            recovered(app).await;
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
    }
}

fn commit_later(prepared: &mut Prepared, log: &mut Log, task: &Task, step: Step) -> tercel_store::Result<()> {
    log.add(&step)?;
    prepared.run.steps.push(Committed { attempt: task.attempt as u32, step });
    Ok(())
}

async fn end(
    app: &Arc<App>,
    task: &Task,
    prepared: &Prepared,
    log: &mut Log,
    end: Option<End>,
    status: &'static str,
) -> tercel_store::Result<&'static str> {
    log.commit(app, task, &prepared.session.client_id, end).await?;
    crate::hooks::fire(app, &prepared.ids, || hook::AfterTaskComplete {
        context: context_of(&prepared.ids),
        task_id: task.id.to_string(),
        task_type: "agent".into(),
        status: status.into(),
    });
    Ok(status)
}

/// Says that runs wait for a person, and goes on by itself where the provider named a time.
async fn park(app: &Arc<App>, task: &Task, error: &Error) {
    app.runs.parked.store(true, Ordering::Relaxed);
    let notice = NewNotice {
        key: NO_MODEL.into(),
        severity: "error",
        title: "No model answers".into(),
        detail: error.message.clone(),
        repair: Some(error.hint.clone().unwrap_or_else(|| {
            "Mend the credentials or the quota of the model; waiting runs go on at the next start, or by POST /api/v1/tasks/{id}/resume".into()
        })),
    };
    app.raise(notice).await;
    if let Some(wait) = error.retry_after {
        let (app, id) = (app.clone(), task.id);
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
}

/// A model answers: what waited for one goes on.
async fn recovered(app: &Arc<App>) {
    if app.runs.parked.swap(false, Ordering::Relaxed) {
        app.close_notice(NO_MODEL).await;
        if let Err(error) = app.store.resume_tasks(None, "a model that answers again").await {
            tracing::error!("Waiting runs cannot go on: {error}");
        }
    }
}

fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
