//! iCalendar (RFC 5545) in texts: values are escaped, lines folded, and what a calendar answers is read.

use super::{escape::text, value as from_json};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Map;

/// Bytes of a line; what is longer goes on in the next, which begins with a blank.
const LINE: usize = 75;
/// Events of one answer.
const MOST: usize = 2_000;

pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("ical", |value: &Value| -> Result<Value, Error> {
        Ok(from_json(&events(&text(value)?.unwrap_or_default()).into()))
    });
    environment.add_filter("ical_time", |value: &Value| -> Result<Option<String>, Error> {
        text(value)?.map(|text| time(text.trim())).transpose()
    });
}

/// A value of a property: it cannot end its line.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\\' | ';' | ',' => escaped.extend(['\\', c]),
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => escaped.push_str("\\n"),
            '\t' => escaped.push(' '),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Ends lines as the format wants it, folds those that are long, and leaves out properties without a value.
pub fn finish(text: &str) -> String {
    let mut finished = String::with_capacity(text.len());
    let says = |line: &&str| split(line).is_some_and(|(_, value)| !value.trim().is_empty());
    for line in text.lines().map(str::trim_end).filter(says) {
        let mut room = LINE;
        for c in line.trim_start().chars() {
            if c.len_utf8() > room {
                finished.push_str("\r\n ");
                room = LINE - 1;
            }
            finished.push(c);
            room -= c.len_utf8();
        }
        finished.push_str("\r\n");
    }
    finished
}

/// `2026-05-01T10:00:00+02:00` is `20260501T080000Z`, and a day stays one.
fn time(text: &str) -> Result<String, Error> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(day.format("%Y%m%d").to_string());
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
        let words = "a time is written 2026-05-01T10:00:00+02:00, and a day 2026-05-01";
        Error::new(ErrorKind::InvalidOperation, words)
    })?;
    Ok(time.with_timezone(&Utc).format("%Y%m%dT%H%M%SZ").to_string())
}

/// The events of a calendar: their properties in small letters, times as others write them.
fn events(text: &str) -> Vec<serde_json::Value> {
    let mut events = Vec::new();
    let mut event: Option<Map<String, serde_json::Value>> = None;
    // Alarms inside of an event have properties of their own.
    let mut inside = 0_usize;
    for line in unfolded(text) {
        let Some((head, value)) = split(&line) else { continue };
        let name = head.split(';').next().unwrap_or_default().to_ascii_lowercase();
        match (name.as_str(), value.to_ascii_uppercase().as_str()) {
            ("begin", "VEVENT") if event.is_none() => event = Some(Map::new()),
            ("end", "VEVENT") if inside == 0 => events.extend(event.take().map(Into::into)),
            ("begin", _) if event.is_some() => inside += 1,
            ("end", _) => inside = inside.saturating_sub(1),
            _ if inside > 0 => {}
            _ => {
                if let Some(event) = &mut event {
                    let read = if name.starts_with("dt") { readable(value) } else { unescaped(value) };
                    event.entry(name).or_insert(read.into());
                }
            }
        }
        if events.len() >= MOST {
            break;
        }
    }
    events
}

/// Name with parameters, and value. A colon in a quoted parameter ends nothing.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ':' && !quoted
    })?;
    Some((&line[..end.0], &line[end.0 + 1..]))
}

fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some('n' | 'N')) => text.push('\n'),
            (_, Some(escaped)) => text.push(escaped),
            (c, None) => text.push(c),
        }
    }
    text
}

/// `20260501T080000Z` is `2026-05-01T08:00:00Z`; what is something else stays as it is.
fn readable(value: &str) -> String {
    if let Ok(day) = NaiveDate::parse_from_str(value, "%Y%m%d") {
        return day.to_string();
    }
    let (plain, zone) = value.strip_suffix('Z').map_or((value, ""), |plain| (plain, "Z"));
    match NaiveDateTime::parse_from_str(plain, "%Y%m%dT%H%M%S") {
        Ok(time) => format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S")),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_says_it_stays_in_its_line() {
        let nasty = "a;b,c\\d\r\nEND:VEVENT\nBEGIN:VALARM\u{0}\u{1b}\u{2028}x";
        assert_eq!(escape(nasty), "a\\;b\\,c\\\\d\\nEND:VEVENT\\nBEGIN:VALARM\\nx");
        let event = format!("BEGIN:VEVENT\nSUMMARY:{}\nLOCATION:\n\nDESCRIPTION:to do:\nEND:VEVENT", escape(nasty));
        let finished = finish(&event);
        assert!(finished.contains("DESCRIPTION:to do:\r\n"), "{finished}");
        assert_eq!(finished.lines().filter(|line| line.starts_with("END:")).count(), 1, "{finished}");
        assert!(!finished.contains("LOCATION"), "{finished}");
        assert_eq!(events(&finished)[0]["summary"], "a;b,c\\d\nEND:VEVENT\nBEGIN:VALARM\nx");
    }

    #[test]
    fn long_lines_are_folded_between_characters_and_come_back_whole() {
        let title = "Überlänge 🎉 ".repeat(40);
        let finished = finish(&format!("BEGIN:VEVENT\nSUMMARY:{}\nEND:VEVENT\n", escape(title.trim())));
        assert!(finished.split("\r\n").all(|line| line.len() <= LINE), "{finished}");
        assert_eq!(events(&finished)[0]["summary"], title.trim());
    }

    #[test]
    fn times_are_those_of_the_format() {
        for (given, expected) in [
            ("2026-05-01T10:00:00+02:00", "20260501T080000Z"),
            ("2026-05-01T10:00:00.5Z", "20260501T100000Z"),
            ("2026-05-01", "20260501"),
        ] {
            assert_eq!(time(given).unwrap(), expected);
        }
        for wrong in ["", "tomorrow", "2026-05-01T10:00:00", "2026-13-01", "20260501\r\nX:1"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn events_are_read_without_what_is_inside_of_them() {
        let text = "BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:x\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:1\r\n\
            DTSTART;TZID=\"Europe:Berlin\":20260501T100000\r\nDTEND;VALUE=DATE:20260502\r\nSUMMARY:One\\, two\\nthree\r\n\
            BEGIN:VALARM\r\nDESCRIPTION:wake\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:2\r\nDTSTART:20260501T100000Z\r\nEND:VEVENT\r\n\
            BEGIN:VEVENT\r\nUID:cut";
        assert_eq!(
            events(text),
            [
                serde_json::json!({"uid": "1", "dtstart": "2026-05-01T10:00:00", "dtend": "2026-05-02", "summary": "One, two\nthree"}),
                serde_json::json!({"uid": "2", "dtstart": "2026-05-01T10:00:00Z"}),
            ]
        );
        assert!(events("").is_empty() && events("END:VEVENT\nBEGIN:VEVENT").is_empty());
    }
}
