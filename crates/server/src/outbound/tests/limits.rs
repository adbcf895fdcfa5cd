use super::*;
use axum::{http::StatusCode, routing::get};
use futures::StreamExt;

/// A server that says "later", and how often it was asked.
async fn busy() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let later = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], "later") }
    };
    (serve(Router::new().route("/", get(later))).await, asked)
}

#[tokio::test]
async fn a_service_that_asked_for_a_pause_is_not_asked_again() {
    let (url, asked) = busy().await;
    let mut world = world();
    let client = world.client(&[&url]);
    assert_eq!(outcome(client.get(&url)).await, "429 later");
    let error = client.get(&url).send().await.unwrap_err();
    assert_eq!(error.kind.as_str(), "rate_limited");
    assert!(error.retry_after.is_some_and(|wait| (58..=60).contains(&wait.as_secs())), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(world.ledger(), ["GET 127.0.0.1/ → 429, 0 out, 5 in"]);

    let other = world.client_of(Scope { connection: Some("other".into()), ..scope(&[&url]) });
    assert_eq!(outcome(other.get(&url)).await, "429 later");
}

#[tokio::test]
async fn a_stream_keeps_its_place_until_it_is_dropped() {
    let url = serve_raw(head("200 OK", "content-length: 100") + "half", Then::Hang).await;
    let world = world_with(|options| options.per_host = 1);
    let client = world.client(&[&url]);
    let mut first = client.get(&url).stream().await.unwrap();
    assert_eq!(first.body.next().await.unwrap().unwrap(), "half");
    assert_eq!(kind(post(&client, &url).timeout(Duration::from_millis(20))).await, "network");

    let models = world.client_of(Scope { integration: None, ..scope(&[&url]) });
    assert!(models.get(&url).stream().await.is_ok(), "the models have places of their own");
    drop(first);
    assert!(client.get(&url).stream().await.is_ok());
}

#[tokio::test]
async fn a_full_ledger_holds_nobody_up() {
    let url = serve(Router::new().route("/", get(|| async { "hello" }))).await;
    let (sender, mut rows) = mpsc::channel(1);
    let world = world_with(|options| options.ledger = sender);
    let client = world.client(&[&url]);
    for _ in 0..3 {
        assert_eq!(outcome(client.get(&url)).await, "200 hello");
    }
    assert!(rows.try_recv().is_ok());
    assert!(rows.try_recv().is_err());
}

#[tokio::test]
async fn each_call_is_announced_and_its_return_too() {
    static CALLS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let url = serve(Router::new().route("/", get(|| async { "hello" }))).await;
    let world = world_with(|options| options.probe = |point| CALLS.lock().unwrap().push(point));
    assert_eq!(outcome(world.client(&[&url]).get(&url)).await, "200 hello");
    assert_eq!(kind(world.client(&[]).get(&url)).await, "forbidden");
    assert_eq!(*CALLS.lock().unwrap(), ["outbound.before", "outbound.after"]);
}
