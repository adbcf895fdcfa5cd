//! Cron patterns in local time: what they mean where clocks are changed, and what is wrong with one that cannot be read.

use super::zone;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz::TimeZone};

const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, `L` for the last"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, `5L` for the last Friday, `1#2` for the second Monday"),
];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A pattern that can be read.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    /// It names no hours: it follows the time that passes, not the clock on the wall.
    every_hour: bool,
}

impl Cron {
    /// # Errors
    /// Names the field and the character where it begins.
    pub fn parse(text: &str) -> Result<Self, String> {
        let nickname = text.trim().to_lowercase();
        let plain = match NICKNAMES.iter().find(|(name, _)| *name == nickname) {
            Some((_, plain)) => plain,
            None if nickname.starts_with('@') => {
                let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                return Err(format!("cron: there is no `{}`; known are {}", text.trim(), known.join(", ")));
            }
            None => text,
        };
        let fields = fields(plain);
        if !(5..=6).contains(&fields.len()) {
            return Err(format!(
                "cron: it has {} fields, not 5 (minute, hour, day of the month, month, day of the week) or 6 (a second before them)",
                fields.len()
            ));
        }
        let names = &FIELDS[6 - fields.len()..];
        for (i, (&(at, field), (name, takes))) in fields.iter().zip(names).enumerate() {
            if let Some((offset, wrong)) = wrong_part(field, i, fields.len()) {
                return Err(format!(
                    "cron: `{wrong}` at character {} cannot be read as a {name}: it takes {takes}; `*`, lists `1,2`, ranges `1-5` and steps `*/5`",
                    at + offset + 1
                ));
            }
        }
        let pattern =
            parser().parse(plain).map_err(|error| format!("cron: `{}` cannot be read: {error}", text.trim()))?;
        Ok(Self { pattern, every_hour: fields[fields.len() - 4].1 == "*" })
    }

    /// The first time after `after` (microseconds). A local time that a clock change leaves out comes at the end of the
    /// gap, one that comes twice counts the first time. `None`: there is no such time.
    pub fn next(&self, zone: &TimeZone, after: i64) -> Option<i64> {
        let after = Timestamp::from_microsecond(after).ok()?;
        if self.every_hour {
            let next = self.pattern.find_next_occurrence(&after.to_zoned(zone.clone()), false).ok()?;
            return Some(next.timestamp().as_second() * 1_000_000);
        }
        // A walk over the clock on the wall.
        let mut local = zone.to_datetime(after);
        loop {
            local = self.pattern.find_next_occurrence(&local, false).ok()?;
            let next = zone::instant(zone, local)?;
            if next > after {
                return Some(next.as_second() * 1_000_000);
            }
        }
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// Each field and the character where it begins.
fn fields(text: &str) -> Vec<(usize, &str)> {
    let mut fields = Vec::new();
    let mut at = 0;
    for word in text.split(char::is_whitespace) {
        if !word.is_empty() {
            fields.push((at, word));
        }
        at += word.chars().count() + 1;
    }
    fields
}

/// The part of a field that cannot be read, and where in the field it begins.
fn wrong_part(field: &str, index: usize, count: usize) -> Option<(usize, &str)> {
    let reads = |part: &str| {
        let mut all = vec!["*"; count];
        all[index] = part;
        parser().parse(&all.join(" ")).is_ok()
    };
    if reads(field) {
        return None;
    }
    let mut at = 0;
    for part in field.split(',') {
        if part.is_empty() || !reads(part) {
            return Some((at, if part.is_empty() { "," } else { part }));
        }
        at += part.chars().count() + 1;
    }
    Some((0, field))
}
