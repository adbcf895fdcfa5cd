//! Tokens of a provider that does not count them: a ceiling that never counts would be no ceiling.

use tercel_sdk::chat::{Request, ToolCall, Usage};

const CHARACTERS_PER_TOKEN: u64 = 4;
/// A picture takes about as many tokens as so many characters.
const PER_IMAGE: u64 = 5000;

pub fn estimate(request: &Request, text: &str, calls: &[ToolCall]) -> Usage {
    let messages = request.messages.iter().map(|message| {
        length(&message.content) + of_calls(&message.tool_calls) + message.images.len() as u64 * PER_IMAGE
    });
    let tools = request
        .tools
        .iter()
        .map(|tool| length(&tool.name) + length(&tool.description) + length(&tool.parameters.to_string()));
    Usage {
        prompt_tokens: tokens(messages.chain(tools).sum()),
        completion_tokens: tokens(length(text) + of_calls(calls)),
        ..Usage::default()
    }
}

fn of_calls(calls: &[ToolCall]) -> u64 {
    calls.iter().map(|call| length(&call.name) + length(&call.arguments)).sum()
}

fn length(text: &str) -> u64 {
    text.chars().count() as u64
}

fn tokens(characters: u64) -> u64 {
    characters.div_ceil(CHARACTERS_PER_TOKEN)
}
