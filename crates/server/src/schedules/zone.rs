//! Time zones: their names, and what a local time is where clocks are changed.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneName, db},
};

/// # Errors
/// Says which names are near.
pub fn parse(name: &str) -> Result<TimeZone, String> {
    let known: Vec<TimeZoneName> = db().available().collect();
    let known = known.iter().map(TimeZoneName::as_str);
    // The library takes names in any case.
    if let Some(zone) = known.clone().find(|known| *known == name).and_then(|name| TimeZone::get(name).ok()) {
        return Ok(zone);
    }
    let wanted = name.trim().to_lowercase().replace(' ', "_");
    let is_near = |known: &&str| {
        let known = known.to_lowercase();
        known == wanted || known.rsplit('/').next() == Some(wanted.as_str())
    };
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
pub fn instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(local).ok()
        }
        AmbiguousOffset::Gap { after, .. } => {
            let before_it = after.to_timestamp(local).ok()?;
            Some(zone.following(before_it).next()?.timestamp())
        }
    }
}
