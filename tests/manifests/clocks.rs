//! Clocks that are wrong: the provider's, and that of the machine.

use crate::provider::{Provider, begin, connection, songs};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command, sync::LazyLock};
use tercel_tests::{Options, Server, until};

const HOURS: i64 = 3_600;

/// What makes a program believe that it is as many seconds later as CLOCK_OFFSET says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *offset = getenv("CLOCK_OFFSET");
    int failed = real(id, time);
    if (!failed && id == CLOCK_REALTIME && offset) time->tv_sec += atol(offset);
    return failed;
}
"#;

static LIBRARY: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let place = tempfile::tempdir().unwrap();
    let (source, library) = (place.path().join("clock.c"), place.path().join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let mut compiler = Command::new("cc");
    let compiled = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(compiled.unwrap().success());
    (place, library)
});

/// The clock of the machine is wrong by so many seconds.
fn off(options: Options, seconds: i64) -> Options {
    options.env("LD_PRELOAD", LIBRARY.1.to_str().unwrap()).env("CLOCK_OFFSET", &seconds.to_string())
}

#[test]
fn what_a_provider_whose_clock_is_off_says_of_times_ends_no_consent() {
    let lives =
        [json!(-3_600), json!("-1"), json!(1e300), json!(u64::MAX), json!("soon"), Value::Null, json!({"in": 1})];
    let dates = ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday"];
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    for (life, date) in lives.into_iter().zip(dates.into_iter().cycle()) {
        let before = provider.asked("refresh_token");
        (provider.state().life, provider.state().date) = (life.clone(), Some(date));
        provider.forget_access();
        for _ in 0..3 {
            let played = songs(&server).expect(200);
            assert_eq!(played["ok"], true, "{life} {date}: {played:#}");
        }
        assert_eq!(provider.asked("refresh_token"), before + 1, "{life} {date}: once, and not at every call");
    }
    assert_eq!(connection(&server)["consent"]["state"], "agreed");
}

#[test]
fn a_machine_whose_clock_is_hours_wrong_keeps_its_consent_also_when_the_clock_is_set() {
    for wrong in [5 * HOURS, -5 * HOURS] {
        let provider = Provider::start();
        let mut server = Server::start(off(provider.options("device"), wrong));
        begin(&server);
        provider.types(Ok(()));
        until("it is connected", || (connection(&server)["state"] == "connected").then_some(()));
        let agreed_at =
            connection(&server)["consent"]["agreed_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
        let by = (agreed_at.unwrap() - chrono::Utc::now()).num_seconds();
        assert!((by - wrong).abs() < 300, "the clock of the server is wrong by {by} s");
        for _ in 0..2 {
            assert_eq!(songs(&server).expect(200)["ok"], true);
        }
        assert_eq!(provider.asked("refresh_token"), 0, "{wrong}: a wrong clock is right for itself");
        server.stop();
        server.start_again_with(|options| off(options, 0));
        for _ in 0..2 {
            assert_eq!(songs(&server).expect(200)["ok"], true);
        }
        assert_eq!(provider.asked("refresh_token"), 1, "{wrong}: how old the token is was not known any more");
        assert_eq!(connection(&server)["consent"]["state"], "agreed");
    }
}

#[test]
fn who_is_asked_while_the_clock_is_set_is_asked_on_or_told_that_it_is_over() {
    for wrong in [5 * HOURS, -5 * HOURS] {
        let provider = Provider::start();
        let mut server = Server::start(off(provider.options("device"), wrong));
        begin(&server);
        server.stop();
        server.start_again_with(|options| off(options, 0));
        if wrong < 0 {
            let ended = until("it is over", || {
                connection(&server)["consent"]["asking"]["ended"]["code"].as_str().map(str::to_owned)
            });
            assert_eq!(ended, "expired");
            provider.types(Err("expired_token"));
            begin(&server);
        }
        provider.types(Ok(()));
        until("it is connected", || (connection(&server)["state"] == "connected").then_some(()));
        assert_eq!(songs(&server).expect(200)["ok"], true);
    }
}
