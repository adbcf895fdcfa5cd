//! The committed steps, read as turns: an answer of a model with the results of its calls.

use crate::{Committed, Step, ToolOutput};
use serde_json::Value;
use std::collections::HashSet;
use tercel_sdk::{Error, chat};

#[derive(Default)]
pub(crate) struct History<'r> {
    pub turns: Vec<Turn<'r>>,
    /// Since a person last resumed the run.
    pub failures: Vec<Failure<'r>>,
    /// Why the run waits, when it does.
    pub parked: Option<&'r Error>,
}

pub(crate) struct Turn<'r> {
    /// The first in which calls without a result may have begun.
    pub attempt: u32,
    /// As it was asked for.
    pub model: &'r str,
    pub answer: &'r chat::Answer,
    pub calls: Vec<Call<'r>>,
}

pub(crate) struct Call<'r> {
    /// The model's id, or ours where that is empty or taken.
    pub id: String,
    pub asked: &'r chat::ToolCall,
    pub done: Option<Done<'r>>,
}

pub(crate) struct Done<'r> {
    pub name: &'r str,
    pub arguments: &'r Value,
    pub output: &'r ToolOutput,
}

pub(crate) struct Failure<'r> {
    pub model: &'r str,
    pub error: &'r Error,
    /// How many turns there were when it happened.
    pub turns: usize,
}

impl<'r> History<'r> {
    pub fn read(steps: &'r [Committed]) -> Self {
        let mut history = Self::default();
        let mut ids = HashSet::new();
        for Committed { attempt, step } in steps {
            match step {
                Step::Model { model, answer, .. } => {
                    let turn = history.turns.len() + 1;
                    let calls = answer.tool_calls.iter().enumerate();
                    let calls = calls.map(|(index, asked)| Call {
                        id: unique(&asked.id, turn, index + 1, &mut ids),
                        asked,
                        done: None,
                    });
                    let calls = calls.collect();
                    history.turns.push(Turn { attempt: *attempt, model, answer, calls });
                }
                Step::ModelFailed { model, error, .. } => {
                    history.failures.push(Failure { model, error, turns: history.turns.len() });
                }
                Step::Tool { call_id, name, arguments, output, .. } => {
                    let calls = history.turns.last_mut().map(|turn| turn.calls.as_mut_slice()).unwrap_or_default();
                    if let Some(call) = calls.iter_mut().find(|call| call.id == *call_id && call.done.is_none()) {
                        call.done = Some(Done { name, arguments, output });
                    }
                }
                Step::Parked { error } => {
                    history.parked = Some(error);
                    // A run waits when nothing of it is under way: what has no result is begun by who goes on.
                    if let Some(turn) = history.turns.last_mut() {
                        turn.attempt = attempt + 1;
                    }
                }
                Step::Resumed { .. } => {
                    history.parked = None;
                    history.failures.clear();
                }
            }
        }
        history
    }
}

impl Turn<'_> {
    pub fn has_text(&self) -> bool {
        !self.answer.text.trim().is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && !self.has_text()
    }

    pub fn is_done(&self) -> bool {
        self.calls.iter().all(|call| call.done.is_some())
    }
}

/// Some models number their calls anew in every answer, or not at all; some providers refuse an id that they saw before.
/// The name depends on earlier steps only, so it stays the same for the whole run.
fn unique(id: &str, turn: usize, position: usize, taken: &mut HashSet<String>) -> String {
    let ours =
        (0..).map(|n| if n == 0 { format!("call_{turn}_{position}") } else { format!("call_{turn}_{position}_{n}") });
    let id = std::iter::once(id.to_owned())
        .filter(|id| !id.is_empty())
        .chain(ours)
        .find(|id| !taken.contains(id))
        .expect("there are more numbers than calls");
    taken.insert(id.clone());
    id
}
