//! The shape of an answer and of a piece of one, as lenient as the servers are.

use serde::Deserialize;
use serde_json::Value;
use tercel_sdk::chat::Usage;

#[derive(Debug, Default, Deserialize)]
pub struct Chunk {
    pub model: Option<String>,
    pub choices: Option<Vec<Choice>>,
    pub usage: Option<Counts>,
}

#[derive(Debug, Deserialize)]
pub struct Choice {
    pub index: Option<u64>,
    delta: Option<Turn>,
    message: Option<Turn>,
    pub finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Turn {
    pub content: Option<Value>,
    pub reasoning_content: Option<Value>,
    pub reasoning: Option<Value>,
    pub refusal: Option<String>,
    pub tool_calls: Option<Vec<Call>>,
    pub function_call: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Call {
    pub index: Option<u64>,
    pub id: Option<String>,
    pub function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Function {
    pub name: Option<String>,
    pub arguments: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Counts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    /// As DeepSeek says it.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl Choice {
    /// A piece of an answer and a whole one differ in the name only.
    pub fn turn(&mut self) -> Turn {
        self.delta.take().or_else(|| self.message.take()).unwrap_or_default()
    }
}

impl Counts {
    /// Some servers send zeros in place of counts.
    pub fn usage(self) -> Option<Usage> {
        let usage = Usage {
            prompt_tokens: self.prompt_tokens.unwrap_or(0),
            completion_tokens: self.completion_tokens.unwrap_or(0),
            cached_tokens: self.cached().unwrap_or(0).min(self.prompt_tokens.unwrap_or(0)),
            ..Usage::default()
        };
        (usage.total() > 0).then_some(usage)
    }

    fn cached(self) -> Option<u64> {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens).or(self.prompt_cache_hit_tokens)
    }
}

/// The two kinds of text that a content can hold.
#[derive(Debug, Default, PartialEq)]
pub struct Texts {
    pub text: String,
    pub thinking: String,
}

/// Content is text, or parts of which some are text, or missing.
pub fn texts(content: &Value) -> Texts {
    let mut texts = Texts::default();
    match content {
        Value::String(text) => texts.text.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| add(part, &mut texts)),
        Value::Object(_) => add(content, &mut texts),
        _ => {}
    }
    texts
}

fn add(part: &Value, texts: &mut Texts) {
    let of = |key: &str| part.get(key).map(|inner| self::texts(inner).text).unwrap_or_default();
    match part.get("type").and_then(Value::as_str) {
        Some("thinking" | "reasoning") => texts.thinking.push_str(&[of("thinking"), of("text")].concat()),
        Some("refusal") => texts.text.push_str(&of("refusal")),
        _ if part.is_string() => texts.text.push_str(part.as_str().unwrap_or_default()),
        _ => texts.text.push_str(&of("text")),
    }
}
