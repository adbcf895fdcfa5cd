//! The calls of an answer, under the ids by which their results are told apart.

use crate::{Committed, history::History};
use tercel_sdk::chat::ToolCall;

/// The calls of the last answer among these steps of a run.
pub fn started(steps: &[Committed]) -> Vec<ToolCall> {
    let history = History::read(steps);
    let calls = history.turns.last().map(|turn| turn.calls.as_slice()).unwrap_or_default();
    calls.iter().map(|call| ToolCall { id: call.id.clone(), ..call.asked.clone() }).collect()
}
