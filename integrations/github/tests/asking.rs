use super::*;
use tercel_sdk::{Cursor, Gap, Kind, Missed, Polled, testing::respond};

const SINCE: &str = "2026-01-05T10:00:00Z";

fn item(number: u64, created: &str, updated: &str) -> Value {
    json!({
        "id": 100 + number, "number": number, "title": format!("Issue {number}"), "body": "Help", "created_at": created,
        "updated_at": updated, "html_url": "", "user": {"login": "alice", "type": "User"},
    })
}

fn lists(world: &Arc<Fake>, since: &str, issues: Value, comments: Value, review_comments: Value) {
    let query = format!("state=all&sort=updated&direction=asc&since={}&per_page=100&page=1", since.replace(':', "%3A"));
    for (path, list) in [("issues", issues), ("issues/comments", comments), ("pulls/comments", review_comments)] {
        world.on(&format!("GET /repos/octo/hello/{path}?{query}"), 200, list);
    }
}

fn read(issues: &str, comments: &str) -> Cursor {
    Cursor::of(&json!({"octo/hello": {"issues": issues, "comments": comments, "review_comments": SINCE}})).unwrap()
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
    assert_eq!(first, Polled { news: Vec::new(), cursor: read(SINCE, SINCE) });
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
    lists(&world, SINCE, json!([new, pull, old]), json!([comment]), json!([]));
    world.on("GET /repos/octo/hello/pulls/8", 200, pull.clone()).on("GET /repos/octo/hello/issues/7", 200, new);
    let polled = poll(&world, &read(SINCE, SINCE)).await.unwrap();
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
            ("octo/hello/issues/opened/107", "issues.opened", "issue/7", true),
            ("octo/hello/issue_comment/created/5", "issue_comment.created", "issue/7", true),
            ("octo/hello/pull_request/opened/108", "pull_request.opened", "pr/8", true),
        ]
    );
    assert_eq!(polled.news[0].event.from, "github:octo/hello");
    assert_eq!(polled.cursor, read("2026-01-05T10:09:00Z", "2026-01-05T10:01:30Z"));
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
