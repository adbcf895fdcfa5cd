//! What becomes of the tool calls of an answer.

use crate::{
    Action, Offered, Planned, Run, ToolOutput, arguments,
    history::{Call, History, Turn},
    nearest::nearest,
    policy, repeats,
};
use serde_json::Value;
use tercel_sdk::{Error, Kind, Trust};

/// The calls of the last turn that have no result yet.
///
/// # Errors
/// When the run goes in circles.
pub(crate) fn plan(run: &Run, history: &History) -> Result<Vec<Planned>, Error> {
    let Some(turn) = history.turns.last() else { return Ok(Vec::new()) };
    let due = turn.calls.iter().enumerate().filter(|(_, call)| call.done.is_none());
    due.map(|(position, call)| plan_one(run, history, turn, position, call)).collect()
}

fn plan_one(run: &Run, history: &History, turn: &Turn, position: usize, call: &Call) -> Result<Planned, Error> {
    let name = &call.asked.name;
    let (arguments, verdict) = judge(run, history, turn, position, call);
    let repeated = repeats::count(run, history, name, &arguments);
    let limit = run.limits.repeats.max(1);
    if repeated >= limit.saturating_add(2) {
        return Err(Error::new(
            Kind::Error,
            format!("The agent went in circles: it asked for `{name}` with the same arguments {repeated} times"),
        )
        .hint("Say more exactly what it should do, or give the bot another model"));
    }
    let action = match verdict {
        Err(why) => Action::Say(ToolOutput::skipped(why)),
        Ok(_) if repeated >= limit => Action::Say(ToolOutput::skipped(format!(
            "Not run: `{name}` was called with these arguments in {limit} turns and the result was the same each time. \
             Use that result, try something else, or answer with what you know."
        ))),
        Ok(tool) if turn.attempt < run.attempt && !tool.may_repeat => Action::Say(ToolOutput::skipped(format!(
            "outcome unknown: the call of `{name}` was started, then the server stopped. It may have happened or not: \
             check before doing it again."
        ))),
        Ok(_) => Action::Run,
    };
    Ok(Planned { call_id: call.id.clone(), name: name.clone(), arguments, action })
}

/// The arguments as far as they can be read, and the tool, or why it cannot be called.
fn judge<'r>(
    run: &'r Run,
    history: &History,
    turn: &Turn,
    position: usize,
    call: &Call,
) -> (Value, Result<&'r Offered, String>) {
    let (arguments, malformed) = match arguments::parse(&call.asked.arguments) {
        Ok(arguments) => (arguments, None),
        Err(problem) => (call.asked.arguments.clone().into(), Some(problem)),
    };
    let tool = match tool_for(run, turn, position, call, malformed) {
        Ok(tool) => tool,
        Err(why) => return (arguments, Err(why)),
    };
    let checked = arguments::check(&tool.spec, arguments);
    let verdict = match checked.problem {
        Some(problem) => Err(problem),
        None => policy::may_call(tool, is_tainted(run, history)).map(|()| tool),
    };
    (checked.arguments, verdict)
}

fn tool_for<'r>(
    run: &'r Run,
    turn: &Turn,
    position: usize,
    call: &Call,
    malformed: Option<String>,
) -> Result<&'r Offered, String> {
    const TOO_LONG: &str = "Your answer reached the length limit inside this call. Write less at once.";
    let most = run.limits.calls_per_turn.max(1) as usize;
    if position >= most {
        return Err(format!("Not run: one answer may make at most {most} tool calls. Ask again for the rest."));
    }
    let tool = run.offered(&call.asked.name).ok_or_else(|| unknown(run, &call.asked.name))?;
    let is_cut = turn.answer.truncated && position + 1 == turn.calls.len();
    match malformed {
        Some(problem) if is_cut => Err(format!("{problem} {TOO_LONG}")),
        Some(problem) => Err(problem),
        // A mended end of a cut call would be half of what was meant.
        None if is_cut && !turn.answer.repairs.is_empty() => Err(format!("Not run. {TOO_LONG}")),
        None => Ok(tool),
    }
}

/// Whether the calls that a run makes now were asked for by a model that had read what nobody vouches for.
pub fn reads_untrusted(run: &Run) -> bool {
    is_tainted(run, &History::read(&run.steps))
}

/// What the last turn's calls return was not read when they were asked for, so it does not count.
fn is_tainted(run: &Run, history: &History) -> bool {
    let earlier = &history.turns[..history.turns.len().saturating_sub(1)];
    let mut results = earlier.iter().flat_map(|turn| &turn.calls).filter_map(|call| call.done.as_ref());
    run.tainted || results.any(|done| done.output.trust == Trust::Untrusted)
}

fn unknown(run: &Run, name: &str) -> String {
    let names = || run.tools.iter().map(|tool| tool.spec.name.as_str());
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let near = nearest(name, names());
    if run.tools.is_empty() {
        return format!("There is no tool `{name}`: this run has no tools. Answer in words.");
    }
    if near.is_empty() {
        return format!("There is no tool `{name}`. There are: {}.", quoted(&names().take(40).collect::<Vec<_>>()));
    }
    format!("There is no tool `{name}`. Did you mean {}?", quoted(&near))
}
