//! What all routes have in common: lists, ids, rates.

use crate::{has, id_of};
use std::collections::BTreeSet;
use tercel_tests::{Answer, World, until};

#[test]
fn lists_go_on_where_the_link_says() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 0..7 {
        world.server.ask(&session, &format!("{n}"));
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/tasks?limit=3".to_owned();
    loop {
        let answer: Answer = world.server.get(&path);
        let page = answer.expect(200);
        let page = page.as_array().unwrap();
        assert!(page.len() <= 3 && !page.is_empty());
        seen.extend(page.iter().map(id_of));
        let Some(link) = answer.header("link") else { break };
        assert!(link.contains("rel=\"next\""), "{link}");
        let target = link.split(['<', '>']).nth(1).unwrap();
        path = target.trim_start_matches(&world.server.base).to_owned();
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (7, 7));
    for odd in ["?limit=0", "?limit=-1", "?limit=many", "?cursor=nonsense"] {
        let answer = world.server.get(&format!("/api/v1/tasks{odd}"));
        assert_eq!(answer.status, 422, "{odd}: {answer}");
    }
}

#[test]
fn ids_that_are_none_are_not_found_or_refused() {
    let world = World::start();
    for path in [
        "/api/v1/tasks/1",
        "/api/v1/documents/x",
        "/api/v1/deliveries/'",
        "/api/v1/channels/0",
        "/api/v1/sessions/x/messages",
    ] {
        let answer = world.server.get(path);
        assert!([404, 422].contains(&answer.status), "{path}: {answer}");
        has(&answer.json(), &["detail", "code"]);
    }
    let nowhere = world.server.get("/api/v1/nothing/here");
    has(&nowhere.expect(404), &["detail", "code"]);
    let wrong = world.server.delete("/api/v1/tasks");
    has(&wrong.expect(405), &["detail", "code"]);
}

#[test]
fn a_key_that_asks_too_often_is_told_to_wait() {
    let world = World::start_with(|options| options.env("TERCEL_RATE", "20"));
    let key = world.server.key(&["tasks:read"]);
    let refused = (0..500)
        .map(|_| key.get("/api/v1/tasks"))
        .find(|answer| answer.status != 200)
        .expect("500 requests are too many");
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    assert_eq!(world.server.get("/api/v1/tasks").status, 200, "another key has its own");
    until("it may ask again", || (key.get("/api/v1/tasks").status == 200).then_some(()));
}
