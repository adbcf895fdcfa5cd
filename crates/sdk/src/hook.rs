//! What happens in a run, as integrations may watch it. The event's type says whether it can be answered.

use crate::{FromHost, Handler, Result, erased::erase};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::future::Future;

/// Where it happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub bot_id: Option<String>,
    pub session_id: Option<String>,
    pub channel_id: Option<String>,
    pub client_id: Option<String>,
    pub correlation_id: Option<String>,
}

/// An event of a run. `Answer` is `()` for one that is only watched.
pub trait HookEvent: DeserializeOwned + Serialize + Send + 'static {
    const NAME: &'static str;
    type Answer: Serialize;
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal -> $answer:ty { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub context: Context,
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl HookEvent for $name {
            const NAME: &'static str = $text;
            type Answer = $answer;
        }
    )*

        /// Every event there is, by name.
        pub const NAMES: &[&str] = &[$($text),*];
    };
}

events! {
    /// Before the context of a run is put together.
    BeforeContextAssembly = "before_context_assembly" -> () { user_message: String }
    BeforeLlmCall = "before_llm_call" -> () {
        model: String,
        message_count: usize,
        tools_count: usize,
        provider_id: String,
        /// From 1.
        iteration: u32,
    }
    AfterLlmCall = "after_llm_call" -> () {
        model: String,
        duration_ms: u64,
        prompt_tokens: u64,
        completion_tokens: u64,
        total_tokens: u64,
        tool_calls_count: usize,
        fallback_used: bool,
        fallback_model: Option<String>,
        iteration: u32,
        provider_id: String,
    }
    /// After the checks have passed, before the tool runs.
    BeforeToolExecution = "before_tool_execution" -> () {
        tool_name: String,
        /// `local`, `mcp` or `client`.
        tool_type: String,
        args: Value,
        iteration: u32,
    }
    AfterToolCall = "after_tool_call" -> () { tool_name: String, tool_args: Value, duration_ms: u64 }
    AfterResponse = "after_response" -> () {
        response_length: usize,
        tool_calls_made: Vec<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        error: bool,
    }
    AfterTaskComplete = "after_task_complete" -> () { task_id: String, task_type: String, status: String }
    /// The first answer that is not null is the transcript.
    BeforeTranscription = "before_transcription" -> Option<String> {
        audio_format: String,
        audio_size_bytes: usize,
        source: String,
    }
}

/// Of which runs a hook wants to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watches {
    /// Those that have to do with the integration: its dispatch type, its client ids.
    #[default]
    Stake,
    All,
}

/// A hook part.
#[derive(Clone)]
pub struct Hook {
    pub event: &'static str,
    /// Of which runs it wants to know.
    pub watches: Watches,
    pub handler: Handler,
}

impl Hook {
    pub(crate) fn new<H, E, F, Fut>(function: F) -> Self
    where
        H: FromHost,
        E: HookEvent,
        F: Fn(H, E) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<E::Answer>> + Send + 'static,
    {
        Self { event: E::NAME, watches: Watches::All, handler: erase(function) }
    }
}

/// `context` and `data` of an event, as hook webhooks carry them.
pub fn split(event: Value) -> (Value, Map<String, Value>) {
    match event {
        Value::Object(mut map) => (map.shift_remove("context").unwrap_or_default(), map),
        _ => (Value::Null, Map::new()),
    }
}
