//! Whether a run goes in circles.

use crate::{Run, history::History};
use serde_json::Value;
use tercel_sdk::Effect;

/// In how many turns before the last one the call was made, one after the other with the same result. Once that is the
/// limit, the call is no longer run and every further turn counts. A change that another call made begins anew: what is
/// asked for again may then be different.
pub(crate) fn count(run: &Run, history: &History, name: &str, arguments: &Value) -> u32 {
    let limit = run.limits.repeats.max(1);
    let earlier = &history.turns[..history.turns.len().saturating_sub(1)];
    let mut changes: Vec<(&str, &Value)> = Vec::new();
    let mut count = 0;
    let mut result = None;
    for turn in earlier {
        for done in turn.calls.iter().filter_map(|call| call.done.as_ref()) {
            let is_same = done.name == name && done.arguments == arguments;
            let is_change = done.output.ok
                && !done.output.skipped
                && run.offered(done.name).is_none_or(|tool| tool.effect != Effect::Read)
                && !changes.contains(&(done.name, done.arguments));
            if is_change && !is_same {
                changes.push((done.name, done.arguments));
                count = 0;
                result = None;
            }
        }
        let mut results = turn.calls.iter().filter_map(|call| call.done.as_ref());
        let again = results.rfind(|done| done.name == name && done.arguments == arguments);
        if let Some(done) = again {
            let content = Some(done.output.content.as_str());
            count = if count >= limit || result == content { count + 1 } else { 1 };
            result = content;
        }
    }
    count
}
