//! Reads the text of an answer as it comes: thinking and tool calls that are written into it are taken out.
//!
//! What counts stands at the beginning of a line. The result depends on the text alone, not on the pieces it came in.

use crate::{
    Sink, calls,
    calls::Draft,
    json::{self, Read},
};
use serde_json::Value;
use tercel_sdk::chat::ToolSpec;

pub struct Content<'a> {
    tools: &'a [ToolSpec],
    sink: &'a dyn Sink,
    /// What is not decided yet.
    pending: String,
    mode: Mode,
    at_line_start: bool,
    has_thought: bool,
    /// Unfinished JSON is read again when it has grown to this, so that long ones cost no more than short ones.
    look_again_at: usize,
    /// Calls after which nothing may follow but more calls: in the midst of prose they are a quotation.
    held: Vec<(String, Vec<Draft>)>,
    found: Found,
}

#[derive(Debug, Default)]
pub struct Found {
    pub text: String,
    pub calls: Vec<Draft>,
    /// The calls as they were written, to put them back.
    pub raw: Vec<String>,
    pub repairs: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Prose,
    Thinking,
    Code,
}

#[derive(Clone, Copy, PartialEq)]
enum Input {
    MayGoOn,
    Complete,
}

enum Step {
    Taken,
    Wait,
}

const THINK: &str = "<think>";
const END_OF_THINK: &str = "</think>";
const CALL: &str = "<tool_call>";
const END_OF_CALL: &str = "</tool_call>";
const FENCE: &str = "```";

impl<'a> Content<'a> {
    pub fn new(tools: &'a [ToolSpec], sink: &'a dyn Sink) -> Self {
        Self {
            tools,
            sink,
            pending: String::new(),
            mode: Mode::Prose,
            at_line_start: true,
            has_thought: false,
            look_again_at: 0,
            held: Vec::new(),
            found: Found::default(),
        }
    }

    pub fn push(&mut self, piece: &str) {
        self.pending.push_str(piece);
        self.advance(Input::MayGoOn);
    }

    pub fn finish(mut self) -> Found {
        self.advance(Input::Complete);
        if self.mode == Mode::Thinking {
            self.found.repairs.push("the thinking was never closed".into());
        }
        for (raw, calls) in std::mem::take(&mut self.held) {
            self.accept(raw, calls);
        }
        if !self.found.calls.is_empty() {
            let names: Vec<_> = self.found.calls.iter().map(|call| format!("`{}`", call.name)).collect();
            self.found.repairs.push(format!("the call of {} was written as text", names.join(", ")));
        } else if let Some(name) = self.resembles_a_call() {
            self.found.repairs.push(format!("the text looks like a call of `{name}` but could not be read as one"));
        }
        self.found.text.truncate(self.found.text.trim_end().len());
        self.found
    }

    fn advance(&mut self, input: Input) {
        while !self.pending.is_empty() {
            let step = match self.mode {
                Mode::Thinking => self.think(input),
                _ if !self.at_line_start => self.rest_of_line(),
                Mode::Code => self.line_of_code(input),
                Mode::Prose => self.line_of_prose(input),
            };
            if let Step::Wait = step {
                return;
            }
        }
    }

    fn think(&mut self, input: Input) -> Step {
        if let Some(at) = self.pending.find(END_OF_THINK) {
            let thought = self.cut(at);
            self.show_thinking(&thought);
            self.cut(END_OF_THINK.len());
            self.mode = Mode::Prose;
            self.at_line_start = true;
            return Step::Taken;
        }
        let kept = if input == Input::Complete { 0 } else { partial_tail(&self.pending, END_OF_THINK) };
        let thought = self.cut(self.pending.len() - kept);
        self.show_thinking(&thought);
        Step::Wait
    }

    fn rest_of_line(&mut self) -> Step {
        let end = self.pending.find('\n').map_or(self.pending.len(), |at| at + 1);
        let line = self.cut(end);
        self.at_line_start = line.ends_with('\n');
        self.show(&line);
        Step::Taken
    }

    fn line_of_code(&mut self, input: Input) -> Step {
        let line = self.pending.trim_start_matches([' ', '\t']);
        if input == Input::MayGoOn && FENCE.starts_with(line) {
            return Step::Wait;
        }
        if line.starts_with(FENCE) {
            self.mode = Mode::Prose;
        }
        self.rest_of_line()
    }

    fn line_of_prose(&mut self, input: Input) -> Step {
        let start = self.pending.len() - self.pending.trim_start().len();
        let line = &self.pending[start..];
        let mut markers = vec![THINK];
        if !self.has_thought {
            markers.push(END_OF_THINK);
        }
        if !self.tools.is_empty() {
            markers.extend([CALL, FENCE]);
        }
        if input == Input::MayGoOn && (line.is_empty() || markers.iter().any(|marker| is_partial(line, marker))) {
            return Step::Wait;
        }
        match markers.into_iter().find(|marker| line.starts_with(marker)) {
            Some(THINK) => {
                let gap = self.cut(start);
                self.show(&gap);
                self.cut(THINK.len());
                self.mode = Mode::Thinking;
                self.has_thought = true;
                Step::Taken
            }
            Some(END_OF_THINK) => self.all_was_thinking(start),
            Some(CALL) => self.tagged(start, input),
            Some(FENCE) => self.fenced(start, input),
            _ if !self.tools.is_empty() && line.starts_with(['{', '[']) => self.bare(start, input),
            _ if line.starts_with(';') && self.follows_a_call() => {
                self.cut(start + 1);
                Step::Taken
            }
            _ => self.rest_of_prose(start),
        }
    }

    /// The template of some models opens the thinking in the prompt, so that only its end is in the answer.
    fn all_was_thinking(&mut self, start: usize) -> Step {
        self.cut(start + END_OF_THINK.len());
        let raw: String = self.held.drain(..).map(|(raw, _)| raw).collect();
        let thought = std::mem::take(&mut self.found.text) + &raw;
        self.found.calls.clear();
        self.found.raw.clear();
        self.show_thinking(&thought);
        self.has_thought = true;
        self.found.repairs.push("the thinking had an end and no beginning".into());
        Step::Taken
    }

    fn tagged(&mut self, start: usize, input: Input) -> Step {
        let inner = start + CALL.len();
        let (inner_end, end) = match self.pending[inner..].find(END_OF_CALL) {
            Some(at) => (inner + at, inner + at + END_OF_CALL.len()),
            None if input == Input::Complete => (self.pending.len(), self.pending.len()),
            None => return Step::Wait,
        };
        match json::values(&self.pending[inner..inner_end]) {
            Read::Values(values, _) => match calls::written_in(&Value::Array(values), self.tools) {
                Some(calls) => {
                    let raw = self.cut(end);
                    self.accept(raw, calls);
                    Step::Taken
                }
                None => self.rest_of_prose(start),
            },
            _ => self.rest_of_prose(start),
        }
    }

    fn fenced(&mut self, start: usize, input: Input) -> Step {
        let after = &self.pending[start + FENCE.len()..];
        let word = after.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(after.len());
        let body = after[word..].trim_start();
        if input == Input::MayGoOn && body.is_empty() {
            return Step::Wait;
        }
        let may_be_call = matches!(&after[..word], "" | "json" | "tool" | "tool_call" | "tool_calls" | "tool_code");
        if !may_be_call || !body.starts_with(['{', '[']) {
            return self.code(start);
        }
        let body_start = self.pending.len() - body.len();
        self.json_at(start, body_start, input, |rest| {
            let trimmed = rest.trim_start();
            match (trimmed.starts_with(FENCE), is_partial(trimmed, FENCE)) {
                (true, _) => Some(Some(rest.len() - trimmed.len() + FENCE.len())),
                (false, true) if input == Input::MayGoOn => None,
                (false, _) => Some(trimmed.is_empty().then_some(rest.len())),
            }
        })
    }

    fn bare(&mut self, start: usize, input: Input) -> Step {
        self.json_at(start, start, input, |_| Some(Some(0)))
    }

    /// Takes JSON that may be calls. `close` says what of the rest belongs to it: not known yet, nothing fits, or so much.
    fn json_at(
        &mut self,
        start: usize,
        body: usize,
        input: Input,
        close: impl Fn(&str) -> Option<Option<usize>>,
    ) -> Step {
        if input == Input::MayGoOn && self.pending.len() < self.look_again_at {
            return Step::Wait;
        }
        let is_fence = body > start;
        let read = if is_fence { json::values(&self.pending[body..]) } else { json::value(&self.pending[body..]) };
        let (values, used) = match read {
            Read::Unfinished if input == Input::MayGoOn => {
                self.look_again_at = self.pending.len() + self.pending.len() / 4;
                return Step::Wait;
            }
            Read::Values(values, used) => (values, used),
            _ => return if is_fence { self.code(start) } else { self.rest_of_prose(start) },
        };
        let Some(closed) = close(&self.pending[body + used..]) else { return Step::Wait };
        self.look_again_at = 0;
        let calls = calls::written_in(&Value::Array(values), self.tools);
        match (closed, calls) {
            (Some(more), Some(calls)) => {
                let raw = self.cut(body + used + more);
                if self.found.text.trim().is_empty() {
                    self.accept(raw, calls);
                } else {
                    self.held.push((raw, calls));
                }
            }
            (Some(more), None) => {
                let raw = self.cut(body + used + more);
                self.at_line_start = false;
                self.show(&raw);
            }
            (None, _) => return self.code(start),
        }
        Step::Taken
    }

    fn code(&mut self, start: usize) -> Step {
        self.mode = Mode::Code;
        self.rest_of_prose(start)
    }

    fn rest_of_prose(&mut self, start: usize) -> Step {
        self.look_again_at = 0;
        let gap = self.cut(start);
        self.show(&gap);
        self.at_line_start = false;
        if self.pending.is_empty() { Step::Taken } else { self.rest_of_line() }
    }

    fn accept(&mut self, raw: String, calls: Vec<Draft>) {
        self.found.calls.extend(calls);
        self.found.raw.push(raw);
    }

    fn follows_a_call(&self) -> bool {
        !self.held.is_empty() || (!self.found.calls.is_empty() && self.found.text.is_empty())
    }

    fn show(&mut self, text: &str) {
        if text.trim().is_empty()
            && let Some((raw, _)) = self.held.last_mut()
        {
            raw.push_str(text);
            return;
        }
        for (raw, calls) in std::mem::take(&mut self.held) {
            let name = &calls[0].name;
            self.found.repairs.push(format!("left what looks like a call of `{name}` as text: it stands amid prose"));
            self.put(&raw);
        }
        self.put(text);
    }

    fn put(&mut self, text: &str) {
        let text = if self.found.text.is_empty() { text.trim_start() } else { text };
        if !text.is_empty() {
            self.found.text.push_str(text);
            self.sink.text(text);
        }
    }

    fn show_thinking(&self, text: &str) {
        if !text.is_empty() {
            self.sink.thinking(text);
        }
    }

    fn cut(&mut self, end: usize) -> String {
        let rest = self.pending.split_off(end);
        std::mem::replace(&mut self.pending, rest)
    }

    fn resembles_a_call(&self) -> Option<&'a str> {
        let text = &self.found.text;
        let is_shaped = text.contains("\"arguments\"") || text.contains("\"parameters\"");
        let names = self.tools.iter().map(|tool| tool.name.as_str());
        names.into_iter().find(|name| is_shaped && text.contains(&format!("\"{name}\"")))
    }
}

fn is_partial(text: &str, marker: &str) -> bool {
    text.len() < marker.len() && marker.starts_with(text)
}

/// How many bytes at the end of `text` may be the beginning of `marker`.
fn partial_tail(text: &str, marker: &str) -> usize {
    (1..marker.len()).rev().find(|&length| text.ends_with(&marker[..length])).unwrap_or(0)
}
