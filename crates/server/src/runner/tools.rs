//! Runs the tool calls of one turn, side by side; each result is committed when it is there, and with the first one what
//! is said instead of calls that are not run.

use super::{
    calling::{Called, Calling, Lacking, Tools},
    client,
    log::Log,
    prepare::Prepared,
};
use crate::{app::App, part::within};
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use std::sync::Arc;
use tercel_agent::{Action, Committed, Planned};
use tercel_sdk::{Host, Kind, Mode, Result, Tool};
use tercel_store::ClientCall;

/// What has to be waited for.
pub enum Open {
    Nothing,
    /// The answers of the client to these calls.
    Client(Vec<ClientCall>),
    /// Somebody's consent. What has no result did not happen.
    Consent(Lacking),
}

/// Stops in the middle when the run shall. Answers what has to be waited for.
pub async fn run_all(
    app: &Arc<App>,
    prepared: &mut Prepared,
    log: &mut Log,
    calls: Vec<Planned>,
) -> tercel_store::Result<Open> {
    let is_the_clients = |call: &Planned| {
        call.action == Action::Run && prepared.config.client_tools.iter().any(|tool| tool.name == call.name)
    };
    let (clients, ours): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_the_clients);
    let (run, said): (Vec<_>, Vec<_>) = ours.into_iter().partition(|call| call.action == Action::Run);
    let mut done = Vec::with_capacity(run.len() + said.len());
    let mut lacking = None;
    prepared.feed.after(log.count());
    {
        let prepared = &*prepared;
        let calling = Calling { app, ids: &prepared.ids, stop: &prepared.stop };
        let tools = Tools {
            mode: if prepared.task.rehearse { Mode::Rehearse } else { Mode::Live },
            key: prepared.task.id.to_string(),
            message: Some(prepared.task.message_id),
            run: &prepared.run,
        };
        for call in said {
            let Called { step, .. } = calling.tool(&tools, call).await;
            log.add(&step)?;
            done.push(Committed { attempt: prepared.run.attempt, step });
        }
        let mut running: FuturesUnordered<_> = run.into_iter().map(|call| calling.tool(&tools, call)).collect();
        loop {
            // What is being committed is waited for.
            let step = tokio::select! {
                biased;
                () = prepared.stop.cancelled() => break,
                step = running.next() => step,
            };
            let Some(Called { step, lacking: lacks }) = step else { break };
            if lacks.is_some() {
                lacking = lacking.or(lacks);
                continue;
            }
            log.add(&step)?;
            log.flush(app, &prepared.session.client_id).await?;
            done.push(Committed { attempt: prepared.run.attempt, step });
        }
    }
    log.flush(app, &prepared.session.client_id).await?;
    prepared.run.steps.extend(done);
    if prepared.stop.is_cancelled() {
        return Ok(Open::Nothing);
    }
    if let Some(lacking) = lacking {
        return Ok(Open::Consent(lacking));
    }
    let open = client::take(app, prepared, log, clients).await?;
    Ok(if open.is_empty() { Open::Nothing } else { Open::Client(open) })
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
    let handler = tool.handler.clone();
    let call = async move { handler(host, arguments.into()).await };
    within(app.config.limits.tool, &what, late, call).await
}
