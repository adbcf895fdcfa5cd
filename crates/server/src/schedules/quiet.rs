//! Hours of the local day in which a heartbeat stays silent.

use super::zone;
use chrono::{DateTime, Days, NaiveTime};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// `22:00` to `07:00` goes over midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    #[schema(example = "22:00")]
    pub from: String,
    #[schema(example = "07:00")]
    pub to: String,
}

/// The same, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
}

impl Quiet {
    /// # Errors
    /// Names the field.
    pub fn parse(hours: &QuietHours, zone: Tz) -> Result<Self, String> {
        let time = |field: &str, text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M")
                .map_err(|_| format!("quiet_hours.{field}: `{text}` is not a time of the day such as 22:00"))
        };
        let (from, to) = (time("from", &hours.from)?, time("to", &hours.to)?);
        if from == to {
            return Err("quiet_hours: they begin and end at the same time; leave them out, or pause it".into());
        }
        Ok(Self { from, to, zone })
    }

    /// Where a time lies in the quiet hours, their end. It is never before the time.
    pub fn end(&self, at: i64) -> Option<i64> {
        let local = DateTime::from_timestamp_micros(at)?.with_timezone(&self.zone).naive_local();
        let (date, time) = (local.date(), local.time());
        let over_midnight = self.from > self.to;
        let is_quiet = match over_midnight {
            true => time >= self.from || time < self.to,
            false => time >= self.from && time < self.to,
        };
        if !is_quiet {
            return None;
        }
        let date = if over_midnight && time >= self.from { date.checked_add_days(Days::new(1))? } else { date };
        let end = zone::instant(self.zone, date.and_time(self.to))?.timestamp_micros();
        // Clocks that were put back in between make the wall's end one that has passed.
        Some(end.max(at + 1))
    }
}
