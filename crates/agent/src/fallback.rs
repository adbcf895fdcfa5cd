//! Which model is asked, after what pause, and what becomes of the run when none is left.

use crate::{
    Run,
    history::{Failure, History},
    limits::LONGEST_WAIT,
};
use std::time::Duration;
use tercel_sdk::{Error, Kind};

pub(crate) enum Choice<'r> {
    Call { model: &'r str, fallback: bool, wait: Duration },
    Park(Error),
    Fail(Error),
}

/// The model that answered last goes on; after it come those behind it in the list, then those before it.
pub(crate) fn choose<'r>(run: &'r Run, history: &History<'r>) -> Choice<'r> {
    let Some(first) = run.models.first() else {
        return Choice::Park(
            Error::not_configured("No model is set for this bot").hint("Give the bot a model, then resume the run"),
        );
    };
    let start =
        history.turns.last().and_then(|turn| run.models.iter().position(|model| model == turn.model)).unwrap_or(0);
    let mut tried = Vec::new();
    for model in run.models[start..].iter().chain(&run.models[..start]) {
        match state(run, history, model) {
            State::Ready(wait) => return Choice::Call { model, fallback: model != first, wait },
            State::Out { error, needs_person, times } => {
                if !tried.iter().any(|out: &Out| out.model == model) {
                    tried.push(Out { model, error, needs_person, times });
                }
            }
        }
    }
    none_left(&tried)
}

/// The models whose failures a run waits for that parks now: when one of them answers, it can go on.
pub fn awaited(run: &Run) -> Vec<String> {
    let history = History::read(&run.steps);
    let is_awaited = |model: &&String| matches!(state(run, &history, model), State::Out { needs_person: true, .. });
    run.models.iter().filter(is_awaited).cloned().collect()
}

struct Out<'r> {
    model: &'r str,
    error: &'r Error,
    needs_person: bool,
    times: usize,
}

enum State<'r> {
    Ready(Duration),
    Out { error: &'r Error, needs_person: bool, times: usize },
}

fn state<'r>(run: &Run, history: &History<'r>, model: &str) -> State<'r> {
    let failures: Vec<&Failure<'r>> = history.failures.iter().filter(|failure| failure.model == model).collect();
    let mut passing = 0;
    let mut wait = Duration::ZERO;
    for Failure { error, turns, .. } in &failures {
        let is_current = *turns == history.turns.len();
        let out = |needs_person| State::Out { error, needs_person, times: failures.len() };
        match reaction(error) {
            // It may be asked again by now.
            Reaction::PassOver if !is_current => {}
            Reaction::AskPerson | Reaction::PassOver => return out(true),
            Reaction::NextModel => return out(false),
            // What passed before the last answer says nothing about now.
            Reaction::Retry if !is_current => {}
            Reaction::Retry => {
                passing += 1;
                if error.retry_after.is_some_and(|asked| asked > LONGEST_WAIT) {
                    return out(true);
                }
                if passing > run.limits.retries {
                    return out(false);
                }
                wait = error.retry_after.unwrap_or_else(|| backoff(passing));
            }
        }
    }
    State::Ready(wait)
}

enum Reaction {
    Retry,
    NextModel,
    /// The next model, and a person when there is none.
    AskPerson,
    /// The next model for now; with none left the run waits.
    PassOver,
}

fn reaction(error: &Error) -> Reaction {
    match error.kind {
        _ if error.not_asked => Reaction::PassOver,
        _ if error.status == Some(402) => Reaction::AskPerson,
        Kind::Auth | Kind::NotConfigured => Reaction::AskPerson,
        Kind::Forbidden | Kind::NotFound | Kind::Schema | Kind::Unsupported | Kind::MissingDependency => {
            Reaction::NextModel
        }
        // Asking a model changes nothing, so a lost answer may be asked for again.
        Kind::RateLimited | Kind::Network | Kind::Timeout | Kind::UnknownOutcome | Kind::Error => Reaction::Retry,
    }
}

fn backoff(failures: u32) -> Duration {
    Duration::from_secs(2u64.saturating_pow(failures.saturating_sub(1))).min(LONGEST_WAIT)
}

fn none_left<'r>(tried: &[Out<'_>]) -> Choice<'r> {
    let Some(last) = tried.last() else {
        return Choice::Fail(Error::new(Kind::Error, "No model answered"));
    };
    let message = match tried {
        [only] if only.times == 1 => format!("The model `{}` did not answer: {}", only.model, only.error.message),
        _ => {
            let list: Vec<String> = tried
                .iter()
                .map(|out| match out.times {
                    1 => format!("`{}`: {}", out.model, out.error.message),
                    times => format!("`{}`, tried {times} times: {}", out.model, out.error.message),
                })
                .collect();
            format!("No model answered. {}", list.join("; "))
        }
    };
    match tried.iter().find(|out| out.needs_person) {
        Some(out) => {
            let hint = out.error.hint.clone().unwrap_or_else(|| what_to_do(out.error).to_owned());
            Choice::Park(Error { message, hint: Some(hint), ..out.error.clone() })
        }
        None => Choice::Fail(Error { message, ..last.error.clone() }),
    }
}

fn what_to_do(error: &Error) -> &'static str {
    match error.kind {
        _ if error.not_asked => "The run goes on by itself; give the bot a fallback model to go on at once",
        _ if error.status == Some(402) => "Add credit at the provider, then resume the run",
        Kind::RateLimited => "Wait until the provider's limit is reset or raise it, then resume the run",
        Kind::Auth => "Set a valid key for the model provider, then resume the run",
        _ => "Mend the model's settings, then resume the run",
    }
}
