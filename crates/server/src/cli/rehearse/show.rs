//! A trace as a person reads it.

use super::Ended;
use crate::{
    cli::terminal::{Ink, harmless},
    outbound::{Asked, Fate},
};
use serde_json::Value;
use tercel_sdk::text::cut;

const LABEL: usize = 10;
/// Characters of a tool's arguments and result that are shown.
const ARGUMENTS: usize = 300;
const RESULT: usize = 600;

/// Whether a task has ended and what it says has left, or will not leave.
pub fn has_ended(trace: &Value) -> bool {
    let over = ["complete", "failed", "cancelled", "waiting"].iter().any(|status| trace["task"]["status"] == *status);
    over && list(&trace["outbox"]).iter().all(|row| row["state"] != "pending" && row["state"] != "sending")
}

/// Whether a task is complete and nothing that it says got stuck.
pub fn is_good(trace: &Value) -> bool {
    trace["task"]["status"] == "complete"
        && list(&trace["outbox"]).iter().all(|row| row["state"] == "sent" || row["state"] == "withheld")
}

pub(super) fn ended(ended: &Ended, integration: &str, event: &str, ink: Ink) -> String {
    let mut page = Page { ink, lines: Vec::new() };
    let how = if ended.sent { "sent to the running server" } else { "rehearsed: nothing is sent" };
    page.lines.push(format!("{} for {}, {how}", ink.bold(&harmless(event)), ink.bold(integration)));
    if ended.traces.is_empty() {
        page.without_a_run(ended);
    }
    if ended.answer["status"] == "duplicate" {
        page.lines.push(String::new());
        page.row("duplicate", "the server took this event before; this is what it led to then");
    }
    ended.traces.iter().for_each(|trace| page.trace(trace));
    page.asked(&ended.asked);
    if !ended.printed.is_empty() {
        page.lines.push(String::new());
        page.row("printed", &harmless(&ended.printed.join("\n")));
    }
    if ended.late {
        page.lines.push(String::new());
        page.row("late", &ink.bad("it has not ended yet; its trace is kept by the server"));
    }
    page.lines.join("\n")
}

/// A trace with what was asked of others in its course, and what was printed.
pub(super) fn json(trace: &Value, ended: &Ended) -> Value {
    let mut trace = trace.clone();
    trace["asked"] = serde_json::to_value(&ended.asked).unwrap_or_default();
    trace["printed"] = serde_json::to_value(&ended.printed).unwrap_or_default();
    trace
}

struct Page {
    ink: Ink,
    lines: Vec<String>,
}

impl Page {
    /// A label and what belongs to it; further lines stand below the first.
    fn row(&mut self, label: &str, text: &str) {
        let mut lines = text.lines();
        let label = self.ink.dim(&format!("{label:LABEL$}"));
        self.lines.push(format!("{label}  {}", lines.next().unwrap_or_default()).trim_end().to_owned());
        self.lines.extend(lines.map(|line| format!("{:LABEL$}  {line}", "").trim_end().to_owned()));
    }

    fn without_a_run(&mut self, ended: &Ended) {
        let Ended { status, answer, delivery, .. } = ended;
        self.lines.push(String::new());
        if !status.is_success() {
            let said = crate::cli::client::complaint(*status, answer);
            return self.row("refused", &self.ink.bad(&harmless(&format!("{} {said}", status.as_u16()))));
        }
        if answer["delivery_id"].is_null() {
            return self.row("answer", &harmless(&format!("{} {answer}", status.as_u16())));
        }
        self.delivery(delivery);
        self.row("verified", &format!("by {}", text(&delivery["verified_by"])));
        let reason = answer["reason"].as_str().or(delivery["reason"].as_str()).unwrap_or("no run was asked for");
        self.row("outcome", &format!("{}: {}", self.ink.doubtful(&text(&answer["status"])), harmless(reason)));
    }

    fn asked(&mut self, asked: &[Asked]) {
        if asked.is_empty() {
            return;
        }
        let fate = |fate: &Fate| match fate {
            Fate::Recorded { status } => self.ink.good(&format!("recorded, {status}")),
            Fate::Sent => self.ink.good("it went out"),
            Fate::Withheld => self.ink.doubtful("withheld"),
            Fate::Missing => self.ink.bad("nothing is recorded: add it to fixtures/api.json, or use --live-reads"),
            Fate::Refused { reason } => self.ink.bad(&format!("refused: {}", harmless(reason))),
        };
        let line = |one: &Asked| {
            let body = if one.body.is_empty() { String::new() } else { format!("\n  {}", harmless(&one.body)) };
            format!("{} {} · {}{body}", harmless(&one.method), harmless(&one.url), fate(&one.fate))
        };
        let lines: Vec<String> = asked.iter().map(line).collect();
        self.lines.push(String::new());
        self.row("asked", &lines.join("\n"));
    }

    fn delivery(&mut self, delivery: &Value) {
        let outcome = [text(&delivery["state"]), text(&delivery["outcome"])].join(", ");
        self.row("delivery", &harmless(&format!("{} · {outcome}", text(&delivery["event"]))));
    }

    fn trace(&mut self, trace: &Value) {
        self.lines.push(String::new());
        if trace["delivery"].is_object() {
            self.delivery(&trace["delivery"]);
            self.row("verified", &harmless(&format!("by {}", text(&trace["verification"]["by"]))));
        }
        let (session, task) = (&trace["session"], &trace["task"]);
        let place = [text(&session["client_id"]), text(&session["thread"]), format!("bot {}", text(&task["bot_id"]))];
        self.row(
            "session",
            &harmless(&place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")),
        );
        let status = text(&task["status"]);
        let painted = if status == "complete" { self.ink.good(&status) } else { self.ink.bad(&status) };
        let tokens = task["tokens"].as_i64().filter(|&n| n > 0).map(|n| format!(" · {n} tokens")).unwrap_or_default();
        self.row("task", &format!("{painted}{tokens}"));
        if task["error"].is_object() {
            self.row("error", &self.ink.bad(&harmless(&failure(&task["error"]))));
        }
        self.lines.push(String::new());
        list(&trace["steps"]).iter().for_each(|step| self.step(step));
        let outbox = list(&trace["outbox"]);
        if outbox.is_empty() {
            self.row("outbox", "nothing: there is nowhere to send an answer to");
        }
        outbox.iter().for_each(|row| self.outbox(row));
    }

    fn step(&mut self, step: &Value) {
        let (label, told) = told(step);
        self.row(&format!("{:>2} {label}", step["n"].as_i64().unwrap_or_default()), &harmless(&told));
    }

    fn outbox(&mut self, row: &Value) {
        let state = text(&row["state"]);
        let painted = match state.as_str() {
            "sent" => self.ink.good(&state),
            "withheld" => self.ink.doubtful("withheld"),
            _ => self.ink.bad(&state),
        };
        let part = if row["parts"].as_i64() > Some(1) {
            format!(", part {} of {}", row["part"], row["parts"])
        } else {
            String::new()
        };
        let config = row["dispatch_config"].as_object().into_iter().flatten().filter(|(key, _)| *key != "type");
        let place: Vec<String> = config.map(|(key, value)| format!("{key}={}", text_or_json(value))).collect();
        self.lines.push(String::new());
        self.row(
            "outbox",
            &format!("{painted} · to {} {}{part}", text(&row["dispatch_type"]), harmless(&place.join(" "))),
        );
        if row["error"].is_object() {
            self.row("error", &self.ink.bad(&harmless(&failure(&row["error"]))));
        }
        if let Some(receipt) = row["receipt"].as_object().filter(|receipt| !receipt.is_empty()) {
            let shown: Vec<String> = receipt.values().map(text_or_json).collect();
            self.row("receipt", &harmless(&shown.join(" ")));
        }
        self.row("text", &harmless(&text(&row["text"])));
    }
}

/// What a step was, in a word and in a few lines.
fn told(step: &Value) -> (&'static str, String) {
    match step["kind"].as_str().unwrap_or_default() {
        "context" => ("context", context(step)),
        "model" => ("model", model(step)),
        "model_failed" => ("model", format!("{} did not answer: {}", text(&step["model"]), failure(&step["error"]))),
        "tool" => {
            let output = &step["output"];
            let mark = match (output["skipped"] == true, output["ok"] == true) {
                (true, _) => "\nnot run: ",
                (_, true) => "\n",
                (_, false) => "\nfailed: ",
            };
            let call = format!("{} {}", text(&step["name"]), cut(&step["arguments"].to_string(), ARGUMENTS));
            ("tool", format!("{call}{mark}{}", cut(&text(&output["content"]), RESULT)))
        }
        "parked" => ("parked", failure(&step["error"])),
        "resumed" => ("resumed", format!("by {}", text(&step["by"]))),
        _ => ("step", cut(&step.to_string(), RESULT)),
    }
}

fn context(step: &Value) -> String {
    let names = |key: &str| list(&step[key]).iter().map(text).collect::<Vec<_>>();
    let trust = if step["tainted"] == true { "with untrusted text" } else { "all of it trusted" };
    let mut lines = vec![format!("messages: {}, {trust}", step["messages"])];
    for key in ["skills", "tools", "unknown"] {
        if !names(key).is_empty() {
            lines.push(format!("{key}: {}", names(key).join(", ")));
        }
    }
    lines.join("\n")
}

fn model(step: &Value) -> String {
    let answer = &step["answer"];
    let mut lines = Vec::new();
    let said = text(&answer["text"]);
    let calls = list(&answer["tool_calls"]);
    let name = text(&step["model"]);
    match calls.is_empty() {
        true => lines.push(format!("{name} answers:")),
        false => {
            let asked: Vec<String> = calls.iter().map(|call| text(&call["name"])).collect();
            lines.push(format!("{name} asks for {}", asked.join(", ")));
        }
    }
    if !said.is_empty() {
        lines.push(said);
    }
    lines.extend(list(&answer["repairs"]).iter().map(|repair| format!("(mended: {})", text(repair))));
    lines.join("\n")
}

fn failure(error: &Value) -> String {
    let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
    match error["hint"].as_str() {
        Some(hint) => format!("{message}\n{hint}"),
        None => message,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn text_or_json(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    fn trace(status: &str, state: &str) -> Value {
        json!({
            "delivery": {"event": "ticket.opened", "state": "processed", "outcome": "run"},
            "verification": {"by": "hmac"},
            "session": {"client_id": "desk:one", "thread": "ticket/7"},
            "task": {"bot_id": "default", "status": status, "tokens": 42, "error": null},
            "steps": [
                {"n": 1, "kind": "context", "messages": 1, "tainted": true, "skills": [], "tools": ["desk_get"], "unknown": []},
                {"n": 2, "kind": "model", "model": "m", "answer": {"text": "", "tool_calls": [{"name": "desk_get"}]}},
                {"n": 3, "kind": "tool", "name": "desk_get", "arguments": {"id": 7}, "output": {"ok": true, "content": "a\u{1b}b"}},
                {"n": 4, "kind": "model_failed", "model": "m", "error": {"message": "Busy"}},
                {"n": 10, "kind": "model", "model": "m", "answer": {"text": "Done.\n\nReally.", "repairs": ["a comma"]}},
            ],
            "outbox": [{
                "state": state, "dispatch_type": "desk", "dispatch_config": {"type": "desk", "ticket": 7}, "part": 1, "parts": 1,
                "text": "Done.\n\nReally.", "error": if state == "dead" { json!({"message": "No", "hint": "Ask"}) } else { Value::Null },
                "receipt": null,
            }],
        })
    }

    fn shown(answer: Value, delivery: Value, traces: Vec<Value>) -> String {
        let status = if answer["detail"].is_string() { StatusCode::FORBIDDEN } else { StatusCode::OK };
        ended(&Ended { status, answer, delivery, traces, ..Ended::default() }, "desk", "opened", Ink::Plain)
    }

    #[test]
    fn a_trace_is_shown_whole() {
        let expected = "\
opened for desk, rehearsed: nothing is sent

delivery    ticket.opened · processed, run
verified    by hmac
session     desk:one · ticket/7 · bot default
task        complete · 42 tokens

 1 context  messages: 1, with untrusted text
            tools: desk_get
 2 model    m asks for desk_get
 3 tool     desk_get {\"id\":7}
            ab
 4 model    m did not answer: Busy
10 model    m answers:
            Done.

            Really.
            (mended: a comma)

outbox      withheld · to desk ticket=7
text        Done.

            Really.";
        assert_eq!(shown(json!({"status": "processed"}), Value::Null, vec![trace("complete", "withheld")]), expected);
    }

    #[test]
    fn what_was_asked_of_others_is_shown_with_what_became_of_it() {
        let asked = |method: &str, path: &str, body: &str, fate| {
            let url = format!("https://desk.example{path}");
            Asked { method: method.into(), url, body: body.into(), fate }
        };
        let asked = vec![
            asked("GET", "/1", "", Fate::Recorded { status: 200 }),
            asked("POST", "/1/seen", "{\"by\":\"me\"}", Fate::Withheld),
            asked("GET", "/2", "", Fate::Missing),
        ];
        let (answer, traces) = (json!({"status": "processed"}), vec![trace("complete", "withheld")]);
        let printed = vec!["one".to_owned(), "two".to_owned()];
        let whole = Ended { answer, traces, asked, printed, ..Ended::default() };
        assert_eq!(super::json(&whole.traces[0], &whole)["asked"][1]["outcome"], "withheld");
        let page = ended(&whole, "desk", "opened", Ink::Plain);
        let expected = "
asked       GET https://desk.example/1 · recorded, 200
            POST https://desk.example/1/seen · withheld
              {\"by\":\"me\"}
            GET https://desk.example/2 · nothing is recorded: add it to fixtures/api.json, or use --live-reads

printed     one
            two";
        assert!(page.ends_with(expected), "{page}");
    }

    #[test]
    fn an_event_without_a_run_says_why() {
        let delivery = json!({"event": "star", "state": "processed", "outcome": "ignored", "verified_by": "hmac", "reason": "of no use"});
        let ignored =
            shown(json!({"status": "ignored", "delivery_id": "d", "reason": "of no use"}), delivery, Vec::new());
        assert!(ignored.ends_with("verified    by hmac\noutcome     ignored: of no use"), "{ignored}");
        let replied = shown(json!({"status": "pong"}), Value::Null, Vec::new());
        assert!(replied.ends_with("answer      200 {\"status\":\"pong\"}"), "{replied}");
        let refused = shown(json!({"detail": "Not signed"}), Value::Null, Vec::new());
        assert!(refused.ends_with("refused     403 Not signed"), "{refused}");
    }

    #[test]
    fn good_is_what_is_complete_and_left() {
        let is = |status, state| (has_ended(&trace(status, state)), is_good(&trace(status, state)));
        assert_eq!(is("complete", "sent"), (true, true));
        assert_eq!(is("complete", "withheld"), (true, true));
        assert_eq!(is("complete", "sending"), (false, false));
        assert_eq!(is("complete", "dead"), (true, false));
        assert_eq!(is("failed", "sent"), (true, false));
        assert_eq!(is("running", "sent"), (false, false));
        let dead = shown(json!({}), Value::Null, vec![trace("complete", "dead")]);
        assert!(dead.contains("outbox      dead · to desk ticket=7\nerror       No\n            Ask\n"), "{dead}");
    }
}
