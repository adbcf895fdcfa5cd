//! Calling a model or a tool, for a run or without one: with its hooks and its measure, and without our secrets in what
//! comes back.

use super::{execute, pictures, prepare::context_of};
use crate::{
    app::{App, Call},
    connection::choice,
    consent::{Place, over},
    outbound::Seen,
    providers::Chosen,
};
use serde_json::Value;
use std::{sync::Arc, time::Instant};
use tercel_agent::{Action, Planned, Run, Step, ToolOutput, reads_untrusted};
use tercel_models::{Meter, Sink};
use tercel_sdk::{
    Error, Kind, Mode, Result, Trust,
    chat::{Request, Usage},
    hook,
    host::Ids,
};
use tercel_store::Uuid;
use tokio_util::sync::CancellationToken;

/// For whom something is called.
#[derive(Clone, Copy)]
pub struct Calling<'a> {
    pub app: &'a Arc<App>,
    pub ids: &'a Ids,
    pub stop: &'a CancellationToken,
}

pub struct Asked {
    pub iteration: u32,
    pub model: String,
    pub fallback: bool,
    pub request: Request,
}

/// What became of a call.
pub struct Called {
    pub step: Step,
    /// It did not happen because somebody has to agree first: it can be made when they have.
    pub lacking: Option<Lacking>,
}

pub struct Lacking {
    pub place: Place,
    pub error: Error,
}

/// How the tools of a run are called.
pub struct Tools<'a> {
    pub mode: Mode,
    /// Tells the calls of one run from those of others.
    pub key: String,
    /// What is answered, where that is kept.
    pub message: Option<Uuid>,
    pub run: &'a Run,
}

impl Calling<'_> {
    /// Answers the step, and what a call took that failed or was cut off all the same.
    pub async fn model(&self, provider: &Chosen, asked: Asked, sink: &dyn Sink) -> (Step, Usage) {
        let Self { app, ids, stop } = *self;
        let Asked { iteration, model, fallback, request } = asked;
        crate::hooks::fire(app, ids, || hook::BeforeLlmCall {
            context: context_of(ids),
            model: model.clone(),
            message_count: request.messages.len(),
            tools_count: request.tools.len(),
            provider_id: provider.id().into(),
            iteration,
        });
        let http = app.plain_http(provider.base_url(), ids.task, stop);
        let began = Instant::now();
        let meter = Meter::over(sink);
        let answered = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            answered = provider.answer(&http, &request, &meter) => Some(answered),
        };
        let catalog = app.catalog();
        let duration_ms = began.elapsed().as_millis() as u64;
        let costs = |taken: Usage| if provider.is_rehearsal() { Usage::default() } else { taken };
        let Some(answered) = answered else {
            let taken = costs(meter.cut_off(&request));
            let error = Error::new(Kind::Error, "The call was cut off");
            return (Step::ModelFailed { iteration, model, error, duration_ms }, taken);
        };
        metrics::histogram!("tercel_model_seconds").record(began.elapsed().as_secs_f64());
        match answered {
            Ok(answer) => {
                let answer = catalog.redactor.answer(answer);
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
                let provider = provider.id().into();
                (Step::Model { iteration, model, provider, answer, duration_ms, fallback }, Usage::default())
            }
            Err(error) => {
                let error = catalog.redactor.error(error);
                let task = ids.task.map(tracing::field::display);
                tracing::warn!(task.id = task, model, "The model did not answer: {error}");
                let taken = costs(meter.broken_off(&request));
                (Step::ModelFailed { iteration, model, error, duration_ms }, taken)
            }
        }
    }

    pub async fn tool(&self, tools: &Tools<'_>, call: Planned) -> Called {
        let began = Instant::now();
        let mut lacking = None;
        let output = match &call.action {
            Action::Say(output) => output.clone(),
            Action::Run => {
                self.begins(tools.run, &call, "local");
                // What a service answers was written by whoever can write there.
                let (mut answer, lacks) = self.run(tools, &call).await;
                lacking = lacks.zip(answer.as_ref().err().cloned());
                self.has_ended(&call, began.elapsed().as_millis() as u64);
                let pictures = match &mut answer {
                    Ok(answer) => pictures::take(self.app, answer, tools.message).await,
                    Err(_) => Vec::new(),
                };
                ToolOutput { pictures, ..ToolOutput::of(answer).untrusted() }
            }
        };
        let duration_ms = began.elapsed().as_millis() as u64;
        let step =
            Step::Tool { call_id: call.call_id, name: call.name, arguments: call.arguments, output, duration_ms };
        let lacking = lacking.map(|(place, error)| Lacking { place, error });
        Called { step, lacking }
    }

    pub fn begins(&self, run: &Run, call: &Planned, kind: &str) {
        let turns = run.steps.iter().filter(|committed| matches!(committed.step, Step::Model { .. })).count();
        crate::hooks::fire(self.app, self.ids, || hook::BeforeToolExecution {
            context: context_of(self.ids),
            tool_name: call.name.clone(),
            tool_type: kind.into(),
            args: call.arguments.clone(),
            iteration: turns as u32,
        });
    }

    pub fn has_ended(&self, call: &Planned, duration_ms: u64) {
        crate::hooks::fire(self.app, self.ids, || hook::AfterToolCall {
            context: context_of(self.ids),
            tool_name: call.name.clone(),
            tool_args: call.arguments.clone(),
            duration_ms,
        });
    }

    /// The answer, and whose consent is over if that is why there is none and nothing was changed.
    async fn run(&self, tools: &Tools<'_>, asked: &Planned) -> (Result<Value>, Option<Place>) {
        let seen = Arc::<Seen>::default();
        match self.answer(tools, asked, seen.clone()).await {
            Ok((answer, place, may_repeat)) => {
                let is_undone = may_repeat || !seen.has_changed();
                let is_refused = answer.as_ref().is_err_and(|error| error.kind == Kind::Auth);
                let is_over = is_refused && is_undone && over::of(self.app, &place).is_some();
                (answer, is_over.then_some(place))
            }
            Err(error) => (Err(error), None),
        }
    }

    async fn answer(
        &self,
        tools: &Tools<'_>,
        asked: &Planned,
        seen: Arc<Seen>,
    ) -> Result<(Result<Value>, Place, bool)> {
        let app = self.app;
        let _room = app.runs.steps.acquire().await.expect("the semaphore is never closed");
        let catalog = app.catalog();
        let gone = || {
            let why = catalog.obstacle_of_tool(&asked.name).map(|(_, why)| format!(": {why}")).unwrap_or_default();
            Error::new(Kind::NotFound, format!("The tool `{}` is not there any more{why}", asked.name))
        };
        let owned = catalog.tools.get(&asked.name).ok_or_else(gone)?;
        let entry = catalog.integrations.get(&owned.integration).ok_or_else(gone)?;
        let mut arguments = asked.arguments.clone();
        let chosen = match choice::take(was_offered(tools.run, &asked.name, &owned.tool), &mut arguments) {
            Some(chosen) => choice::named(app, &owned.integration, Some(&chosen))?,
            None => choice::of_run(&catalog, entry, self.ids).to_owned(),
        };
        let call = Call {
            ids: self.ids.clone(),
            mode: tools.mode,
            trust: if reads_untrusted(tools.run) { Trust::Untrusted } else { Trust::Trusted },
            idempotency_key: Some(format!("{}/{}", tools.key, asked.call_id)),
            timeout: Some(app.config.limits.tool),
            cancel: self.stop.clone(),
            // What code in a process of its own has done is not seen.
            seen: (!entry.listed.is_code()).then(|| seen.clone()),
            ..Call::default()
        };
        if entry.listed.is_code() {
            seen.unseen();
        }
        let host = app.host(&owned.integration, &chosen, call).ok_or_else(gone)?;
        let answer = execute(app, &owned.tool, host, arguments).await;
        crate::watchman::saw_in_use(app, &owned.integration, &chosen, &answer).await;
        Ok((answer, Place::new(&owned.integration, &chosen), owned.tool.may_repeat()))
    }
}

/// Whether the model could choose the connection.
fn was_offered(run: &Run, name: &str, tool: &tercel_sdk::Tool) -> bool {
    let has = |schema: &Value| schema["properties"].get(choice::ARGUMENT).is_some();
    let offered = run.tools.iter().find(|offered| offered.spec.name == name);
    offered.is_some_and(|offered| has(&offered.spec.parameters)) && !has(&tool.parameters)
}
