//! The shipped manifest for calendars against a real CalDAV server.

use crate::{
    real::Real,
    world::{card, test, tool},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use tercel_tests::{Options, RUNTIME, Server};

const PASSWORD: &str = "of-the-tests-0123456789";

/// A server with two calendars, and what it is reached by.
pub fn settings() -> (Real, Options) {
    let real = Real::start("caldav", tempfile::tempdir().unwrap(), &["alice", PASSWORD]);
    for (path, name, kind) in [("work", "Work & more", "VEVENT"), ("todo", "To do", "VTODO")] {
        make_calendar(&real, path, name, kind);
    }
    let options = Options::new().env("CALDAV_CALDAV_URL", &real.url()).env("CALDAV_USERNAME", "alice");
    (real, options.env("CALDAV_APP_PASSWORD", PASSWORD).env("CALDAV_CALENDAR_NAME", "Work & more"))
}

fn world() -> (Real, Server) {
    let (real, options) = settings();
    (real, Server::start(options))
}

fn make_calendar(real: &Real, path: &str, name: &str, kind: &str) {
    let name = name.replace('&', "&amp;");
    let body = format!(
        "<c:mkcalendar xmlns:d=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:caldav\"><d:set><d:prop><d:displayname>{name}</d:displayname>\
         <c:supported-calendar-component-set><c:comp name=\"{kind}\"/></c:supported-calendar-component-set></d:prop></d:set></c:mkcalendar>"
    );
    let made = RUNTIME.block_on(async {
        let method = reqwest::Method::from_bytes(b"MKCALENDAR").unwrap();
        let request = reqwest::Client::new().request(method, format!("{}/alice/{path}/", real.url()));
        request.basic_auth("alice", Some(PASSWORD)).body(body).send().await.unwrap()
    });
    assert_eq!(made.status(), 201, "{made:?}");
}

/// What is in the calendar, as the server keeps it.
pub fn kept(real: &Real) -> Vec<String> {
    let folder: PathBuf = real.path().join("calendars/collection-root/alice/work");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let events = files.filter(|path| path.extension().is_some_and(|ending| ending == "ics"));
    events.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn agents_see_enter_and_cancel_events() {
    let (real, server) = world();
    assert_eq!(card(&server, "caldav")["status"], "ready");
    let title = "Über; a, b\\c\nEND:VEVENT\nBEGIN:VEVENT\nUID:evil 🎉 ".to_owned() + &"long ".repeat(40);
    let event = json!({"title": title, "start": "2026-05-01T10:00:00+02:00", "end": "2026-05-01T11:00:00+02:00", "notes": "<x>&"});
    let made = tool(&server, "caldav_create", event).unwrap();
    tool(&server, "caldav_create", json!({"title": "Holiday", "start": "2026-05-02", "end": "2026-05-04"})).unwrap();
    let files = kept(&real);
    assert_eq!(files.len(), 2, "{files:#?}");
    let begins = |file: &String| file.lines().filter(|line| *line == "BEGIN:VEVENT").count();
    assert!(files.iter().all(|file| begins(file) == 1), "{files:#?}");
    assert!(!files.iter().any(|file| file.contains("LOCATION")), "{files:#?}");
    let seen = |from: &str, until: &str| tool(&server, "caldav_events", json!({"from": from, "until": until})).unwrap();
    let all = seen("2026-05-01T00:00:00+02:00", "2026-05-08T00:00:00+02:00");
    let first = json!({"id": made["id"], "title": title.trim(), "start": "2026-05-01T08:00:00Z", "end": "2026-05-01T09:00:00Z", "notes": "<x>&"});
    assert_eq!(all[0], first, "{all:#}");
    assert_eq!(
        (&all[1]["title"], &all[1]["start"], &all[1]["end"]),
        (&json!("Holiday"), &json!("2026-05-02"), &json!("2026-05-04"))
    );
    assert_eq!(seen("2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z"), json!([]));
    tool(&server, "caldav_cancel", json!({"id": made["id"]})).unwrap();
    assert_eq!(kept(&real).len(), 1);
    let (code, message) = tool(&server, "caldav_cancel", json!({"id": made["id"]})).unwrap_err();
    assert_eq!((code.as_str(), message.as_str()), ("not_found", "There is no such event"));
    for wrong in ["tomorrow", "2026-05-01T10:00:00", "20260501\r\nX-EVIL:1"] {
        let (code, message) =
            tool(&server, "caldav_create", json!({"title": "x", "start": wrong, "end": wrong})).unwrap_err();
        assert!(code == "schema" && message.contains("2026-05-01T10:00:00+02:00"), "{code} {message}");
    }
    assert_eq!(kept(&real).len(), 1);
}

#[test]
fn the_test_says_what_is_wrong_and_what_to_do() {
    let (real, server) = world();
    let good = test(&server, "caldav", json!({}));
    assert_eq!((&good["ok"], &good["account"]), (&json!(true), &json!("alice, Work & more")), "{good:#}");
    let told = |given: Value| {
        let wrong = test(&server, "caldav", given);
        let text = |key: &str| wrong[key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"), text("hint"))
    };
    let (code, message, hint) = told(json!({"calendar_name": "Holidays"}));
    assert_eq!(
        (code.as_str(), hint.as_str()),
        ("not_found", "Correct `calendar_name`, or make the calendar"),
        "{message}"
    );
    assert!(
        message.contains("`Holidays`") && message.contains("Work & more") && message.contains("To do"),
        "{message}"
    );
    let (code, message, _) = told(json!({"calendar_name": "To do"}));
    assert_eq!((code.as_str(), message.as_str()), ("unsupported", "The calendar `To do` takes no events"));
    let (code, _, hint) = told(json!({"app_password": "wrong-0123456789"}));
    assert_eq!((code.as_str(), hint.as_str()), ("auth", "Make an app password and enter that"));
    assert_eq!(kept(&real).len(), 0);
}
