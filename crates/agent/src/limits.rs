//! How far a run may go.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A model that asks for a longer pause than this is passed over.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Answers of models in one run. The last one is asked for without tools. At least 1.
    pub iterations: u32,
    /// Tool calls in one answer; the rest is not run.
    pub calls_per_turn: u32,
    /// The same call with the same result: after this many it is not run again, two further requests end the run.
    pub repeats: u32,
    /// Further tries of one model after a failure that may pass.
    pub retries: u32,
    /// Tokens of all model calls of the run, in and out, all attempts together.
    pub tokens: u64,
    /// What a model reads of one tool result.
    pub result_characters: usize,
    /// About the tokens that one request may have: older tool results are left out beyond it.
    pub context_tokens: usize,
}

impl Default for Limits {
    /// Enough for long work, and an end to a run that got lost before it is expensive: 25 answers, 16 calls in one, 3
    /// equal results, 3 retries, 500,000 tokens, 20,000 characters of a result, requests of 100,000 tokens.
    fn default() -> Self {
        Self {
            iterations: 25,
            calls_per_turn: 16,
            repeats: 3,
            retries: 3,
            tokens: 500_000,
            result_characters: 20_000,
            context_tokens: 100_000,
        }
    }
}
