//! When a schedule fires: pure functions of what was written, and a time.

use super::{
    cron::Cron,
    quiet::{Quiet, QuietHours},
    zone,
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000_000;
const LONGEST: i64 = 366 * 86_400 * SECOND;
/// Where counting times that were missed ends.
pub const MOST: i64 = 10_000;

/// When it fires, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum When {
    Cron {
        /// Minute, hour, day of the month, month, day of the week; a second may stand before them. Or `@daily` and the like.
        #[schema(example = "30 9 * * MON-FRI")]
        cron: String,
        /// A name of the IANA database; UTC when absent.
        #[schema(example = "Europe/Berlin")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
    },
    Interval {
        /// `90s`, `15m`, `2h`, `1d`.
        every: String,
    },
    Once {
        /// RFC 3339; without an offset in the local time of `time_zone`. One that has passed fires at once.
        at: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
    },
    /// An interval that is silent in its quiet hours.
    Heartbeat {
        every: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<QuietHours>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
    },
}

/// The same, parsed.
#[derive(Debug, Clone)]
pub enum Timing {
    Cron(Box<Cron>, TimeZone),
    Every(i64, Option<Quiet>),
    Once(i64),
}

impl When {
    /// # Errors
    /// Names the field, what is wrong with it and what it takes.
    pub fn parse(&self) -> Result<Timing, String> {
        let zone = |name: &Option<String>| name.as_deref().map_or(Ok(TimeZone::UTC), zone::parse);
        Ok(match self {
            Self::Cron { cron, time_zone } => Timing::Cron(Box::new(Cron::parse(cron)?), zone(time_zone)?),
            Self::Interval { every } => Timing::Every(span(every)?, None),
            Self::Once { at, time_zone } => Timing::Once(point(at, zone(time_zone)?)?),
            Self::Heartbeat { every, quiet_hours, time_zone } => {
                let zone = zone(time_zone)?;
                let quiet = quiet_hours.as_ref().map(|hours| Quiet::parse(hours, zone)).transpose()?;
                Timing::Every(span(every)?, quiet)
            }
        })
    }
}

/// The first time after `after`, in microseconds. Intervals are counted from `anchor`. `None`: never again.
pub fn next_fire(timing: &Timing, anchor: i64, after: i64) -> Option<i64> {
    match timing {
        Timing::Once(at) => (*at > after).then_some(*at),
        Timing::Cron(cron, zone) => cron.next(zone, after),
        Timing::Every(every, quiet) => {
            let mut next = beat(*every, anchor, after);
            let Some(quiet) = quiet else { return Some(next) };
            // More than a year of quiet hours one after the other: none of its times lies outside.
            for _ in 0..400 {
                let Some(end) = quiet.end(next) else { return Some(next) };
                next = beat(*every, anchor, end - 1);
            }
            None
        }
    }
}

/// How many times lie after `after` and not after `until`, and no more than [`MOST`].
pub fn count(timing: &Timing, anchor: i64, after: i64, until: i64) -> i64 {
    let mut count = 0;
    let mut time = after;
    while count < MOST
        && let Some(next) = next_fire(timing, anchor, time).filter(|next| *next <= until)
    {
        count += 1;
        time = next;
    }
    count
}

/// Whether it is to be silent at that time.
pub fn is_silent(timing: &Timing, at: i64) -> bool {
    matches!(timing, Timing::Every(_, Some(quiet)) if quiet.end(at).is_some())
}

fn beat(every: i64, anchor: i64, after: i64) -> i64 {
    anchor + ((after - anchor).div_euclid(every) + 1) * every
}

fn span(text: &str) -> Result<i64, String> {
    let wrong = || format!("every: `{text}` is not a time span such as 90s, 15m, 2h or 1d");
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text[digits.len()..].trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let span = number.saturating_mul(unit).saturating_mul(SECOND);
    match (SECOND..=LONGEST).contains(&span) {
        true => Ok(span),
        false => Err(format!("every: `{text}` does not lie between 1s and 366d")),
    }
}

fn point(text: &str, zone: TimeZone) -> Result<i64, String> {
    if let Ok(time) = text.trim().parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    let local =
        ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"].iter().find_map(|format| DateTime::strptime(format, text.trim()).ok());
    let time = local.and_then(|local| zone::instant(&zone, local));
    time.map(Timestamp::as_microsecond).ok_or_else(|| {
        format!("at: `{text}` is not a time such as 2030-01-31T09:00:00Z or, in time_zone, 2030-01-31T09:00")
    })
}
