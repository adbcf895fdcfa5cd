//! An answer to a conversation that somebody else keeps: the same agent, without session, task and stored steps.

use super::prepare::{self, context_of};
use crate::{
    app::{App, Call},
    bot::Bot,
    budgets::Whose,
    ceilings,
    redact::Tail,
    unpriced,
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tercel_agent::{Action, Committed, Finish, Limits, Next, Offered, Planned, Run, Step, ToolOutput, next};
use tercel_models::{Meter, Sink};
use tercel_sdk::{
    Brief, Effect, Error, Kind, Mode, Result, Trust,
    chat::{Message, Role, ToolCall, ToolSpec, Usage},
    hook,
    host::Ids,
};
use tercel_store::{Counts, Spent, Uuid};
use tokio_util::sync::CancellationToken;

/// Where these answers are counted: `api` as their origin.
const ORIGIN: &str = "api";

pub struct Question {
    pub bot: Arc<Bot>,
    /// Without the bot's tools.
    pub plain: bool,
    pub messages: Vec<Message>,
    /// The caller's own, which the caller runs.
    pub tools: Vec<ToolSpec>,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u32>,
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
/// other try then.
pub async fn answer(
    app: &Arc<App>,
    question: Question,
    stop: &CancellationToken,
    shown: impl Fn(String) + Send + Sync,
) -> Result<Reply> {
    let limit = Duration::from_secs(app.config.run_seconds);
    let late = Error::new(Kind::Timeout, format!("The answer took longer than {} seconds", limit.as_secs()))
        .hint("TERCEL_RUN_SECONDS sets the limit");
    tokio::time::timeout(limit, work(app, question, stop, &shown)).await.unwrap_or(Err(late))
}

async fn work(
    app: &Arc<App>,
    question: Question,
    stop: &CancellationToken,
    shown: &(dyn Fn(String) + Send + Sync),
) -> Result<Reply> {
    let answering = Answering::new(app, &question, stop);
    let mut run = run_of(app, question);
    answering.may_begin(&run).await?;
    let mut texts: Vec<String> = Vec::new();
    loop {
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Error, "The caller has gone"));
        }
        let step = match next(&run) {
            Next::CallModel { iteration, model, fallback, request, wait } => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => continue,
                }
                let gap = if texts.is_empty() { "" } else { "\n\n" };
                let watching = Watching::new(app, gap, shown);
                let step = answering.ask(iteration, model, fallback, &request, &watching).await;
                watching.finish();
                match &step {
                    Step::ModelFailed { error, .. } if watching.has_shown() => return Err(error.clone()),
                    Step::Model { answer, .. } if !answer.text.trim().is_empty() => texts.push(answer.text.clone()),
                    _ => {}
                }
                step
            }
            Next::CallTools(calls) => {
                let is_foreign = |call: &&Planned| call.action == Action::Run && answering.foreign.contains(&call.name);
                let foreign: Vec<ToolCall> = calls.iter().filter(is_foreign).map(as_written).collect();
                if !foreign.is_empty() {
                    return Ok(Reply {
                        text: texts.join("\n\n"),
                        tool_calls: foreign,
                        usage: run.usage(),
                        truncated: false,
                    });
                }
                let mut running: FuturesUnordered<_> =
                    calls.into_iter().map(|call| answering.call(&run, call)).collect();
                let mut steps = Vec::new();
                while let Some(step) = running.next().await {
                    steps.push(Committed { attempt: 1, step });
                }
                drop(running);
                run.steps.extend(steps);
                continue;
            }
            Next::Finish(Finish::Complete { .. }) => {
                let last = run.steps.iter().rev().find_map(|committed| match &committed.step {
                    Step::Model { answer, .. } => Some(answer.truncated),
                    _ => None,
                });
                let truncated = last.unwrap_or(false);
                return Ok(Reply { text: texts.join("\n\n"), tool_calls: Vec::new(), usage: run.usage(), truncated });
            }
            Next::Finish(Finish::Failed(error)) | Next::Park(error) => return Err(error),
        };
        run.steps.push(Committed { attempt: 1, step });
    }
}

/// What the agent is told: the bot's own words, then the conversation as it was sent.
fn run_of(app: &App, question: Question) -> Run {
    let Question { bot, plain, messages, tools, temperature, max_tokens } = question;
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
    if !plain {
        let own = prepare::tools(app, &bot, &Brief::default(), &mut unknown);
        let taken: HashSet<String> = offered.iter().map(|tool| tool.spec.name.clone()).collect();
        offered.extend(own.into_iter().filter(|tool| !taken.contains(&tool.spec.name)));
    }
    unknown.iter().for_each(|what| tracing::debug!(bot = bot.id, "{what}"));
    // What tools of the caller answered was written by whoever can write there.
    let tainted = messages.iter().any(|message| message.role == Role::Tool);
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
        temperature: temperature.or(bot.temperature),
        max_tokens: max_tokens.or(bot.max_tokens),
    }
}

fn as_written(call: &Planned) -> ToolCall {
    ToolCall { id: call.call_id.clone(), name: call.name.clone(), arguments: call.arguments.to_string() }
}

struct Answering<'a> {
    app: &'a Arc<App>,
    /// Tells calls of tools apart from those of other answers.
    id: Uuid,
    ids: Ids,
    stop: &'a CancellationToken,
    foreign: HashSet<String>,
}

impl<'a> Answering<'a> {
    fn new(app: &'a Arc<App>, question: &Question, stop: &'a CancellationToken) -> Self {
        let bot = question.bot.id.clone();
        let ids = Ids { client_id: Some(format!("completions:{bot}")), bot: Some(bot), ..Ids::default() };
        let foreign = question.tools.iter().map(|tool| tool.name.clone()).collect();
        Self { app, id: Uuid::now_v7(), ids, stop, foreign }
    }

    /// Runs are counted and not limited: who holds a key is the operator. Tokens are limited for all.
    async fn may_begin(&self, run: &Run) -> Result<()> {
        if self.app.chosen(&run.models[0], false).is_rehearsal() {
            return Ok(());
        }
        let (bot, client_id) = self.place();
        let ceilings = ceilings::of_run(self.app, bot, ORIGIN, client_id, false);
        if let Some(ceiling) = ceilings::first_spent(self.app, ceilings).await.map_err(stored)? {
            ceilings::report(self.app, &ceiling).await;
            let error = ceilings::error(&ceiling).hint(ceilings::repair(self.app, &ceiling));
            return Err(error.retry_after(Some(ceilings::left(self.app, &ceiling))));
        }
        let hour = ceilings::this_hour();
        let counts = Counts { runs: 1, ..Counts::default() };
        let run = self.whose().counters().into_iter().map(|scope| Spent { scope, hour, counts });
        self.app.store.spend(run.collect()).await.map_err(stored)
    }

    /// Bot and client.
    fn place(&self) -> (&str, &str) {
        (self.ids.bot.as_deref().unwrap_or_default(), self.ids.client_id.as_deref().unwrap_or_default())
    }

    fn whose(&self) -> Whose<'_> {
        let (bot, client_id) = self.place();
        ceilings::whose(self.app, bot, ORIGIN, client_id)
    }

    async fn spend(&self, model: &str, usage: Usage) {
        let spent = [(model.to_owned(), usage)];
        unpriced::look(self.app, &self.whose(), &spent).await;
        let spent = ceilings::account(self.app, &self.whose(), &spent);
        if let Err(error) = self.app.store.spend(spent).await {
            tracing::error!("Tokens could not be counted: {error}");
        }
    }

    async fn ask(
        &self,
        iteration: u32,
        model: String,
        fallback: bool,
        request: &tercel_sdk::chat::Request,
        watching: &Watching<'_>,
    ) -> Step {
        let (app, ids) = (self.app, &self.ids);
        let provider = app.chosen(&model, app.config.rehearse);
        crate::hooks::fire(app, ids, || hook::BeforeLlmCall {
            context: context_of(ids),
            model: model.clone(),
            message_count: request.messages.len(),
            tools_count: request.tools.len(),
            provider_id: provider.id().into(),
            iteration,
        });
        let http = app.plain_http(provider.base_url(), None, self.stop);
        let began = Instant::now();
        let meter = Meter::over(watching);
        let answered = provider.answer(&http, request, &meter).await;
        let catalog = app.catalog();
        let duration_ms = began.elapsed().as_millis() as u64;
        metrics::histogram!("tercel_model_seconds").record(began.elapsed().as_secs_f64());
        match answered {
            Ok(answer) => {
                let answer = catalog.redactor.answer(answer);
                if !provider.is_rehearsal() {
                    self.spend(&model, answer.usage).await;
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
                let error = catalog.redactor.error(error);
                tracing::warn!(model, "The model did not answer: {error}");
                let wasted = meter.reading();
                if wasted.total() > 0 {
                    self.spend(&model, wasted).await;
                }
                Step::ModelFailed { iteration, model, error, duration_ms }
            }
        }
    }

    async fn call(&self, run: &Run, call: Planned) -> Step {
        let (app, ids) = (self.app, &self.ids);
        let began = Instant::now();
        let output = match &call.action {
            Action::Say(output) => output.clone(),
            Action::Run => {
                let turns = run.steps.iter().filter(|committed| matches!(committed.step, Step::Model { .. })).count();
                crate::hooks::fire(app, ids, || hook::BeforeToolExecution {
                    context: context_of(ids),
                    tool_name: call.name.clone(),
                    tool_type: "local".into(),
                    args: call.arguments.clone(),
                    iteration: turns as u32,
                });
                let output = ToolOutput::of(self.run_tool(run, &call).await).untrusted();
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

    async fn run_tool(&self, run: &Run, asked: &Planned) -> Result<serde_json::Value> {
        let app = self.app;
        let _room = app.runs.steps.acquire().await.expect("the semaphore is never closed");
        let catalog = app.catalog();
        let gone = || Error::new(Kind::NotFound, format!("The tool `{}` is not there any more", asked.name));
        let owned = catalog.tools.get(&asked.name).ok_or_else(gone)?;
        let is_rehearsed = app.chosen(&run.models[0], false).is_rehearsal() || app.config.rehearse;
        let call = Call {
            ids: self.ids.clone(),
            mode: if is_rehearsed { Mode::Rehearse } else { Mode::Live },
            trust: if run.tainted { Trust::Untrusted } else { Trust::Trusted },
            idempotency_key: Some(format!("{}/{}", self.id, asked.call_id)),
            timeout: Some(app.config.limits.tool),
            cancel: self.stop.clone(),
        };
        let host = app.host(&owned.integration, crate::catalog::DEFAULT, call).ok_or_else(gone)?;
        super::execute(app, &owned.tool, host, asked.arguments.clone()).await
    }
}

fn stored(error: tercel_store::Error) -> Error {
    Error::new(Kind::Network, error.obstacle())
}

/// Passes a text on while it comes, without our secrets.
struct Watching<'a> {
    app: &'a App,
    /// What stands between this answer and the one before.
    gap: &'static str,
    tail: Mutex<Tail>,
    has_shown: AtomicBool,
    shown: &'a (dyn Fn(String) + Send + Sync),
}

impl<'a> Watching<'a> {
    fn new(app: &'a App, gap: &'static str, shown: &'a (dyn Fn(String) + Send + Sync)) -> Self {
        Self { app, gap, tail: Mutex::default(), has_shown: AtomicBool::new(false), shown }
    }

    fn has_shown(&self) -> bool {
        self.has_shown.load(Ordering::Relaxed)
    }

    fn show(&self, text: String) {
        if text.is_empty() {
            return;
        }
        match self.has_shown.swap(true, Ordering::Relaxed) {
            true => (self.shown)(text),
            false => (self.shown)(format!("{}{text}", self.gap)),
        }
    }

    fn finish(&self) {
        let rest = self.tail.lock().unwrap_or_else(PoisonError::into_inner).finish(&self.app.catalog().redactor);
        self.show(rest);
    }
}

impl Sink for Watching<'_> {
    fn text(&self, delta: &str) {
        let ready = self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(&self.app.catalog().redactor, delta);
        self.show(ready);
    }

    fn thinking(&self, _: &str) {}
}
