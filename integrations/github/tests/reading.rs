use super::*;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::path::PathBuf;
use tercel_sdk::{
    Effect, Host, Kind, Mode, Result, Trust,
    host::{Context, Ids},
    testing::respond,
};

/// The outside world of a rehearsal: the recorded exchanges.
fn recorded() -> Arc<Fake> {
    let world = world();
    let exchanges = integration().exchanges;
    for path in exchanges.iter().map(|exchange| exchange.path.clone()) {
        let answers: Vec<_> = exchanges.iter().filter(|exchange| exchange.path == path).cloned().collect();
        world.on_with(&format!("GET {path}"), move |request| {
            let accept = request.headers["accept"].to_str().unwrap();
            let fits = |wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| accept.contains(wanted));
            let answer = answers.iter().find(|answer| fits(&answer.accept)).expect("an exchange fits");
            let body = answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
            Ok(respond(answer.status, &[], body))
        });
    }
    world
}

async fn call(tool: &str, arguments: Value) -> Result<Value> {
    github().world(&recorded()).call(tool, arguments).await
}

#[tokio::test]
async fn a_pull_request_is_read_with_files_and_diff() {
    let answer = call("github_get_pr", json!({"repo": "Codertocat/Hello-World", "number": 2})).await.unwrap();
    assert_eq!(
        answer,
        json!({
            "number": 2,
            "title": "Update the README with new information.",
            "state": "open",
            "draft": false,
            "author": "Codertocat",
            "base": "Codertocat:master",
            "head": "Codertocat:changes",
            "head_sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821",
            "labels": [],
            "created_at": "2019-05-15T15:20:33Z",
            "commits": 1,
            "additions": 1,
            "deletions": 1,
            "changed_files": 1,
            "url": "https://github.com/Codertocat/Hello-World/pull/2",
            "body": "This is a pretty simple change that we need to pull into master.",
            "files": [{"path": "README.md", "status": "modified", "additions": 1, "deletions": 1}],
            "diff": "diff --git a/README.md b/README.md\nindex 6178079..d2f3a77 100644\n--- a/README.md\n+++ b/README.md\n\
                     @@ -1 +1 @@\n-# Hello-World\n+# Hello-World: now with more information\n",
        })
    );
}

#[tokio::test]
async fn every_tool_that_the_events_name_can_be_rehearsed() {
    let pr = json!({"repo": "Codertocat/Hello-World", "number": 2});
    let files = call("github_list_pr_files", pr.clone()).await.unwrap();
    assert_eq!(files["files"][0]["patch"], "@@ -1 +1 @@\n-# Hello-World\n+# Hello-World: now with more information");
    assert_eq!(call("github_list_comments", pr.clone()).await.unwrap()["comments"], json!([]));
    let review = call("github_list_review_comments", pr).await.unwrap();
    assert_eq!(review["comments"][0]["body"], "Maybe you should use more emoji on this line.");
    let issue = call("github_get_issue", json!({"repo": "Codertocat/Hello-World", "number": 1})).await.unwrap();
    assert_eq!((&issue["kind"], &issue["title"]), (&json!("issue"), &json!("Spelling error in the README file")));
    let file = call("github_get_file", json!({"repo": "Codertocat/Hello-World", "path": "/README.md"})).await.unwrap();
    let expected = json!({"path": "README.md", "kind": "file", "size": 14, "lines": 1, "content": "# Hello-World\n"});
    assert_eq!(file, expected);
    let top = call("github_get_file", json!({"repo": "Codertocat/Hello-World"})).await.unwrap();
    assert_eq!(top, json!({"kind": "dir", "entries": [{"path": "README.md", "kind": "file", "size": 14}]}));
}

#[test]
fn only_tools_that_change_nothing_are_named_by_events() {
    for sample in integration().samples {
        let Ok(tercel_sdk::Received { outcome: tercel_sdk::Outcome::Events(events), .. }) = github().receive(&sample)
        else {
            assert_eq!(sample.name, "ping");
            continue;
        };
        for tool in events.into_iter().flat_map(|event| event.brief.expect("every sample runs").tools) {
            assert_eq!(github().effect(&tool), Effect::Read, "{tool}");
        }
    }
    for tool in ["github_create_comment", "github_create_issue"] {
        assert_eq!(github().effect(tool), Effect::Write);
    }
}

#[test]
fn a_tool_describes_itself_and_its_arguments() {
    let tools = integration().tools;
    for tool in &tools {
        assert!(tool.description.len() > 10, "{}", tool.name);
        assert_eq!(tool.parameters["properties"]["repo"]["type"], "string", "{}", tool.name);
        assert!(!tool.parameters.to_string().contains("$ref"), "{}", tool.parameters);
    }
    let get_pr = tools.iter().find(|tool| tool.name == "github_get_pr").unwrap();
    assert_eq!(get_pr.parameters["required"], json!(["repo", "number"]));
}

const PULL: &str = "/repos/Codertocat/Hello-World/pulls/2";

#[tokio::test]
async fn what_is_too_long_is_cut_and_says_so() {
    let whole = recorded().exchange_body(PULL);
    let world = recorded();
    world.on_with(&format!("GET {PULL}"), move |request| {
        let diff = request.headers["accept"].to_str().unwrap().contains("diff");
        Ok(respond(200, &[], if diff { "+é".repeat(50_000) } else { whole.to_string() }))
    });
    let answer =
        github().world(&world).call("github_get_pr", json!({"repo": "Codertocat/Hello-World", "number": 2})).await;
    let answer = answer.unwrap();
    assert_eq!(answer["diff"].as_str().unwrap().chars().count(), 60_000);
    let note = "cut: the first 60000 of 100000 characters; see github_list_pr_files for the rest";
    assert_eq!(answer["diff_note"], note);
}

#[tokio::test]
async fn a_pull_request_too_large_for_a_diff_is_still_read() {
    let whole = recorded().exchange_body(PULL);
    let world = recorded();
    world.on_with(&format!("GET {PULL}"), move |request| {
        let diff = request.headers["accept"].to_str().unwrap().contains("diff");
        Ok(if diff { respond(406, &[], r#"{"message": "too large"}"#) } else { respond(200, &[], whole.to_string()) })
    });
    let answer =
        github().world(&world).call("github_get_pr", json!({"repo": "Codertocat/Hello-World", "number": 2})).await;
    let answer = answer.unwrap();
    assert_eq!(
        (&answer["diff"], &answer["diff_note"]),
        (&json!(null), &json!("too large for a diff; see github_list_pr_files"))
    );
}

trait Recorded {
    fn exchange_body(&self, path: &str) -> Value;
}

impl Recorded for Arc<Fake> {
    fn exchange_body(&self, path: &str) -> Value {
        let exchanges = integration().exchanges;
        let json = exchanges.into_iter().find(|e| e.path == path && e.accept.as_deref() == Some("json"));
        json.expect("the exchange exists").body
    }
}

#[tokio::test]
async fn the_newest_comments_are_read_first() {
    let link = "<https://api.github.com/c?page=2>; rel=\"next\", <https://api.github.com/c?page=4>; rel=\"last\"";
    let comment = json!([{"id": 1, "html_url": "u", "created_at": "t", "body": null, "user": null}]);
    let world = world();
    world.on_with("GET /repos/o/h/issues/1/comments?per_page=30&page=1", move |_| {
        Ok(respond(200, &[("link", link)], "[]"))
    });
    world.on("GET /repos/o/h/issues/1/comments?per_page=30&page=4", 200, comment);
    let answer =
        github().world(&world).call("github_list_comments", json!({"repo": "o/h", "number": 1})).await.unwrap();
    let comments = json!([{"id": 1, "author": "ghost", "created_at": "t", "url": "u", "body": ""}]);
    assert_eq!(answer, json!({"comments": comments, "page": 4, "previous_page": null, "next_page": null}));
}

#[tokio::test]
async fn a_search_finds_in_its_repository_only() {
    let item = |number, repo| {
        json!({"number": number, "title": "T", "state": "open", "html_url": "u", "created_at": "t",
               "repository_url": format!("https://api.github.com/repos/{repo}")})
    };
    let found = json!({"items": [item(1, "O/H"), item(2, "o/private"), item(3, "x/o/h")]});
    let line = "GET /search/issues?q=crash+repo%3Ao%2Fprivate+repo%3Ao%2Fh+is%3Aissue&per_page=10";
    let world = world().on(line, 200, found);
    let search = json!({"repo": "o/h", "query": "crash repo:o/private"});
    let answer = github().world(&world).call("github_search_issues", search).await.unwrap();
    assert_eq!(answer["items"].as_array().unwrap().iter().map(|item| &item["number"]).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn no_argument_leads_out_of_the_repository() {
    let world = world();
    for arguments in [
        json!({"repo": "o/h", "path": "../../user"}),
        json!({"repo": "o/h", "path": "a/./b"}),
        json!({"repo": "o/..", "path": "a"}),
        json!({"repo": "o/h/issues", "path": "a"}),
    ] {
        let error = github().world(&world).call("github_get_file", arguments.clone()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Schema, "{arguments}");
    }
    assert!(world.requests().is_empty());
    let plain = self::world().on("GET /repos/o/h/contents/a%20b/c%3Fd?ref=x%26y", 200, json!([]));
    let arguments = json!({"repo": "o/h", "path": "a b/c?d", "ref": "x&y"});
    assert!(github().world(&plain).call("github_get_file", arguments).await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_no_text_or_too_large_says_so() {
    let file = |content: &str, encoding: &str| json!({"path": "f", "type": "file", "size": 9, "content": content, "encoding": encoding});
    let path = "GET /repos/o/h/contents/f";
    let get = json!({"repo": "o/h", "path": "f"});
    for (answer, note) in [
        (file("/////w==\n", "base64"), "a binary file"),
        (file("", "none"), "GitHub gives no content of files over 1 MB"),
    ] {
        let told = github().world(&world().on(path, 200, answer)).call("github_get_file", get.clone()).await.unwrap();
        assert_eq!(told, json!({"path": "f", "kind": "file", "size": 9, "note": note}));
    }
    let lines = world().on(path, 200, file("YQpi\nCmMK", "base64"));
    let told =
        github().world(&lines).call("github_get_file", json!({"repo": "o/h", "path": "f", "from_line": 2})).await;
    let told = told.unwrap();
    assert_eq!((&told["content"], &told["note"]), (&json!("b\nc\n"), &json!("lines 2 to 3 of 3")));
}

#[tokio::test]
async fn a_file_is_read_to_its_end_whatever_its_lines_are() {
    let long = "x".repeat(50_000);
    for (content, read) in [
        (format!("first\n{long}\nlast\n"), &[1, 2, 3][..]),
        (format!("first\n{long}"), &[1, 2][..]),
        (format!("{long}\nlast\n"), &[1, 2][..]),
        // One more than is shown: the sign that it was cut is as long as what was cut.
        ("x".repeat(40_001), &[1][..]),
        ("short\n".repeat(10_000), &[1, 6667][..]),
    ] {
        let file =
            json!({"path": "f", "type": "file", "size": 9, "content": BASE64.encode(&content), "encoding": "base64"});
        let bench = github().world(&world().on("GET /repos/o/h/contents/f", 200, file));
        let (mut from, mut seen) = (Some(1), Vec::new());
        while let Some(line) = from {
            assert!(seen.len() < 9, "it goes in circles: {seen:?}");
            seen.push(line);
            let told =
                bench.call("github_get_file", json!({"repo": "o/h", "path": "f", "from_line": line})).await.unwrap();
            let note = told["note"].as_str().unwrap_or_default();
            let whole = told["content"].as_str().is_some_and(|shown| content.ends_with(shown));
            assert_eq!(note.contains("too long") || note.contains("continue"), !whole, "{note}");
            from = note.split_once("continue with from_line ").map(|(_, line)| line.parse::<usize>().unwrap());
        }
        assert_eq!(seen, read);
    }
}

#[tokio::test]
async fn a_failure_says_what_to_do() {
    let missing = world().on("GET /repos/o/h/issues/1", 404, json!({"message": "Not Found"}));
    let error =
        github().world(&missing).call("github_get_issue", json!({"repo": "o/h", "number": 1})).await.unwrap_err();
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::NotFound, Some("It does not exist, or the token cannot see it"))
    );
}

#[tokio::test]
async fn what_tools_write_carries_our_mark() {
    let world = world().on("POST /repos/o/h/issues", 201, json!({"number": 5, "html_url": "https://i/5"})).on(
        "POST /repos/o/h/issues/5/comments",
        201,
        json!({"html_url": "https://c/1"}),
    );
    let bench = github().world(&world);
    let issue = json!({"repo": "o/h", "title": "T", "body": "B", "labels": ["bug"]});
    assert_eq!(bench.call("github_create_issue", issue).await, Ok(json!({"number": 5, "url": "https://i/5"})));
    let comment = json!({"repo": "o/h", "number": 5, "body": "C"});
    assert_eq!(bench.call("github_create_comment", comment).await, Ok(json!({"url": "https://c/1"})));
    let bodies: Vec<Value> = world.requests().iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect();
    assert_eq!(
        bodies,
        [
            json!({"title": "T", "body": "B\n\n<!-- tercel:tool -->", "labels": ["bug"]}),
            json!({"body": "C\n\n<!-- tercel:tool -->"}),
        ]
    );
}

fn host(world: &Arc<Fake>, ids: Ids, trust: Trust) -> Host {
    Host::new(Context {
        integration: "github".into(),
        connection: "default".into(),
        call: Default::default(),
        fields: Arc::default(),
        names: Arc::default(),
        account: None,
        ids,
        mode: Mode::Live,
        trust,
        idempotency_key: None,
        deadline: None,
        cancel: Default::default(),
        transport: world.clone(),
        tokens: None,
        state: PathBuf::new(),
    })
}

#[tokio::test]
async fn strangers_cannot_have_another_repository_read() {
    let get_issue = integration().tools.into_iter().find(|tool| tool.name == "github_get_issue").unwrap();
    let world = world().on("GET /repos/o/private/issues/1", 404, json!({}));
    let told = |place: &str| vec![place.to_owned()];
    for (client_id, strangers, trust, kind) in [
        ("github:o/h", told("github:o/h"), Trust::Untrusted, Kind::Forbidden),
        ("github:o/h", vec![], Trust::Trusted, Kind::NotFound),
        ("github:O/Private", told("github:O/Private"), Trust::Untrusted, Kind::NotFound),
        ("github:o/h", vec![], Trust::Untrusted, Kind::Forbidden),
        // A channel of another name does not make an event of a repository less an event of it.
        ("web:team", told("github:o/h"), Trust::Untrusted, Kind::Forbidden),
        ("slack:C1", told("github:o/h"), Trust::Untrusted, Kind::Forbidden),
        ("web:team", told("github:o/private"), Trust::Untrusted, Kind::NotFound),
        ("web:team", told(""), Trust::Untrusted, Kind::Forbidden),
        // People of a place that is not GitHub, and a person whom the operator trusts.
        ("slack:C1", told("slack:C1"), Trust::Untrusted, Kind::NotFound),
        ("web:team", vec![], Trust::Untrusted, Kind::NotFound),
    ] {
        let ids = Ids { client_id: Some(client_id.into()), strangers, ..Ids::default() };
        let label = format!("{ids:?}");
        let arguments = json!({"repo": "o/private", "number": 1});
        let error = (get_issue.handler)(host(&world, ids, trust), arguments.into()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{label}");
    }
    assert_eq!(world.requests().len(), 5);
}
