//! A run as it is stored, and what can be next.

use crate::Limits;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use tercel_sdk::{self as sdk, Effect, Kind, Trust, chat};

#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Counts the workers that had this run, from 1.
    pub attempt: u32,
    /// What the conversation looked like when the run began; see [`crate::assemble`].
    pub context: Vec<chat::Message>,
    /// In the order of their commits.
    pub steps: Vec<Committed>,
    pub tools: Vec<Offered>,
    /// The bot's model or the override, then the fallbacks.
    pub models: Vec<String>,
    pub limits: Limits,
    /// The context holds text of somebody who is not trusted.
    pub tainted: bool,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u32>,
    pub shape: chat::Shape,
}

impl Run {
    /// Tokens of all model calls, whichever attempt made them.
    pub fn usage(&self) -> chat::Usage {
        let mut sum = chat::Usage::default();
        for committed in &self.steps {
            if let Step::Model { answer, .. } = &committed.step {
                sum += answer.usage;
            }
        }
        sum
    }

    pub(crate) fn offered(&self, name: &str) -> Option<&Offered> {
        self.tools.iter().find(|tool| tool.spec.name == name)
    }
}

/// A step and the attempt that committed it. A step of an earlier attempt belongs to a dead worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    pub attempt: u32,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    pub spec: chat::ToolSpec,
    pub effect: Effect,
    /// A call that was started and never finished may be made again.
    pub may_repeat: bool,
    /// Named by an operator folder's own event: allowed though the run is tainted, unless it destroys.
    pub allowed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    /// Its tool calls count as started from here.
    Model {
        iteration: u32,
        model: String,
        provider: String,
        answer: chat::Answer,
        duration_ms: u64,
        fallback: bool,
    },
    ModelFailed {
        iteration: u32,
        model: String,
        error: sdk::Error,
        duration_ms: u64,
    },
    Tool {
        call_id: String,
        name: String,
        arguments: Value,
        output: ToolOutput,
        duration_ms: u64,
    },
    Parked {
        error: sdk::Error,
    },
    /// Somebody mended what stood in the way: earlier failures of models no longer count.
    Resumed {
        by: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolOutput {
    pub ok: bool,
    /// What the model reads.
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_action: Option<Value>,
    /// What it showed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
    /// The tool was not run; the content says why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Untrusted text is marked as such, and taints what comes after it.
    #[serde(default)]
    pub trust: Trust,
}

/// A picture that a tool showed. Its bytes are kept elsewhere; a step says only where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The attachment.
    pub id: String,
    /// Absent where the bytes are not there any more.
    #[serde(skip)]
    pub image: Option<chat::Image>,
}

impl ToolOutput {
    /// What a tool answered, as a model reads it. A `client_action` beside the result is taken out of it, images that
    /// nobody has taken out are left out.
    pub fn of(result: sdk::Result<Value>) -> Self {
        match result {
            Ok(Value::String(content)) => Self { ok: true, content, ..Self::default() },
            Ok(mut value) => {
                let client_action = value.as_object_mut().and_then(|object| object.shift_remove("client_action"));
                if let Some(images) = value.get_mut("injected_images")
                    && let Some(count) = images.as_array().map(Vec::len)
                {
                    *images = format!("{count} of them, which cannot be shown here").into();
                }
                Self { ok: true, content: value.to_string(), client_action, ..Self::default() }
            }
            Err(error) => Self { content: failure(&error), ..Self::default() },
        }
    }

    pub fn untrusted(self) -> Self {
        Self { trust: Trust::Untrusted, ..self }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { content: why.into(), skipped: true, ..Self::default() }
    }
}

fn failure(error: &sdk::Error) -> String {
    let mut object = Map::new();
    object.insert("error".into(), error.message.clone().into());
    object.insert("code".into(), error.kind.as_str().into());
    if let Some(hint) = &error.hint {
        object.insert("hint".into(), hint.clone().into());
    }
    if error.kind == Kind::UnknownOutcome {
        object.insert("note".into(), "It may have happened all the same: check before doing it again.".into());
    }
    Value::Object(object).to_string()
}

#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    CallModel {
        /// From 1.
        iteration: u32,
        model: String,
        fallback: bool,
        request: chat::Request,
        /// Before the call.
        wait: Duration,
    },
    /// What of the last answer has no result yet.
    CallTools(Vec<Planned>),
    Finish(Finish),
    /// Wait for a person, or for `retry_after` where the error has one; then commit `Resumed`.
    Park(sdk::Error),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Unique in the run; the step must carry it.
    pub call_id: String,
    pub name: String,
    /// As the tool shall get them, and as the step must carry them.
    pub arguments: Value,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Run,
    /// Not run: this is the result.
    Say(ToolOutput),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    Complete {
        text: String,
        /// Names of the tools that ran, each once, in order of their first use.
        tools_used: Vec<String>,
    },
    Failed(sdk::Error),
}
