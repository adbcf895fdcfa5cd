//! An answer to a conversation that somebody else keeps: the same agent, without session, task and stored steps.

mod counting;
mod watching;

use super::{
    calling::{Asked, Called, Calling, Tools},
    prepare::{self, Wanted},
};
use crate::{app::App, bot::Bot};
use counting::{may_begin, spend};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tercel_agent::{Action, Committed, Finish, Limits, Next, Offered, Planned, Run, Step, next};
use tercel_sdk::{
    Brief, Effect, Error, Kind, Mode, Result,
    chat::{Choice, Message, Role, ToolCall, ToolSpec, Usage},
    host::Ids,
};
use tercel_store::Uuid;
use tokio_util::sync::CancellationToken;
pub use watching::Shown;
use watching::Watching;

pub struct Question {
    pub bot: Arc<Bot>,
    /// Without the bot's tools.
    pub plain: bool,
    pub messages: Vec<Message>,
    /// The caller's own, which the caller runs.
    pub tools: Vec<ToolSpec>,
    pub wanted: Wanted,
}

#[derive(Debug, Default)]
pub struct Reply {
    pub text: String,
    /// For the caller to run.
    pub tool_calls: Vec<ToolCall>,
    pub usage: Usage,
    pub truncated: bool,
}

/// Answers. The tools of the bot are run here; when the model asks for one of the caller's, the answer ends there, and
/// what it asked of the bot's besides is not run: the model asks again when the caller comes back.
///
/// # Errors
/// As the agent would fail or park the run. What was shown before a failure cannot be taken back, so that there is no
/// other try then; where nothing is shown there is.
pub async fn answer(
    app: &Arc<App>,
    question: Question,
    stop: &CancellationToken,
    shown: Option<&Shown<'_>>,
) -> Result<Reply> {
    let limit = Duration::from_secs(app.config.run_seconds);
    let late = Error::new(Kind::Timeout, format!("The answer took longer than {} seconds", limit.as_secs()))
        .hint("TERCEL_RUN_SECONDS sets the limit");
    tokio::time::timeout(limit, work(app, question, stop, shown)).await.unwrap_or(Err(late))
}

async fn work(
    app: &Arc<App>,
    question: Question,
    stop: &CancellationToken,
    shown: Option<&Shown<'_>>,
) -> Result<Reply> {
    let bot = question.bot.id.clone();
    let ids = Ids { client_id: Some(format!("completions:{bot}")), bot: Some(bot), ..Ids::default() };
    let foreign: HashSet<String> = question.tools.iter().map(|tool| tool.name.clone()).collect();
    let key = Uuid::now_v7().to_string();
    let calling = Calling { app, ids: &ids, stop };
    let mut run = run_of(app, question);
    may_begin(app, &ids, &run.models[0]).await?;
    let is_rehearsed = app.chosen(&run.models[0], false).is_rehearsal() || app.config.rehearse.is_some();
    let mode = if is_rehearsed { Mode::Rehearse } else { Mode::Live };
    let mut texts: Vec<String> = Vec::new();
    let reply = |texts: &[String], tool_calls, run: &Run| {
        let answers = run.steps.iter().rev().filter_map(|committed| match &committed.step {
            Step::Model { answer, .. } => Some(answer.truncated),
            _ => None,
        });
        let truncated = answers.into_iter().next().unwrap_or(false);
        Reply { text: texts.join("\n\n"), tool_calls, usage: run.usage(), truncated }
    };
    loop {
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Error, "The caller has gone"));
        }
        match next(&run) {
            Next::CallModel { iteration, model, fallback, request, wait } => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => continue,
                }
                let watching = Watching::new(app, if texts.is_empty() { "" } else { "\n\n" }, shown);
                let provider = app.chosen(&model, app.config.rehearse.is_some());
                let asked = Asked { iteration, model, fallback, request };
                let (step, wasted) = calling.model(&provider, asked, &watching).await;
                watching.finish();
                match &step {
                    Step::Model { model, answer, .. } => {
                        if !provider.is_rehearsal() {
                            spend(app, &ids, model, answer.usage).await;
                        }
                        if !answer.text.trim().is_empty() {
                            texts.push(answer.text.clone());
                        }
                    }
                    Step::ModelFailed { model, error, .. } => {
                        if wasted.total() > 0 {
                            spend(app, &ids, model, wasted).await;
                        }
                        if watching.has_shown() {
                            return Err(error.clone());
                        }
                    }
                    _ => {}
                }
                run.steps.push(Committed { attempt: 1, step });
            }
            Next::CallTools(calls) => {
                let is_foreign = |call: &&Planned| call.action == Action::Run && foreign.contains(&call.name);
                let asked: Vec<ToolCall> = calls.iter().filter(is_foreign).map(as_written).collect();
                if !asked.is_empty() {
                    return Ok(Reply { truncated: false, ..reply(&texts, asked, &run) });
                }
                let tools = Tools { mode, key: key.clone(), message: None, run: &run };
                let running: FuturesUnordered<_> = calls.into_iter().map(|call| calling.tool(&tools, call)).collect();
                let called: Vec<Called> = running.collect().await;
                run.steps.extend(called.into_iter().map(|called| Committed { attempt: 1, step: called.step }));
            }
            Next::Finish(Finish::Complete { .. }) => return Ok(reply(&texts, Vec::new(), &run)),
            Next::Finish(Finish::Failed(error)) | Next::Park(error) => return Err(error),
        }
    }
}

/// What the agent is told: the bot's own words, then the conversation as it was sent.
fn run_of(app: &App, question: Question) -> Run {
    let Question { bot, plain, messages, tools, wanted } = question;
    let catalog = app.catalog();
    let mut unknown = Vec::new();
    let mut context = Vec::new();
    if !bot.system_prompt.trim().is_empty() {
        context.push(Message::system(bot.system_prompt.clone()));
    }
    let skills = prepare::skills(app, bot.skills.iter(), &mut unknown);
    context.extend(skills.iter().map(|skill| Message::system(format!("# Skill: {}\n\n{}", skill.name, skill.content))));
    let mut offered: Vec<Offered> = tools
        .into_iter()
        // The caller decides whether they are run.
        .map(|spec| Offered { spec, effect: Effect::Read, may_repeat: true, allowed: true })
        .collect();
    // Who must have a call wants one of its own.
    if !plain && wanted.shape.choice == Choice::Auto {
        let own = prepare::tools(app, &bot, &Brief::default(), &mut unknown);
        let taken: HashSet<String> = offered.iter().map(|tool| tool.spec.name.clone()).collect();
        offered.extend(own.into_iter().filter(|tool| !taken.contains(&tool.spec.name)));
    }
    unknown.iter().for_each(|what| tracing::debug!(bot = bot.id, "{what}"));
    // What tools of the caller answered was written by whoever can write there; so were pictures.
    let is_foreign = |message: &Message| message.role == Role::Tool || !message.images.is_empty();
    let tainted = messages.iter().any(is_foreign);
    context.extend(messages);
    let (model, _) = app.model_of(bot.model.as_deref());
    let models = std::iter::once(model).chain(bot.fallback_models.iter().cloned()).collect();
    drop(catalog);
    Run {
        attempt: 1,
        context,
        steps: Vec::new(),
        tools: offered,
        models,
        limits: Limits::default(),
        tainted,
        temperature: wanted.temperature.or(bot.temperature),
        max_tokens: wanted.max_tokens.or(bot.max_tokens),
        shape: wanted.shape,
    }
}

fn as_written(call: &Planned) -> ToolCall {
    ToolCall { id: call.call_id.clone(), name: call.name.clone(), arguments: call.arguments.to_string() }
}
