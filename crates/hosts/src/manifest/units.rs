//! Durations, sizes and versions as manifests write them.

use std::time::Duration;

/// `30s`, `5m`, `2h`, `7d`
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// `64KB`, `512MB`, `2GB`
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

/// `>=3.12`
pub fn oldest(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.strip_prefix(">=")?.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_nonsense_is_not() {
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(size("512MB"), Some(512 << 20));
        assert_eq!(oldest(">=3.12"), Some((3, 12)));
        for wrong in ["", "5", "m", "5 minutes", "-5m", "0s", "99999999999999999999s", "5µs"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(size("18446744073709551615GB"), None);
        assert_eq!(oldest("3.12"), None);
    }
}
