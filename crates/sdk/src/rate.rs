//! How often a service may be asked.

use crate::{Error, Kind, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// `5/s`, `100/m`, `1000/h`, `10000/d`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
            let count = count.trim().parse().ok().filter(|count| *count > 0)?;
            Some(Self { count, per: Duration::from_secs(per) })
        };
        read().ok_or_else(|| Error::schema(format!("`{text}` is not a rate such as 5/s or 100/m")))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, per)| *per == self.per.as_secs());
        write!(f, "{}/{}", self.count, unit.map_or("?", |(name, _)| name))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|error: Error| de::Error::custom(error.message))
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+ ?/ ?[smhd]$",
            "description": "Here stands a rate such as 5/s or 100/m",
        })
    }
}

/// Tokens that come back with time, for each key: a connection or a host.
#[derive(Default)]
pub struct Limiter {
    /// When the last token that was promised is there.
    next: Mutex<HashMap<String, Instant>>,
}

impl Limiter {
    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// `rate_limited` when that is later than there is time.
    pub async fn turn(&self, rate: Rate, key: &str, until: Option<Instant>) -> Result<()> {
        let at = self.book(rate, key, Instant::now(), until)?;
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// Up to `count` requests at once, then one each `per / count`.
    fn book(&self, rate: Rate, key: &str, now: Instant, until: Option<Instant>) -> Result<Instant> {
        let step = rate.per / rate.count;
        let burst = rate.per - step;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys whose pause is over say nothing any more.
        if next.len() > 1000 {
            next.retain(|_, at| *at > now);
        }
        let booked = next.get(key).copied().unwrap_or(now).max(now);
        let at = booked.checked_sub(burst).map_or(now, |at| at.max(now));
        if until.is_some_and(|until| at >= until) {
            let wait = at.saturating_duration_since(now).max(Duration::from_secs(1));
            let message = format!("This service may be asked {rate}, and its next turn is too late");
            return Err(Error::new(Kind::RateLimited, message).retry_after(Some(wait)));
        }
        next.insert(key.into(), booked + step);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_nonsense_is_not() {
        for (text, count, seconds) in [("5/s", 5, 1), ("100 / m", 100, 60), ("7/h", 7, 3_600), ("1/d", 1, 86_400)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate { count, per: Duration::from_secs(seconds) });
            assert_eq!(rate.to_string(), text.replace(' ', ""));
        }
        for wrong in ["", "5", "/s", "0/s", "-1/s", "5/x", "5/ms", "99999999999/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn requests_beyond_the_rate_come_one_after_the_other() {
        let (limiter, rate, now) = (Limiter::default(), "2/s".parse().unwrap(), Instant::now());
        let waits = |key: &str, count: usize| -> Vec<u128> {
            (0..count).map(|_| (limiter.book(rate, key, now, None).unwrap() - now).as_millis()).collect()
        };
        assert_eq!(waits("a", 5), [0, 0, 500, 1000, 1500]);
        assert_eq!(waits("b", 1), [0], "another connection has its own");
        let later = now + Duration::from_secs(10);
        assert_eq!(limiter.book(rate, "a", later, None).unwrap(), later, "it comes back with time");
        let error = limiter.book(rate, "c", now, Some(now)).unwrap_err();
        assert_eq!(error.kind, Kind::RateLimited);
    }
}
