//! Time zones: their names, and what a local time is where clocks are changed.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};

/// # Errors
/// Says which names are near.
pub fn parse(name: &str) -> Result<Tz, String> {
    if let Ok(zone) = name.parse() {
        return Ok(zone);
    }
    let wanted = name.trim().to_lowercase().replace(' ', "_");
    let is_near = |known: &&str| {
        let known = known.to_lowercase();
        known == wanted || known.rsplit('/').next() == Some(wanted.as_str())
    };
    let known = TZ_VARIANTS.iter().map(|zone| zone.name());
    let mut near: Vec<&str> = known.clone().filter(is_near).collect();
    if near.is_empty() {
        near = tercel_agent::nearest(name, known);
    }
    near.truncate(3);
    let advice = match near.is_empty() {
        true => "names are those of the IANA database, such as Europe/Berlin, America/New_York or UTC".into(),
        false => format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    };
    Err(format!("time_zone: there is no `{name}`; {advice}"))
}

/// When it is that late somewhere: the first time if it comes twice, the end of the gap if it is left out.
pub fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.to_utc()),
        LocalResult::None => Some(GapInfo::new(&local, &zone)?.end?.to_utc()),
    }
}
