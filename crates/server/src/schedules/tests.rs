use super::*;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use proptest::prelude::*;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn written(micros: i64, zone: &TimeZone) -> String {
    Timestamp::from_microsecond(micros).unwrap().to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn cron(pattern: &str, zone: &str) -> When {
    When::Cron { cron: pattern.into(), time_zone: Some(zone.into()) }
}

fn heartbeat(every: &str, from: &str, to: &str, zone: &str) -> When {
    let quiet_hours = Some(QuietHours { from: from.into(), to: to.into() });
    When::Heartbeat { every: every.into(), quiet_hours, time_zone: Some(zone.into()) }
}

/// The times after a time, as they are written in the zone.
fn times(when: &When, zone: &str, after: &str, number: usize) -> Vec<String> {
    let (timing, zone, anchor) = (when.parse().unwrap(), zone::parse(zone).unwrap(), at(after));
    let mut time = at(after);
    let mut times = Vec::new();
    while times.len() < number
        && let Some(next) = next_fire(&timing, anchor, time)
    {
        times.push(written(next, &zone));
        time = next;
    }
    times
}

fn problem(when: &When) -> String {
    when.parse().expect_err("it is refused")
}

#[test]
fn a_local_time_that_is_left_out_comes_once_after_the_gap() {
    for (pattern, zone, after, expected) in [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00:00+01:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        // Two that are left out are one.
        (
            "15,45 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00:00+01:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:15:00+02:00"],
        ),
        // One that is left out and one at the end of the gap are one.
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00:00+01:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            "*/20 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00:00+01:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            "0 2 * * *",
            "America/New_York",
            "2026-03-07T02:00:00-05:00",
            ["2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"],
        ),
        // A gap of half an hour.
        (
            "10 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T03:00:00+10:30",
            ["2026-10-04T02:30:00+11:00", "2026-10-05T02:10:00+11:00"],
        ),
        // Midnight itself is left out.
        (
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05T00:00:00-04:00",
            ["2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"],
        ),
        // A whole day is left out.
        (
            "0 9 * * *",
            "Pacific/Apia",
            "2011-12-29T09:00:00-10:00",
            ["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"],
        ),
    ] {
        assert_eq!(times(&cron(pattern, zone), zone, after, 2), expected, "{pattern} {zone}");
    }
}

#[test]
fn a_local_time_that_comes_twice_counts_the_first_time() {
    for (pattern, zone, after, expected) in [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T03:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T02:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:00:00+01:00"],
        ),
        // Asked in the middle of the second time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T02:10:00+01:00",
            ["2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T02:00:00-04:00",
            ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T02:00:00+11:00",
            ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
        ),
    ] {
        assert_eq!(times(&cron(pattern, zone), zone, after, 2), expected, "{pattern} {zone}");
    }
}

#[test]
fn what_names_no_hour_follows_the_time_that_passes() {
    let hourly = cron("30 * * * *", "Europe/Berlin");
    assert_eq!(
        times(&hourly, "Europe/Berlin", "2026-10-25T01:45:00+02:00", 3),
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"]
    );
    assert_eq!(
        times(&hourly, "Europe/Berlin", "2026-03-29T00:45:00+01:00", 2),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]
    );
}

#[test]
fn patterns_mean_what_they_say() {
    let next = |pattern: &str, after: &str| times(&cron(pattern, "UTC"), "UTC", after, 1).remove(0);
    for (pattern, after, expected) in [
        ("0 9 * * MON-FRI", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00+00:00"),
        ("*/10 * * * * *", "2026-01-01T00:00:05.5Z", "2026-01-01T00:00:10+00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00+00:00"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00+00:00"),
        ("0 12 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T12:00:00+00:00"),
        ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00+00:00"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+00:00"),
        ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00+00:00"),
    ] {
        assert_eq!(next(pattern, after), expected, "{pattern}");
    }
    assert_eq!(times(&cron("0 0 30 2 *", "UTC"), "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let wrong = |pattern: &str| problem(&cron(pattern, "UTC"));
    assert_eq!(
        wrong("0 9 * 13 *"),
        "cron: `13` at character 7 cannot be read as a month: it takes 1 to 12 or JAN to DEC; `*`, lists `1,2`, ranges `1-5` and steps `*/5`"
    );
    assert!(
        wrong("0  9,24,x * * *").starts_with("cron: `24` at character 6 cannot be read as a hour"),
        "{}",
        wrong("0  9,24,x * * *")
    );
    assert!(wrong("61 * * * * *").starts_with("cron: `61` at character 1 cannot be read as a second"));
    assert!(wrong("0 9 * *").starts_with("cron: it has 4 fields, not 5"));
    assert!(wrong("").starts_with("cron: it has 0 fields"));
    assert!(wrong("@fortnightly").starts_with("cron: there is no `@fortnightly`; known are @yearly"));
    let zone = |name: &str| problem(&cron("0 9 * * *", name));
    assert_eq!(zone("berlin"), "time_zone: there is no `berlin`; did you mean `Europe/Berlin`?");
    assert_eq!(
        zone("Europe/Berlni"),
        "time_zone: there is no `Europe/Berlni`; did you mean `Europe/Berlin`, `Europe/Jersey`, `Europe/Tirane`?"
    );
    assert_eq!(zone("new york"), "time_zone: there is no `new york`; did you mean `America/New_York`?");
    assert!(zone("nowhere in particular").contains("IANA database"));
    let every = |text: &str| problem(&When::Interval { every: text.into() });
    assert_eq!(every("soon"), "every: `soon` is not a time span such as 90s, 15m, 2h or 1d");
    assert_eq!(every("0s"), "every: `0s` does not lie between 1s and 366d");
    assert!(every("99999999999999999999d").contains("is not a time span"));
    let once = |text: &str| problem(&When::Once { at: text.into(), time_zone: None });
    assert!(once("tomorrow").starts_with("at: `tomorrow` is not a time such as"));
    assert_eq!(
        problem(&heartbeat("1h", "25:00", "07:00", "UTC")),
        "quiet_hours.from: `25:00` is not a time of the day such as 22:00"
    );
    assert!(problem(&heartbeat("1h", "07:00", "07:00", "UTC")).starts_with("quiet_hours: they begin and end"));
}

#[test]
fn a_heartbeat_is_silent_in_its_quiet_hours() {
    let zone = "Europe/Berlin";
    assert_eq!(
        times(&heartbeat("1h", "22:00", "07:00", zone), zone, "2026-01-01T20:30:00+01:00", 3),
        ["2026-01-01T21:30:00+01:00", "2026-01-02T07:30:00+01:00", "2026-01-02T08:30:00+01:00"]
    );
    assert_eq!(
        times(&heartbeat("1h", "12:00", "14:00", zone), zone, "2026-01-01T10:00:00+01:00", 2),
        ["2026-01-01T11:00:00+01:00", "2026-01-01T14:00:00+01:00"]
    );
    // The wall's clock counts: on that night the quiet hours are an hour shorter.
    assert_eq!(
        times(&heartbeat("1h", "22:00", "07:00", zone), zone, "2026-03-28T21:00:00+01:00", 1),
        ["2026-03-29T07:00:00+02:00"]
    );
    assert_eq!(
        times(&heartbeat("1d", "22:00", "07:00", zone), zone, "2026-01-01T23:00:00+01:00", 1),
        Vec::<String>::new()
    );
}

#[test]
fn a_single_time_comes_once() {
    let once = |text: &str, zone: Option<&str>| When::Once { at: text.into(), time_zone: zone.map(str::to_owned) };
    let utc = once("2026-01-01T10:00:00+01:00", None);
    assert_eq!(times(&utc, "UTC", "2026-01-01T08:00:00Z", 3), ["2026-01-01T09:00:00+00:00"]);
    assert_eq!(times(&utc, "UTC", "2026-01-01T09:00:00Z", 1), Vec::<String>::new());
    let local = once("2026-03-29T02:30", Some("Europe/Berlin"));
    assert_eq!(times(&local, "Europe/Berlin", "2026-01-01T00:00:00Z", 1), ["2026-03-29T03:00:00+02:00"]);
}

#[test]
fn what_was_missed_is_counted_up_to_a_limit() {
    let timing = |when: When| when.parse().unwrap();
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T06:00:00Z"));
    assert_eq!(count(&timing(cron("0 * * * *", "UTC")), 0, from, to), 6);
    assert_eq!(count(&timing(When::Interval { every: "2h".into() }), from, from, to), 3);
    assert_eq!(count(&timing(When::Interval { every: "1s".into() }), from, from, to), MOST);
    assert_eq!(count(&timing(When::Interval { every: "1d".into() }), from, from, to), 0);
}

#[test]
fn an_interval_keeps_its_beat_when_the_clock_is_put_back() {
    let timing = When::Interval { every: "1h".into() }.parse().unwrap();
    let anchor = at("2026-01-01T00:10:00Z");
    let next = |after| written(next_fire(&timing, anchor, at(after)).unwrap(), &TimeZone::UTC);
    assert_eq!(next("2026-01-01T00:10:00Z"), "2026-01-01T01:10:00+00:00");
    assert_eq!(next("2025-12-31T12:00:00Z"), "2025-12-31T12:10:00+00:00");
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Pacific/Apia",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_daily_time_comes_once_on_every_day(
        zone in prop::sample::select(&ZONES[..]), hour in 0_u32..24, minute in 0_u32..60, start in 1_500_000_000_i64..2_000_000_000,
    ) {
        let timing = cron(&format!("{minute} {hour} * * *"), zone).parse().unwrap();
        let zone = zone::parse(zone).unwrap();
        let mut time = start * 1_000_000;
        let mut day = None;
        for _ in 0..400 {
            let next = next_fire(&timing, 0, time).unwrap();
            prop_assert!(next > time && next - time <= 50 * 3_600_000_000);
            let local = zone.to_datetime(Timestamp::from_microsecond(next).unwrap()).date();
            prop_assert!(day.is_none_or(|day: Date| day.tomorrow().ok() == Some(local)), "{day:?} {local}");
            day = Some(local);
            time = next;
        }
    }

    #[test]
    fn the_next_time_does_not_depend_on_when_it_is_asked_for(
        zone in prop::sample::select(&ZONES[..]), pattern in prop::sample::select(&["*/7 * * * *", "5 */3 * * *", "0 2 * * *", "30 1,2 1 * *", "@hourly"][..]),
        start in 1_500_000_000_i64..2_000_000_000, share in 0_i64..1_000_000,
    ) {
        let timing = cron(pattern, zone).parse().unwrap();
        let start = start * 1_000_000;
        let next = next_fire(&timing, 0, start).unwrap();
        prop_assert!(next > start);
        let between = start + (next - start - 1) * share / 1_000_000;
        prop_assert_eq!(next_fire(&timing, 0, between), Some(next));
    }

    #[test]
    fn no_beat_falls_into_the_quiet_hours(
        zone in prop::sample::select(&ZONES[..]), minutes in 1_i64..600, from in 0_u32..24, to in 0_u32..24, start in 1_500_000_000_i64..2_000_000_000,
    ) {
        prop_assume!(from != to);
        let when = heartbeat(&format!("{minutes}m"), &format!("{from:02}:00"), &format!("{to:02}:00"), zone);
        let timing = when.parse().unwrap();
        let start = start * 1_000_000;
        if let Some(next) = next_fire(&timing, start, start) {
            prop_assert!(next > start && (next - start) % (minutes * 60_000_000) == 0 && !is_silent(&timing, next));
        }
    }
}
