//! Reads the text of an answer as it comes: thinking and tool calls that are written into it are taken out.
//!
//! What counts stands at the beginning of a line. The result depends on the text alone, not on the pieces it came in.

mod pending;
mod written;

use crate::{Sink, calls::Draft};
use pending::Pending;
use serde_json::Value;
use tercel_sdk::chat::ToolSpec;
use written::CALL;

pub struct Content<'a> {
    tools: &'a [ToolSpec],
    sink: &'a dyn Sink,
    /// What is not decided yet.
    pending: Pending,
    known: Known,
    mode: Mode,
    at_line_start: bool,
    has_thought: bool,
    /// Calls after which nothing may follow but more calls: in the midst of prose they are a quotation.
    held: Vec<(String, Vec<Draft>)>,
    found: Found,
}

/// What is known of the line that is not decided: places in what is pending.
#[derive(Default)]
struct Known {
    /// Where the space before it ends.
    gap: usize,
    /// Where the word behind a fence ends, and the space after that.
    word: usize,
    body: usize,
    /// From where on the end of a call is sought.
    sought: usize,
    /// JSON that was read, where it ends, and the space after that.
    values: Vec<Value>,
    used: usize,
    after: usize,
    /// Unfinished JSON is read again when it has grown to this, so that long ones cost no more than short ones.
    look_again_at: usize,
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
const FENCE: &str = "```";

impl<'a> Content<'a> {
    pub fn new(tools: &'a [ToolSpec], sink: &'a dyn Sink) -> Self {
        Self {
            tools,
            sink,
            pending: Pending::default(),
            known: Known::default(),
            mode: Mode::Prose,
            at_line_start: true,
            has_thought: false,
            held: Vec::new(),
            found: Found::default(),
        }
    }

    pub fn push(&mut self, piece: &str) {
        self.pending.push(piece);
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
        if let Some(at) = self.pending.find(0, END_OF_THINK) {
            let thought = self.cut(at);
            self.show_thinking(&thought);
            self.cut(END_OF_THINK.len());
            self.mode = Mode::Prose;
            self.at_line_start = true;
            return Step::Taken;
        }
        let kept = if input == Input::Complete { 0 } else { partial_tail(self.pending.rest(), END_OF_THINK) };
        let thought = self.cut(self.pending.len() - kept);
        self.show_thinking(&thought);
        Step::Wait
    }

    fn rest_of_line(&mut self) -> Step {
        let end = self.pending.find(0, "\n").map_or(self.pending.len(), |at| at + 1);
        let line = self.cut(end);
        self.at_line_start = line.ends_with('\n');
        self.show(&line);
        Step::Taken
    }

    fn line_of_code(&mut self, input: Input) -> Step {
        self.known.gap = self.pending.skip(self.known.gap, |c| matches!(c, ' ' | '\t'));
        let line = &self.pending.rest()[self.known.gap..];
        if input == Input::MayGoOn && FENCE.starts_with(line) {
            return Step::Wait;
        }
        if line.starts_with(FENCE) {
            self.mode = Mode::Prose;
        }
        self.rest_of_line()
    }

    fn line_of_prose(&mut self, input: Input) -> Step {
        let start = self.pending.skip(self.known.gap, char::is_whitespace);
        self.known.gap = start;
        let line = &self.pending.rest()[start..];
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

    fn rest_of_prose(&mut self, start: usize) -> Step {
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
        self.known = Known::default();
        self.pending.cut(end)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoSink;
    use serde_json::json;

    /// How often each byte of a text was looked at, when it comes in pieces of these sizes.
    fn looks(text: &str, sizes: impl IntoIterator<Item = usize>) -> usize {
        let tools = [ToolSpec { name: "wait".into(), description: String::new(), parameters: json!({}) }];
        let mut content = Content::new(&tools, &NoSink);
        let mut rest = text;
        for size in sizes {
            let (piece, after) = rest.split_at(rest.ceil_char_boundary(size.min(rest.len())));
            content.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let looked = content.pending.looked.get();
        content.finish();
        looked / text.len()
    }

    #[test]
    fn the_work_grows_with_the_text_and_not_with_its_square() {
        const CALL: &str = "{\"name\":\"wait\",\"arguments\":{}}";
        type Text = fn(usize) -> String;
        let texts: [(&str, Text); 13] = [
            ("prose", |n| "Some words.\n".repeat(n / 12)),
            ("one line", |n| "words ".repeat(n / 6)),
            ("space", |n| " ".repeat(n)),
            ("empty lines", |n| "\n".repeat(n)),
            ("thinking", |n| format!("<think>{}", "a<".repeat(n / 2))),
            ("a call that has no end", |n| format!("<tool_call>{}", "<".repeat(n))),
            ("a word behind a fence", |n| format!("```{}", "json".repeat(n / 4))),
            ("space in a fence", |n| format!("```json{}", " ".repeat(n))),
            ("space in code", |n| format!("```rust\n{}", " ".repeat(n))),
            ("long JSON", |n| format!("{{\"a\": \"{}\"}}", "a".repeat(n))),
            ("JSON and space behind it", |n| {
                format!("```json\n{{\"a\": \"{}\"}}{}", "a".repeat(n / 2), " ".repeat(n / 2))
            }),
            ("many calls", |n| format!("{CALL}\n").repeat(n / CALL.len())),
            ("many calls in a fence", |n| format!("```json\n{}", format!("{CALL}\n").repeat(n / CALL.len()))),
        ];
        const SMALL: usize = 300_000;
        // Those that are read the most often.
        let large = ["prose", "a call that has no end", "long JSON", "many calls in a fence"];
        for (what, text) in texts {
            let length = if large.contains(&what) { 10_000_000 } else { SMALL };
            let by_pieces = looks(&text(length), (1..=1000).cycle());
            let by_bytes = looks(&text(SMALL), std::iter::repeat(1));
            let at_once = looks(&text(SMALL), [usize::MAX]);
            assert!(by_bytes.max(by_pieces).max(at_once) <= 12, "{what}: {by_bytes}, {by_pieces}, {at_once}");
        }
    }
}
