use super::*;
use tercel_sdk::{Cursor, Gap, Kind, Missed, Outcome, Polled, testing::respond};

const SINCE: &str = "2026-01-05T10:00:00Z";

fn item(number: u64, created: &str, updated: &str) -> Value {
    json!({
        "id": 100 + number, "number": number, "title": format!("Issue {number}"), "body": "Help", "created_at": created,
        "updated_at": updated, "html_url": "", "user": {"login": "alice", "type": "User"},
    })
}

/// A minute earlier: that is looked at again.
const ASKED: &str = "2026-01-05T09:59:00Z";

fn query(since: &str) -> String {
    format!("state=all&sort=updated&direction=asc&since={}&per_page=100&page=1", since.replace(':', "%3A"))
}

fn lists(world: &Arc<Fake>, since: &str, issues: Value, comments: Value, review_comments: Value) {
    let query = query(since);
    for (path, list) in [("issues", issues), ("issues/comments", comments), ("pulls/comments", review_comments)] {
        world.on(&format!("GET /repos/octo/hello/{path}?{query}"), 200, list);
    }
}

fn mark(since: &str, told: Value) -> Value {
    json!({"begun": SINCE, "since": since, "known": since, "told": told})
}

fn read(issues: Value, comments: Value) -> Cursor {
    let review_comments = mark(SINCE, json!({}));
    Cursor::of(&json!({"octo/hello": {"issues": issues, "comments": comments, "review_comments": review_comments}}))
        .unwrap()
}

fn begun() -> Cursor {
    read(mark(SINCE, json!({})), mark(SINCE, json!({})))
}

async fn poll(world: &Arc<Fake>, cursor: &Cursor) -> tercel_sdk::Result<Polled> {
    github().with("poll", "octo/hello").world(world).poll("news", cursor).await
}

#[tokio::test]
async fn polling_is_off_until_repositories_are_named() {
    let off = github().poll("news", &Cursor::default()).await.unwrap_err();
    assert_eq!((off.kind, off.message.as_str()), (Kind::NotConfigured, "GITHUB_POLL is not set"));
    let wrong = github().with("poll", "octo").poll("news", &Cursor::default()).await.unwrap_err();
    assert!(wrong.message.starts_with("GITHUB_POLL: `octo`: a repository is written"), "{}", wrong.message);
}

#[tokio::test]
async fn what_is_there_at_the_first_poll_is_old_by_the_clock_of_github() {
    let world = world().on_with("GET /repos/octo/hello/issues?per_page=1&state=all", |_| {
        Ok(respond(200, &[("date", "Mon, 05 Jan 2026 10:00:00 GMT")], "[]"))
    });
    let first = poll(&world, &Cursor::default()).await.unwrap();
    assert_eq!(first, Polled { news: Vec::new(), cursor: begun() });
}

#[tokio::test]
async fn new_issues_pull_requests_and_comments_become_what_the_webhook_makes_of_them() {
    let world = world();
    let mut pull = item(8, "2026-01-05T10:02:00Z", "2026-01-05T10:02:00Z");
    pull["pull_request"] = json!({"html_url": "x"});
    let old = item(1, "2025-01-01T00:00:00Z", "2026-01-05T10:09:00Z");
    let new = item(7, "2026-01-05T10:01:00Z", "2026-01-05T10:03:00Z");
    let comment = json!({
        "id": 5, "body": "And?", "user": {"login": "bob", "type": "User"}, "created_at": "2026-01-05T10:01:30Z",
        "updated_at": "2026-01-05T10:01:30Z", "issue_url": "https://api.github.com/repos/octo/hello/issues/7",
    });
    lists(&world, ASKED, json!([new, pull, old]), json!([comment]), json!([]));
    world.on("GET /repos/octo/hello/pulls/8", 200, pull.clone()).on("GET /repos/octo/hello/issues/7", 200, new);
    let polled = poll(&world, &begun()).await.unwrap();
    let told: Vec<_> = polled
        .news
        .iter()
        .map(|news| {
            (news.id.as_str(), news.name.as_str(), news.event.thread.as_deref().unwrap(), news.event.brief.is_some())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("octo/hello/issues/opened/7", "issues.opened", "issue/7", true),
            ("octo/hello/issue_comment/created/5", "issue_comment.created", "issue/7", true),
            ("octo/hello/pull_request/opened/8", "pull_request.opened", "pr/8", true),
        ]
    );
    assert_eq!(polled.news[0].event.from, "github:octo/hello");
    let comments = mark("2026-01-05T10:01:30Z", json!({"5": "2026-01-05T10:01:30Z"}));
    assert_eq!(polled.cursor, read(mark("2026-01-05T10:09:00Z", json!({})), comments));
}

fn page(items: &[Value], more: bool) -> tercel_sdk::Result<tercel_sdk::http::Response> {
    let link = r#"<https://api.github.com/x?per_page=100&page=2>; rel="next""#;
    let headers: &[(&str, &str)] = if more { &[("link", link)] } else { &[] };
    Ok(respond(200, headers, Value::from(items.to_vec()).to_string()))
}

fn at(minute: u64) -> String {
    format!("2026-01-05T{}:{:02}:00Z", 10 + minute / 60, minute % 60)
}

/// The list of issues as GitHub gives it, two at a time.
fn listing(world: &Arc<Fake>, issues: &[Value]) {
    let mut issues = issues.to_vec();
    issues.sort_by_key(|issue| issue["updated_at"].as_str().unwrap().to_owned());
    for since in std::iter::once(ASKED.to_owned()).chain((0..120).map(at)) {
        let rest: Vec<Value> =
            issues.iter().filter(|issue| issue["updated_at"].as_str().unwrap() >= since.as_str()).cloned().collect();
        let url = format!("GET /repos/octo/hello/issues?{}", query(&since));
        world.on_with(&url, move |_| page(&rest[..rest.len().min(2)], rest.len() > 2));
    }
    for kind in ["issues", "pulls"] {
        world.on(&format!("GET /repos/octo/hello/{kind}/comments?{}", query(ASKED)), 200, json!([]));
    }
}

fn told(polled: &Polled) -> Vec<&str> {
    polled.news.iter().map(|news| news.id.rsplit('/').next().unwrap()).collect()
}

#[tokio::test]
async fn an_issue_that_was_changed_while_others_were_read_is_not_passed_over() {
    let world = world();
    // Twelve in ten minutes, and more of them than are read at once. The sixth is changed again and again.
    let made: Vec<Value> = (1..=12).map(|n| item(n, &at(n), &at(n))).collect();
    listing(&world, &made);
    let first = poll(&world, &begun()).await.unwrap();
    let mut changed = made.clone();
    changed[8] = item(9, &at(9), &at(30));
    changed[1] = item(2, &at(2), &at(31));
    listing(&world, &changed);
    let second = poll(&world, &first.cursor).await.unwrap();
    let third = poll(&world, &second.cursor).await.unwrap();
    let mut all: Vec<u64> = [&first, &second, &third].into_iter().flat_map(told).map(|n| n.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=12).collect::<Vec<_>>(), "each of them once");
    assert!(!told(&first).contains(&"9"), "it was not reached");
}

#[tokio::test]
async fn an_issue_that_moves_between_two_pages_takes_none_with_it() {
    let world = world();
    let made = |n: u64| item(n, &at(n), &at(n));
    listing(&world, &[made(1), made(2), made(3)]);
    let moved = item(1, &at(1), &at(40));
    // After the first page, the first issue is the last one: by number the second page would begin behind the third.
    let rest = [made(2), made(3), moved];
    world.on_with(&format!("GET /repos/octo/hello/issues?{}", query(&at(2))), move |_| page(&rest, false));
    assert_eq!(told(&poll(&world, &begun()).await.unwrap()), ["1", "2", "3"]);
}

#[tokio::test]
async fn what_is_polled_has_the_id_that_it_has_by_webhook() {
    let world = world();
    let mut new = item(7, "2026-01-05T10:01:00Z", "2026-01-05T10:03:00Z");
    lists(&world, ASKED, json!([new]), json!([]), json!([]));
    let polled = poll(&world, &begun()).await.unwrap();
    // The lists of issues and of pull requests give the same thing two ids.
    new["id"] = 9999.into();
    let sent = event("issues", in_repo(json!({"action": "opened", "issue": new})));
    let received = github().receive(&sent).unwrap();
    let Outcome::Events(events) = received.outcome else { panic!("{:?}", received.outcome) };
    assert_eq!(events[0].id.as_deref(), Some(polled.news[0].id.as_str()));
}

fn gap(places: &[&str]) -> Gap {
    Gap {
        since: 1_767_607_200,
        until: 1_767_610_800,
        webhook: "/integrations/github/webhook".into(),
        places: places.iter().map(|place| (*place).to_owned()).collect(),
    }
}

fn delivery(id: u64, guid: &str, at: &str, status: u16) -> Value {
    json!({"id": id, "guid": guid, "delivered_at": at, "status_code": status, "redelivery": false, "event": "issues"})
}

#[tokio::test]
async fn only_what_never_arrived_in_the_gap_is_asked_for_again_oldest_first() {
    let hook = |id: u64, url: &str| json!({"id": id, "active": true, "config": {"url": url}});
    let deliveries = json!([
        delivery(9, "c", "2026-01-05T10:30:00Z", 502),
        delivery(8, "b", "2026-01-05T10:20:00Z", 200),
        delivery(7, "b", "2026-01-05T10:15:00Z", 502),
        delivery(6, "a", "2026-01-05T10:10:00.123Z", 0),
        delivery(5, "old", "2026-01-05T09:00:00Z", 502),
    ]);
    let world = world()
        .on(
            "GET /repos/octo/hello/hooks?per_page=100",
            200,
            json!([
                hook(1, "https://elsewhere.example/hook"),
                hook(2, "https://tercel.example/integrations/github/webhook")
            ]),
        )
        .on("GET /repos/octo/hello/hooks/2/deliveries?per_page=100", 200, deliveries)
        .on("POST /repos/octo/hello/hooks/2/deliveries/6/attempts", 202, json!({}))
        .on("POST /repos/octo/hello/hooks/2/deliveries/9/attempts", 202, json!({}));
    let missed = github().world(&world).missed(&gap(&["github:octo/hello"])).await.unwrap();
    assert_eq!(missed, Missed { asked_again: 2, ..Missed::default() });
    let asked = world.requests().into_iter().filter(|request| request.method == "POST");
    let asked: Vec<_> = asked.map(|request| request.url.path().to_owned()).collect();
    assert_eq!(
        asked,
        ["/repos/octo/hello/hooks/2/deliveries/6/attempts", "/repos/octo/hello/hooks/2/deliveries/9/attempts"]
    );
}

#[tokio::test]
async fn deliveries_are_read_page_by_page() {
    let link = r#"<https://api.github.com/x?per_page=100&cursor=v1_7>; rel="next""#;
    let first = move |_: &tercel_sdk::http::Request| {
        let deliveries = json!([delivery(9, "c", "2026-01-05T10:30:00Z", 200)]);
        Ok(respond(200, &[("link", link)], deliveries.to_string()))
    };
    let second = json!([delivery(6, "a", "2026-01-05T10:10:00Z", 503)]);
    let hook = json!([{"id": 2, "active": true, "config": {"url": "https://x.example/integrations/github/webhook"}}]);
    let world = world()
        .on("GET /repos/octo/hello/hooks?per_page=100", 200, hook)
        .on_with("GET /repos/octo/hello/hooks/2/deliveries?per_page=100", first)
        .on("GET /repos/octo/hello/hooks/2/deliveries?per_page=100&cursor=v1_7", 200, second)
        .on("POST /repos/octo/hello/hooks/2/deliveries/6/attempts", 202, json!({}));
    assert_eq!(github().world(&world).missed(&gap(&["github:octo/hello"])).await.unwrap().asked_again, 1);
}

#[tokio::test]
async fn a_repository_whose_webhooks_may_not_be_seen_is_named() {
    let world = world().on("GET /repos/octo/hello/hooks?per_page=100", 404, json!({"message": "Not Found"}));
    let missed = github().world(&world).missed(&gap(&["github:octo/hello", "github:odd"])).await.unwrap();
    assert_eq!(
        missed.unknown,
        [
            "`octo/hello`: GitHub answered 404: Not Found. The token needs the permission Webhooks: read and write to have deliveries sent again"
        ]
    );
}
