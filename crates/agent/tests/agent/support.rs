//! Runs written short.

use serde_json::{Value, json};
use tercel_agent::{Action, Committed, Finish, Limits, Next, Offered, Planned, Run, Step, ToolOutput, next};
use tercel_sdk::{Effect, Error, chat};

/// A run of the models `big` and `small` with a tool of each effect.
pub fn run() -> Run {
    Run {
        attempt: 1,
        context: vec![chat::Message::system("Be brief."), chat::Message::user("Hi")],
        steps: Vec::new(),
        tools: vec![tool("read", Effect::Read), tool("write", Effect::Write), tool("destroy", Effect::Destroy)],
        models: vec!["big".into(), "small".into()],
        limits: Limits::default(),
        tainted: false,
        temperature: Some(0.5),
        max_tokens: Some(100),
        shape: chat::Shape::default(),
    }
}

pub fn tool(name: &str, effect: Effect) -> Offered {
    let parameters = json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "text": {"type": "string"}},
        "additionalProperties": false
    });
    let spec = chat::ToolSpec { name: name.into(), description: format!("{name}s"), parameters };
    Offered { spec, effect, may_repeat: effect == Effect::Read, allowed: false }
}

pub trait Steps: Sized {
    fn with(self, step: Step) -> Self;
    fn attempt(self, attempt: u32) -> Self;

    fn text(self, text: &str) -> Self {
        self.with(model("big", answer(text, &[])))
    }

    /// An answer that calls tools: `(id, name, arguments)`.
    fn calls(self, calls: &[(&str, &str, &str)]) -> Self {
        self.with(model("big", answer("", calls)))
    }

    fn result(self, id: &str, name: &str, arguments: Value, content: &str) -> Self {
        self.with(result(
            id,
            name,
            arguments,
            ToolOutput { ok: true, content: content.into(), ..ToolOutput::default() },
        ))
    }

    fn fails(self, model: &str, error: Error) -> Self {
        self.with(Step::ModelFailed { iteration: 1, model: model.into(), error, duration_ms: 1 })
    }
}

impl Steps for Run {
    fn with(mut self, step: Step) -> Self {
        self.steps.push(Committed { attempt: self.attempt, step });
        self
    }

    fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

pub fn model(name: &str, answer: chat::Answer) -> Step {
    Step::Model { iteration: 1, model: name.into(), provider: "p".into(), answer, duration_ms: 1, fallback: false }
}

pub fn answer(text: &str, calls: &[(&str, &str, &str)]) -> chat::Answer {
    let call = |&(id, name, arguments): &(&str, &str, &str)| chat::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    chat::Answer {
        text: text.into(),
        tool_calls: calls.iter().map(call).collect(),
        usage: chat::Usage { prompt_tokens: 10, completion_tokens: 5, ..chat::Usage::default() },
        model: "big-2026".into(),
        truncated: false,
        repairs: Vec::new(),
    }
}

pub fn result(id: &str, name: &str, arguments: Value, output: ToolOutput) -> Step {
    Step::Tool { call_id: id.into(), name: name.into(), arguments, output, duration_ms: 1 }
}

pub fn request(run: &Run) -> chat::Request {
    match next(run) {
        Next::CallModel { request, .. } => request,
        other => panic!("a model call was expected, not {other:?}"),
    }
}

pub fn planned(run: &Run) -> Vec<Planned> {
    match next(run) {
        Next::CallTools(planned) => planned,
        other => panic!("tool calls were expected, not {other:?}"),
    }
}

/// What is said instead of running the only call that is due; `run` when it is run.
pub fn said(run: &Run) -> String {
    match planned(run).as_slice() {
        [Planned { action: Action::Say(output), .. }] => {
            assert!(output.skipped && !output.ok);
            output.content.clone()
        }
        [Planned { action: Action::Run, .. }] => "run".into(),
        other => panic!("one call was expected, not {other:?}"),
    }
}

pub fn complete(run: &Run) -> (String, Vec<String>) {
    match next(run) {
        Next::Finish(Finish::Complete { text, tools_used }) => (text, tools_used),
        other => panic!("an end was expected, not {other:?}"),
    }
}

pub fn failed(run: &Run) -> Error {
    match next(run) {
        Next::Finish(Finish::Failed(error)) => error,
        other => panic!("a failure was expected, not {other:?}"),
    }
}
