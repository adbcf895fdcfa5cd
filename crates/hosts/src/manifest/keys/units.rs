//! Durations, sizes, rates and versions as manifests write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::{borrow::Cow, time::Duration};

/// `30s`, `5m`, `2h`, `7d`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// `64KB`, `512MB`, `2GB`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| (1..=YEARS).contains(seconds)).map(Duration::from_secs)
}

/// What is longer is a slip, and would overflow where it is added to a time.
const YEARS: u64 = 10 * 366 * 86_400;

pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes).filter(|bytes| *bytes > 0)
}

/// `>=3.12`, `>=0.3`
pub fn oldest(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.strip_prefix(">=")?.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// Reads what is written as text, and says what would have been right.
macro_rules! written {
    ($name:ident, $read:expr, $example:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $read(&text).ok_or_else(|| D::Error::custom(format!(concat!("`{}` is not ", $example), text)))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": concat!("Here stands ", $example)})
            }
        }
    };
}

written!(Span, |text: &str| duration(text).map(Span), "a duration such as 30s, 5m, 2h or 7d", "^[0-9]+ ?[smhd]$");
written!(Size, |text: &str| size(text).map(Size), "a size such as 64KB or 512MB", "^[0-9]+ ?(KB|MB|GB)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_nonsense_is_not() {
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(size("512MB"), Some(512 << 20));
        assert_eq!(oldest(">=3.12"), Some((3, 12)));
        for wrong in ["", "5", "m", "5 minutes", "-5m", "0s", "99999999999999999999s", "5µs", "999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(size("18446744073709551615GB"), None);
        assert_eq!(oldest("3.12"), None);
    }
}
