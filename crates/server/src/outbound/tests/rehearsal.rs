use super::*;
use axum::routing::get;
use serde_json::json;

fn rehearsal() -> Scope {
    let exchange = |path: &str, accept: Option<&str>, status, body| Exchange {
        path: path.into(),
        accept: accept.map(str::to_owned),
        status,
        body,
    };
    Scope {
        mode: Mode::Rehearse,
        exchanges: Arc::new([
            exchange("/pulls/1", None, 200, json!({"title": "One"})),
            exchange("/pulls/1", Some("diff"), 200, json!("+ line")),
            exchange("/pulls?state=open", None, 404, json!([])),
        ]),
        ..scope(&[])
    }
}

#[tokio::test]
async fn reads_are_answered_from_what_was_recorded() {
    let mut world = world();
    let client = world.client_of(rehearsal());
    let base = "https://api.example.com";
    assert_eq!(outcome(client.get(format!("{base}/pulls/1"))).await, r#"200 {"title":"One"}"#);
    let diff = client.get(format!("{base}/pulls/1")).header("accept", "application/vnd.diff");
    assert_eq!(outcome(diff).await, "200 + line");
    assert_eq!(outcome(client.get(format!("{base}/pulls?state=open"))).await, "404 []");
    assert_eq!(
        outcome(client.get(format!("{base}/pulls"))).await,
        "unsupported: a rehearsal has no recorded answer for GET /pulls; add it to fixtures or use --live-reads"
    );
    assert_eq!(world.ledger(), [""; 0]);
}

#[tokio::test]
async fn writes_are_withheld_and_shown_without_secrets() {
    let mut world = world();
    let scope = Scope { live_reads: true, ..rehearsal() };
    let client = world.client_of(scope.clone());
    let url = "https://api.example.com/bot123456789012:secret/send?chat=1";
    assert_eq!(outcome(post(&client, url).bearer("t")).await, "unsupported: withheld: a rehearsal sends nothing");
    assert!(post(&client, url).stream().await.is_err());
    let expected =
        Withheld { method: "POST".into(), url: "https://api.example.com/…/send?chat=1".into(), body: "hello".into() };
    assert_eq!(*scope.withheld.lock().unwrap(), [expected.clone(), expected]);
    assert_eq!(world.ledger(), [""; 0]);
}

#[tokio::test]
async fn live_reads_go_out() {
    let url = serve(Router::new().route("/pulls/1", get(|| async { "live" }))).await;
    let world = world();
    let granted = scope(&[&url]).granted;
    let client = world.client_of(Scope { live_reads: true, granted, ..rehearsal() });
    assert_eq!(outcome(client.get(format!("{url}/pulls/1"))).await, "200 live");
}
