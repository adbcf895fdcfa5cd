//! The decision itself.

use crate::{
    Finish, Next, Run, Step, calls,
    fallback::{self, Choice},
    history::{History, Turn},
    transcript::{self, Closing},
};
use tercel_sdk::{Error, Kind, chat};

/// What is to be done now. The same run always gets the same answer.
pub fn next(run: &Run) -> Next {
    let history = History::read(&run.steps);
    if let Some(error) = history.parked {
        return Next::Park(error.clone());
    }
    let Some(turn) = history.turns.last() else { return call_model(run, &history) };
    if history.turns.len() >= most_turns(run) {
        return finish_at_the_limit(run, turn);
    }
    if !turn.calls.is_empty() {
        return if turn.is_done() { call_model(run, &history) } else { call_tools(run, &history) };
    }
    if turn.has_text() {
        return complete(run, turn);
    }
    if history.turns.iter().rev().take(2).filter(|turn| turn.is_empty()).count() == 2 {
        return failed(answered_nothing(turn));
    }
    call_model(run, &history)
}

fn call_tools(run: &Run, history: &History) -> Next {
    if let Some(error) = over_tokens(run) {
        return failed(error);
    }
    match calls::plan(run, history) {
        Ok(planned) => Next::CallTools(planned),
        Err(error) => failed(error),
    }
}

fn call_model(run: &Run, history: &History) -> Next {
    if let Some(error) = over_tokens(run) {
        return failed(error);
    }
    let iteration = history.turns.len() + 1;
    let is_last = iteration >= most_turns(run);
    let closing = match history.turns.last() {
        _ if is_last => Closing::LastCall,
        Some(turn) if turn.is_empty() => Closing::Nudge,
        _ => Closing::None,
    };
    match fallback::choose(run, history) {
        Choice::Call { model, fallback, wait } => Next::CallModel {
            iteration: u32::try_from(iteration).unwrap_or(u32::MAX),
            model: model.to_owned(),
            fallback,
            request: chat::Request {
                model: model.to_owned(),
                messages: transcript::messages(run, history, closing),
                tools: if is_last { Vec::new() } else { run.tools.iter().map(|tool| tool.spec.clone()).collect() },
                temperature: run.temperature,
                max_tokens: run.max_tokens,
                shape: run.shape.clone(),
            },
            wait,
        },
        Choice::Park(error) => Next::Park(error),
        Choice::Fail(error) => failed(error),
    }
}

fn most_turns(run: &Run) -> usize {
    run.limits.iterations.max(1) as usize
}

fn finish_at_the_limit(run: &Run, turn: &Turn) -> Next {
    if turn.has_text() {
        return complete(run, turn);
    }
    let limit = run.limits.iterations.max(1);
    failed(
        Error::new(Kind::Error, format!("The run reached its limit of {limit} model calls without an answer"))
            .hint("Ask for less at once, or raise the bot's limit `iterations`"),
    )
}

fn complete(run: &Run, turn: &Turn) -> Next {
    let mut text = turn.answer.text.trim_end().to_owned();
    if turn.answer.truncated {
        text.push_str("\n\n[The answer ends here because it reached the model's length limit.]");
    }
    Next::Finish(Finish::Complete { text, tools_used: tools_used(run) })
}

/// Names of the tools that were called, each once, in order.
pub fn tools_used(run: &Run) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for committed in &run.steps {
        if let Step::Tool { name, output, .. } = &committed.step
            && !output.skipped
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
    names
}

fn answered_nothing(turn: &Turn) -> Error {
    let error = Error::new(Kind::Error, format!("The model answered nothing, twice (`{}`)", turn.answer.model));
    if turn.answer.truncated {
        return error.hint("It reached its length limit before it wrote anything: raise the bot's `max_tokens`");
    }
    error.hint("Try again, or give the bot another model")
}

fn over_tokens(run: &Run) -> Option<Error> {
    let used = run.usage().total();
    (used > run.limits.tokens).then(|| {
        let limit = run.limits.tokens;
        Error::new(Kind::Error, format!("The run used {used} tokens; its limit is {limit}"))
            .hint("Ask for less at once, or raise the bot's limit `tokens`")
    })
}

fn failed(error: Error) -> Next {
    Next::Finish(Finish::Failed(error))
}
