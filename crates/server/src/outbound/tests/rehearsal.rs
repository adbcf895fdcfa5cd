use super::*;
use axum::routing::get;
use serde_json::json;

fn rehearsal() -> Scope {
    staged(false)
}

fn live() -> Scope {
    staged(true)
}

fn staged(live_reads: bool) -> Scope {
    let exchanges = json!([
        {"path": "/pulls/1", "body": {"title": "One"}},
        {"path": "/pulls/1", "accept": "diff", "body": "+ line"},
        {"path": "/pulls?state=open", "status": 404, "body": []},
        {"method": "POST", "path": "/graphql", "body": {"data": 1}},
    ]);
    let exchanges = serde_json::from_value(exchanges).unwrap();
    Scope { mode: Mode::Rehearse, rehearsal: Rehearsal::new(exchanges, live_reads), ..scope(&[]) }
}

fn asked(method: &str, url: &str, body: &str, fate: Fate) -> Asked {
    Asked { method: method.into(), url: url.into(), body: body.into(), fate }
}

#[tokio::test]
async fn reads_are_answered_from_what_was_recorded() {
    let mut world = world();
    let scope = rehearsal();
    let client = world.client_of(scope.clone());
    let base = "https://api.example.com";
    assert_eq!(outcome(client.get(format!("{base}/pulls/1"))).await, r#"200 {"title":"One"}"#);
    let diff = client.get(format!("{base}/pulls/1")).header("accept", "application/vnd.diff");
    assert_eq!(outcome(diff).await, "200 + line");
    assert_eq!(outcome(client.get(format!("{base}/pulls?state=open"))).await, "404 []");
    assert_eq!(
        outcome(client.get(format!("{base}/pulls"))).await,
        "unsupported: a rehearsal has no recorded answer for GET /pulls; add it to fixtures/api.json or use --live-reads"
    );
    let fates: Vec<Fate> = scope.rehearsal.asked().into_iter().map(|asked| asked.fate).collect();
    let recorded = |status| Fate::Recorded { status };
    assert_eq!(fates, [recorded(200), recorded(200), recorded(404), Fate::Missing]);
    assert_eq!(world.ledger(), [""; 0]);
}

#[tokio::test]
async fn writes_are_withheld_and_shown_without_secrets() {
    let mut world = world();
    let scope = live();
    let client = world.client_of(scope.clone());
    let url = "https://api.example.com/bot123456789012:secret/send?chat=1";
    assert_eq!(outcome(post(&client, url).bearer("t")).await, "unsupported: withheld: a rehearsal sends nothing");
    assert!(post(&client, url).stream().await.is_err());
    let expected = asked("POST", "https://api.example.com/…/send?chat=1", "hello", Fate::Withheld);
    assert_eq!(scope.rehearsal.asked(), [expected.clone(), expected]);
    assert_eq!(world.ledger(), [""; 0]);
}

#[tokio::test]
async fn a_write_with_a_recorded_answer_gets_it_and_is_withheld() {
    let mut world = world();
    let scope = live();
    let client = world.client_of(scope.clone());
    assert_eq!(outcome(post(&client, "https://api.example.com/graphql")).await, r#"200 {"data":1}"#);
    let expected = asked("POST", "https://api.example.com/graphql", "hello", Fate::Withheld);
    assert_eq!(scope.rehearsal.asked(), [expected]);
    assert_eq!(world.ledger(), [""; 0]);
}

#[tokio::test]
async fn live_reads_go_out() {
    let url = serve(Router::new().route("/pulls/1", get(|| async { "live" }))).await;
    let world = world();
    let granted = scope(&[&url]).granted;
    let scope = Scope { granted, ..live() };
    let client = world.client_of(scope.clone());
    assert_eq!(outcome(client.get(format!("{url}/pulls/1"))).await, "200 live");
    assert_eq!(scope.rehearsal.asked(), [asked("GET", &format!("{url}/pulls/1"), "", Fate::Sent)]);
}
