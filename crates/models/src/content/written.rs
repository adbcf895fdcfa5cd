//! Calls that stand in a text: between tags, in a fence, or bare.

use super::{Content, FENCE, Input, Mode, Step, is_partial};
use crate::{
    calls,
    json::{self, Read},
};
use serde_json::Value;

pub const CALL: &str = "<tool_call>";
const END_OF_CALL: &str = "</tool_call>";

impl Content<'_> {
    pub(super) fn tagged(&mut self, start: usize, input: Input) -> Step {
        let inner = start + CALL.len();
        let (inner_end, end) = match self.pending.find(self.known.sought.max(inner), END_OF_CALL) {
            Some(at) => (at, at + END_OF_CALL.len()),
            None if input == Input::Complete => (self.pending.len(), self.pending.len()),
            None => {
                self.known.sought = self.pending.may_begin(END_OF_CALL);
                return Step::Wait;
            }
        };
        let values = json::values(&self.pending.rest()[inner..inner_end]);
        match values.and_then(|values| calls::written_in(&Value::Array(values), self.tools)) {
            Some(calls) => {
                let raw = self.cut(end);
                self.accept(raw, calls);
                Step::Taken
            }
            None => self.rest_of_prose(start),
        }
    }

    pub(super) fn fenced(&mut self, start: usize, input: Input) -> Step {
        let first = start + FENCE.len();
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        self.known.word = self.pending.skip(self.known.word.max(first), is_of_word);
        self.known.body = self.pending.skip(self.known.body.max(self.known.word), char::is_whitespace);
        let (word, body) = (self.known.word, self.known.body);
        if input == Input::MayGoOn && body == self.pending.len() {
            return Step::Wait;
        }
        let rest = self.pending.rest();
        let may_be_call = matches!(&rest[first..word], "" | "json" | "tool" | "tool_call" | "tool_calls" | "tool_code");
        match may_be_call && rest[body..].starts_with(['{', '[']) {
            true => self.json_at(start, body, input),
            false => self.code(start),
        }
    }

    pub(super) fn bare(&mut self, start: usize, input: Input) -> Step {
        self.json_at(start, start, input)
    }

    /// Takes JSON that may be calls: one value, or in a fence as many as follow each other.
    fn json_at(&mut self, start: usize, body: usize, input: Input) -> Step {
        let is_fence = body > start;
        if input == Input::MayGoOn && self.pending.len() < self.known.look_again_at {
            return Step::Wait;
        }
        self.known.used = self.known.used.max(body);
        while is_fence || self.known.values.is_empty() {
            self.known.after = self.pending.skip(self.known.after.max(self.known.used), char::is_whitespace);
            let at = self.known.after;
            if !self.pending.rest()[at..].starts_with(['{', '[']) {
                break;
            }
            match json::value(&self.pending.rest()[at..]) {
                Read::Value(value, length) => {
                    self.pending.look(length);
                    self.known.values.push(value);
                    self.known.used = at + length;
                }
                Read::Unfinished if input == Input::MayGoOn => {
                    let length = self.pending.len();
                    self.pending.look(length - at);
                    self.known.look_again_at = length + (length - at) / 4;
                    return Step::Wait;
                }
                _ if is_fence => return self.code(start),
                _ => return self.rest_of_prose(start),
            }
        }
        let end = match is_fence {
            true => match self.end_of_fence(input) {
                End::Unknown => return Step::Wait,
                End::None => return self.code(start),
                End::At(end) => end,
            },
            false => self.known.used,
        };
        let calls = calls::written_in(&Value::Array(std::mem::take(&mut self.known.values)), self.tools);
        let raw = self.cut(end);
        match calls {
            Some(calls) if self.found.text.is_empty() => self.accept(raw, calls),
            Some(calls) => self.held.push((raw, calls)),
            None => {
                self.at_line_start = false;
                self.show(&raw);
            }
        }
        Step::Taken
    }

    fn end_of_fence(&self, input: Input) -> End {
        let after = &self.pending.rest()[self.known.after..];
        match () {
            () if after.starts_with(FENCE) => End::At(self.known.after + FENCE.len()),
            () if input == Input::MayGoOn && is_partial(after, FENCE) => End::Unknown,
            () if after.is_empty() => End::At(self.pending.len()),
            () => End::None,
        }
    }

    fn code(&mut self, start: usize) -> Step {
        self.mode = Mode::Code;
        self.rest_of_prose(start)
    }
}

enum End {
    At(usize),
    /// More must come before it is known.
    Unknown,
    None,
}
