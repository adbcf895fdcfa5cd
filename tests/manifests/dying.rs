//! The process dies while a service gives tokens: what it gave is used once more where the service allows that; otherwise
//! somebody agrees again, and what waited for it goes on.

use crate::provider::{Provider, begin, come_back, connection, songs};
use serde_json::json;
use std::{os::unix::process::ExitStatusExt, thread};
use tercel_tests::{Engine, FakeModel, Options, Server, Turn};

const POINTS: [&str; 4] = ["outbound.before", "outbound.after", "commit.before", "commit.after"];
const SIGABRT: i32 = 6;
const MOST: u32 = 120;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It did not die.
    Lived,
    WentOn,
    AgreedAgain,
}

/// Dies at the n-th hit of each point, until there is no n-th; how often it ended how.
fn sweep(dies_at: impl Fn(&str) -> End + Sync) -> Vec<(&'static str, Vec<End>)> {
    thread::scope(|scope| {
        let sweeps = POINTS.map(|point| {
            let dies_at = &dies_at;
            let sweep = move || {
                let hits = Engine::tested().deaths(point).take_while(|n| *n <= MOST);
                let mut ends = Vec::new();
                for n in hits {
                    match dies_at(&format!("{point}:+{n}")) {
                        End::Lived => {
                            assert!(!ends.is_empty(), "`{point}` is not reached");
                            return (point, ends);
                        }
                        end => ends.push(end),
                    }
                }
                panic!("it still dies at hit {MOST} of `{point}`")
            };
            scope.spawn(sweep)
        });
        sweeps.map(|sweep| sweep.join().unwrap()).into()
    })
}

fn options(provider: &Provider, model: &FakeModel) -> Options {
    model.script(|asked| match asked.results().as_slice() {
        [] => Turn::Calls(vec![("music_songs".into(), json!({}))]),
        results => Turn::text(&results.join(" ")),
    });
    provider.options("code").model(model)
}

/// A life that may end at this point while somebody does this. Answers whether it did, and the next life.
fn lives(calm: &Options, point: &str, does: impl FnOnce(&Server)) -> (bool, Server) {
    let died = match Server::try_start(calm.clone().env("TERCEL_FAILPOINT", point)) {
        Ok(mut server) => {
            does(&server);
            server.ask_to_stop();
            let status = server.wait_exit();
            assert!(status.success() || status.signal() == Some(SIGABRT), "{point}: {status}: {}", server.log());
            !status.success()
        }
        Err(failure) => {
            assert_eq!(failure.status.signal(), Some(SIGABRT), "{point}: {}", failure.log);
            true
        }
    };
    (died, Server::start(calm.clone()))
}

fn agree(provider: &Provider, server: &Server) {
    let page = come_back(server, &provider.agree(begin(server)["url"].as_str().unwrap()));
    assert_eq!(page.status, 200, "{page}");
}

fn dies_renewing(point: &str, is_lenient: bool) -> End {
    let (provider, model) = (Provider::start(), FakeModel::start());
    provider.state().is_lenient = is_lenient;
    let calm = options(&provider, &model);
    let mut server = provider.agreed(calm.clone());
    server.put("/api/v1/bots/default", json!({"id": "default", "tools": ["*"]})).accepted();
    server.stop();
    provider.forget_access();
    let (died, server) = lives(&calm, point, |server| {
        let arguments = json!({"arguments": {}}).to_string();
        let json = [("content-type", "application/json")];
        let _ = server.try_call("POST", "/api/v1/tools/music_songs/call", &json, arguments);
    });
    let task = server.ask(&server.session("web:alice"), "Which songs are there?");
    let is_over = server.wait_for(&task, &["waiting", "complete"])["status"] == "waiting";
    if is_over {
        assert_eq!(connection(&server)["consent"]["state"], "over", "{point}");
        server.notice("consent:music");
        agree(&provider, &server);
    }
    let done = server.complete(&task);
    assert!(done["result"].as_str().unwrap().contains("one"), "{point}: {done:#}");
    assert_eq!(connection(&server)["consent"]["state"], "agreed", "{point}");
    match (died, is_over) {
        (false, over) => {
            assert!(!over, "{point}: an orderly end takes nothing away");
            End::Lived
        }
        (true, true) => End::AgreedAgain,
        (true, false) => End::WentOn,
    }
}

fn count(ends: &[(&str, Vec<End>)], end: End) -> usize {
    ends.iter().flat_map(|(_, ends)| ends).filter(|one| **one == end).count()
}

#[test]
fn a_server_that_dies_while_it_renews_uses_the_token_before_once_more() {
    let ends = sweep(|point| dies_renewing(point, true));
    assert_eq!(count(&ends, End::AgreedAgain), 0, "{ends:?}");
}

#[test]
fn where_a_service_takes_none_twice_runs_wait_until_somebody_has_agreed_again() {
    let ends = sweep(|point| dies_renewing(point, false));
    assert!(count(&ends, End::AgreedAgain) > 0 && count(&ends, End::WentOn) > 0, "{ends:?}");
}

fn dies_exchanging(point: &str) -> End {
    let (provider, model) = (Provider::start(), FakeModel::start());
    let calm = options(&provider, &model);
    let mut server = Server::start(calm.clone());
    let address = provider.agree(begin(&server)["url"].as_str().unwrap());
    server.stop();
    let path = address.parse::<url::Url>().unwrap();
    let path = format!("{}?{}", path.path(), path.query().unwrap());
    let (died, server) = lives(&calm, point, |server| _ = server.anonymous().try_call("GET", &path, &[], ""));
    let mut end = if died { End::WentOn } else { End::Lived };
    if connection(&server)["consent"]["state"] != "agreed" && server.anonymous().get(&path).status != 200 {
        let ended = connection(&server)["consent"]["asking"]["ended"].clone();
        assert!(ended["message"].as_str().is_some_and(|why| why.contains("invalid_grant")), "{point}: {ended:#}");
        agree(&provider, &server);
        end = End::AgreedAgain;
    }
    assert_eq!(songs(&server).expect(200)["ok"], true, "{point}");
    end
}

#[test]
fn a_server_that_dies_while_somebody_agrees_has_it_all_or_asks_again() {
    let ends = sweep(dies_exchanging);
    assert!(count(&ends, End::AgreedAgain) > 0 && count(&ends, End::WentOn) > 0, "{ends:?}");
}
