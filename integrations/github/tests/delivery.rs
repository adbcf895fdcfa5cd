use super::*;
use tercel_sdk::{
    Error, Kind, Receipt, Revoked, Target,
    testing::{outbound, respond},
};

const COMMENTS: &str = "/repos/octo/hello/issues/7/comments";
const REPLIES: &str = "/repos/octo/hello/pulls/7/comments/5/replies";
const FOUND: &str = "?per_page=100&page=1&since=2025-12-31T23%3A55%3A00Z";

fn conversation() -> Target {
    Target::new("github", json!({"repo": "octo/hello", "number": 7}))
}

fn review_thread() -> Target {
    Target::new("github", json!({"repo": "octo/hello", "number": 7, "in_reply_to": 5}))
}

fn made(id: u64) -> Value {
    json!({"id": id, "html_url": format!("https://c/{id}")})
}

fn receipt(id: u64) -> Receipt {
    Receipt { id: Some(id.to_string()), url: Some(format!("https://c/{id}")) }
}

fn comment(id: u64, author: &str, body: &str) -> Value {
    json!({"id": id, "html_url": format!("https://c/{id}"), "body": body, "user": {"login": author}})
}

#[tokio::test]
async fn an_answer_is_a_comment_with_a_hidden_mark() {
    let world = world().on(&format!("POST {COMMENTS}"), 201, made(1));
    assert_eq!(github().world(&world).deliver(&conversation(), "Hello").await, Ok(receipt(1)));
    let request = &world.requests()[0];
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"body": "Hello\n\n<!-- tercel:test-marker -->"}));
    assert_eq!(request.headers["authorization"], "Bearer ghp_x");
    assert!(request.headers["authorization"].is_sensitive());
}

#[tokio::test]
async fn an_answer_to_a_comment_on_code_goes_to_its_thread_or_to_the_conversation_when_that_is_gone() {
    let world = world().on(&format!("POST {REPLIES}"), 201, made(2));
    assert_eq!(github().world(&world).deliver(&review_thread(), "Hi").await, Ok(receipt(2)));
    let world = self::world().on(&format!("POST {REPLIES}"), 404, json!({"message": "Not Found"})).on(
        &format!("POST {COMMENTS}"),
        201,
        made(3),
    );
    assert_eq!(github().world(&world).deliver(&review_thread(), "Hi").await, Ok(receipt(3)));
    let world = self::world().on(&format!("POST {REPLIES}"), 500, json!({}));
    assert_eq!(github().world(&world).deliver(&review_thread(), "Hi").await.unwrap_err().kind, Kind::UnknownOutcome);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn a_comment_that_was_made_counts_even_if_the_answer_cannot_be_read() {
    let world = world().on(&format!("POST {COMMENTS}"), 201, json!("<html>"));
    assert_eq!(github().world(&world).deliver(&conversation(), "Hello").await, Ok(Receipt::default()));
}

#[tokio::test]
async fn the_longest_part_fits_with_its_mark() {
    let limit = integration().dispatchers["github"].limit;
    let hmac = "f".repeat(64);
    let whole = crate::github::mark::mark(&"ü".repeat(limit), &hmac);
    assert!(whole.chars().count() <= 65_536);
}

#[tokio::test]
async fn nothing_is_sent_without_a_token_or_to_a_strange_repository() {
    let world = world();
    let nobody = check(integration()).world(&world);
    let error = nobody.deliver(&conversation(), "Hello").await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::NotConfigured, "GITHUB_TOKEN is not set"));
    for repo in ["octo/hello/../..", "octo", "a/b?c"] {
        let target = Target::new("github", json!({"repo": repo, "number": 7}));
        assert_eq!(github().world(&world).deliver(&target, "Hello").await.unwrap_err().kind, Kind::Schema, "{repo}");
    }
    assert!(world.requests().is_empty());
}

#[tokio::test]
async fn a_refused_answer_says_why() {
    let locked = json!({"message": "Unable to create comment because issue is locked."});
    let world = world().on(&format!("POST {COMMENTS}"), 403, locked);
    let error = github().world(&world).deliver(&conversation(), "Hello").await.unwrap_err();
    assert_eq!(
        error,
        Error::new(Kind::Forbidden, "GitHub answered 403: Unable to create comment because issue is locked.")
            .status(403)
            .hint("The conversation is locked: unlock it, or give the token's owner write access")
    );
}

#[tokio::test]
async fn a_lost_comment_is_found_by_its_mark_and_our_login() {
    let ours = "Hello\n\n<!-- tercel:test-marker -->";
    let others = json!([
        comment(1, "octobot", "Hello\n\n<!-- tercel:another-marker -->"),
        comment(2, "stranger", ours),
        comment(3, "octobot", "> <!-- tercel:test-marker -->"),
        {"id": 4},
    ]);
    let world = world().on(&format!("GET {COMMENTS}{FOUND}"), 200, others);
    let bench = github().account("octobot");
    assert_eq!(bench.world(&world).find(&conversation(), "Hello").await, Ok(None));
    let world = self::world().on(&format!("GET {COMMENTS}{FOUND}"), 200, json!([comment(9, "OctoBot", ours)]));
    assert_eq!(github().account("octobot").world(&world).find(&conversation(), "Hello").await, Ok(Some(receipt(9))));
    // The login is asked for when nothing here says it.
    let world = world.on("GET /user", 200, json!({"login": "someone-else"}));
    assert_eq!(github().world(&world).find(&conversation(), "Hello").await, Ok(None));
    // The installation of an app has none; the mark is proof enough.
    let world = world.on("GET /user", 403, json!({"message": "Resource not accessible by integration"}));
    assert_eq!(github().world(&world).find(&conversation(), "Hello").await, Ok(Some(receipt(9))));
}

#[tokio::test]
async fn a_lost_answer_to_a_comment_on_code_is_looked_for_in_both_places() {
    let ours = "Hello\n\n<!-- tercel:test-marker -->";
    let world = world().on(&format!("GET /repos/octo/hello/pulls/7/comments{FOUND}"), 200, json!([])).on(
        &format!("GET {COMMENTS}{FOUND}"),
        200,
        json!([comment(9, "octobot", ours)]),
    );
    let bench = github().account("octobot").world(&world);
    assert_eq!(bench.find(&review_thread(), "Hello").await, Ok(Some(receipt(9))));
    world.on(&format!("GET /repos/octo/hello/pulls/7/comments{FOUND}"), 200, json!([comment(8, "octobot", ours)]));
    assert_eq!(bench.find(&review_thread(), "Hello").await, Ok(Some(receipt(8))));
}

#[tokio::test]
async fn the_newest_comment_is_reached_and_too_many_are_not_taken_for_none() {
    let world = world();
    for page in 1..=10 {
        let next = format!("<https://api.github.com/x?page={}>; rel=\"next\"", page + 1);
        let line = format!("GET {COMMENTS}{}", FOUND.replace("page=1&", &format!("page={page}&")));
        world.on_with(&line, move |_| Ok(respond(200, &[("link", &next)], "[]")));
    }
    let bench = github().account("octobot").world(&world);
    let error = bench.find(&conversation(), "Hello").await.unwrap_err();
    assert_eq!((error.kind, world.requests().len()), (Kind::Error, 10));
    let last = format!("GET {COMMENTS}{}", FOUND.replace("page=1&", "page=3&"));
    world.on(&last, 200, json!([comment(9, "octobot", "<!-- tercel:test-marker -->")]));
    assert_eq!(bench.find(&conversation(), "Hello").await, Ok(Some(receipt(9))));
    assert_eq!(outbound("Hello").created_at, "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn the_connection_test_shows_whose_the_token_is() {
    let world = world().on("GET /user", 200, json!({"login": "octobot"}));
    let checked = github().world(&world).test().await.unwrap();
    assert_eq!(
        (checked.account.as_deref(), checked.message.as_str()),
        (Some("octobot"), "The token belongs to `octobot`")
    );
    let no_secret = check(integration()).with("token", "t").world(&world).test().await.unwrap();
    assert!(no_secret.message.ends_with("webhooks are refused until GITHUB_WEBHOOK_SECRET is set"));
    let other = github().with("bot_login", "other").world(&world).test().await.unwrap_err();
    assert_eq!(other.message, "GITHUB_BOT_LOGIN is `other`, but the token belongs to `octobot`");
}

#[tokio::test]
async fn the_connection_test_tells_failures_apart() {
    let nobody = check(integration()).test().await.unwrap_err();
    assert_eq!(nobody.kind, Kind::NotConfigured);
    let bad = world().on("GET /user", 401, json!({"message": "Bad credentials"}));
    let error = github().world(&bad).test().await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Auth, "GitHub answered 401: Bad credentials"));
    assert!(error.hint.unwrap().contains("GITHUB_TOKEN"));
    let address = github().with("api_url", "mailto:x").test().await.unwrap_err();
    assert_eq!(address.message, "The API address is not usable: it has no host");
}

#[tokio::test]
async fn the_token_of_an_app_is_known_by_what_it_sees() {
    let world = world().on("GET /user", 403, json!({"message": "Resource not accessible by integration"})).on(
        "GET /installation/repositories?per_page=1",
        200,
        json!({"total_count": 3}),
    );
    let checked = github().with("bot_login", "my-app[bot]").world(&world).test().await.unwrap();
    assert_eq!(
        (checked.account.as_deref(), checked.message.as_str()),
        (Some("my-app[bot]"), "The token of an app sees 3 repositories")
    );
}

#[tokio::test]
async fn the_token_of_an_apps_installation_is_revoked_and_any_other_is_not_ours_to_revoke() {
    let world = world().on("DELETE /installation/token", 204, json!(""));
    let app = github().with("token", "ghs_x").world(&world);
    assert_eq!(app.revoke().await, Ok(Revoked::Done));
    assert!(matches!(github().world(&world).revoke().await, Ok(Revoked::Impossible(_))));
    assert_eq!(world.requests().len(), 1);
    let gone = self::world().on("DELETE /installation/token", 401, json!({"message": "Bad credentials"}));
    assert_eq!(app.world(&gone).revoke().await.unwrap_err().kind, Kind::Auth);
}

#[tokio::test]
async fn a_comment_gets_another_text_where_it_stands() {
    let (remark, reply) = ("PATCH /repos/octo/hello/issues/comments/9", "PATCH /repos/octo/hello/pulls/comments/9");
    let world = world().on(remark, 200, json!({})).on(reply, 200, json!({}));
    let bench = github().world(&world);
    let receipt = |url: &str| Receipt { id: Some("9".into()), url: Some(url.into()) };
    for url in ["https://c/octo/hello/issues/7#issuecomment-9", "https://c/octo/hello/pull/7#discussion_r9"] {
        bench.update(&review_thread(), "More", &receipt(url)).await.unwrap();
    }
    let paths: Vec<String> = world.requests().iter().map(|request| request.url.path().to_owned()).collect();
    assert_eq!(paths, ["/repos/octo/hello/issues/comments/9", "/repos/octo/hello/pulls/comments/9"]);
    let gone = github().world(&self::world()).update(&conversation(), "More", &Receipt::default()).await;
    assert_eq!(gone.unwrap_err().kind, Kind::Schema);
}
