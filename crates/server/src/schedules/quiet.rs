//! Hours of the local day in which a heartbeat stays silent.

use super::zone;
use jiff::{Timestamp, civil::Time, tz::TimeZone};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl Quiet {
    /// # Errors
    /// Names the field.
    pub fn parse(hours: &QuietHours, zone: TimeZone) -> Result<Self, String> {
        let time = |field: &str, text: &str| {
            Time::strptime("%H:%M", text)
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
        let local = self.zone.to_datetime(Timestamp::from_microsecond(at).ok()?);
        let (date, time) = (local.date(), local.time());
        let over_midnight = self.from > self.to;
        let is_quiet = match over_midnight {
            true => time >= self.from || time < self.to,
            false => time >= self.from && time < self.to,
        };
        if !is_quiet {
            return None;
        }
        let date = if over_midnight && time >= self.from { date.tomorrow().ok()? } else { date };
        let end = zone::instant(&self.zone, date.to_datetime(self.to))?.as_microsecond();
        // Clocks that were put back in between make the wall's end one that has passed.
        Some(end.max(at + 1))
    }
}
