//! Runs the tool calls of one turn, side by side; each result is committed when it is there.

use super::{
    client,
    log::Log,
    prepare::{Prepared, context_of},
};
use crate::{
    app::{App, Call},
    part::within,
};
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use std::{sync::Arc, time::Instant};
use tercel_agent::{Action, Committed, Planned, Step, ToolOutput};
use tercel_sdk::{Error, Host, Kind, Mode, Result, Tool, Trust, hook};

/// Stops in the middle when the run shall.
pub async fn run_all(
    app: &Arc<App>,
    prepared: &mut Prepared,
    log: &mut Log,
    calls: Vec<Planned>,
) -> tercel_store::Result<()> {
    let mut done = Vec::with_capacity(calls.len());
    // Who watches sees the calls begin before the client is asked for any.
    prepared.feed.after(log.count());
    {
        let prepared = &*prepared;
        let mut running: FuturesUnordered<_> = calls.into_iter().map(|call| step_of(app, prepared, call)).collect();
        loop {
            // What is being committed is waited for.
            let step = tokio::select! {
                biased;
                () = prepared.stop.cancelled() => break,
                step = running.next() => step,
            };
            let Some(step) = step else { break };
            log.add(&step)?;
            log.flush(app, &prepared.session.client_id).await?;
            done.push(Committed { attempt: prepared.run.attempt, step });
        }
    }
    prepared.run.steps.extend(done);
    Ok(())
}

async fn step_of(app: &Arc<App>, prepared: &Prepared, call: Planned) -> Step {
    let began = Instant::now();
    let output = match &call.action {
        Action::Say(output) => output.clone(),
        Action::Run => {
            let ids = &prepared.ids;
            let is_the_clients = prepared.config.client_tools.iter().any(|tool| tool.name == call.name);
            let iteration = prepared.run.steps.iter().filter(|c| matches!(c.step, Step::Model { .. })).count() as u32;
            crate::hooks::fire(app, ids, || hook::BeforeToolExecution {
                context: context_of(ids),
                tool_name: call.name.clone(),
                tool_type: if is_the_clients { "client" } else { "local" }.into(),
                args: call.arguments.clone(),
                iteration,
            });
            // What a service answers was written by whoever can write there.
            let result = match is_the_clients {
                true => client::run(app, prepared, &call).await,
                false => run(app, prepared, &call).await,
            };
            let output = ToolOutput::of(result).untrusted();
            crate::hooks::fire(app, ids, || hook::AfterToolCall {
                context: context_of(ids),
                tool_name: call.name.clone(),
                tool_args: call.arguments.clone(),
                duration_ms: began.elapsed().as_millis() as u64,
            });
            output
        }
    };
    let duration_ms = began.elapsed().as_millis() as u64;
    Step::Tool { call_id: call.call_id, name: call.name, arguments: call.arguments, output, duration_ms }
}

async fn run(app: &Arc<App>, prepared: &Prepared, asked: &Planned) -> Result<Value> {
    let _room = app.runs.steps.acquire().await.expect("the semaphore is never closed");
    let catalog = app.catalog();
    let gone = || Error::new(Kind::NotFound, format!("The tool `{}` is not there any more", asked.name));
    let owned = catalog.tools.get(&asked.name).ok_or_else(gone)?;
    let call = Call {
        ids: prepared.ids.clone(),
        mode: if prepared.task.rehearse { Mode::Rehearse } else { Mode::Live },
        trust: if prepared.run.tainted { Trust::Untrusted } else { Trust::Trusted },
        idempotency_key: Some(format!("{}/{}", prepared.task.id, asked.call_id)),
        timeout: Some(app.config.limits.tool),
        cancel: prepared.stop.clone(),
    };
    let host = app.host(&owned.integration, crate::catalog::DEFAULT, call).ok_or_else(gone)?;
    let answer = execute(app, &owned.tool, host, asked.arguments.clone()).await;
    crate::watchman::saw(app, &owned.integration, crate::catalog::DEFAULT, &answer).await;
    answer
}

/// Calls a tool with arguments that were checked. No secret of ours comes back.
pub async fn execute(app: &App, tool: &Tool, host: Host, arguments: Value) -> Result<Value> {
    let answer = answer(app, tool, host, arguments).await;
    let catalog = app.catalog();
    answer.map(|value| catalog.redactor.json(value)).map_err(|error| catalog.redactor.error(error))
}

async fn answer(app: &App, tool: &Tool, host: Host, arguments: Value) -> Result<Value> {
    let late = if tool.may_repeat() { Kind::Timeout } else { Kind::UnknownOutcome };
    let what = format!("The tool `{}`", tool.name);
    // On a task of its own, because much of what tools do is computing.
    let handler = tool.handler.clone();
    let limit = app.config.limits.tool;
    let call = async move { handler(host, arguments.into()).await };
    let running = tokio::spawn(async move { within(limit, &what, late, call).await });
    let _stop = AbortOnDrop(running.abort_handle());
    running.await.unwrap_or_else(|error| Err(Error::new(late, error.to_string())))
}

/// A run that is cancelled takes its tools with it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
