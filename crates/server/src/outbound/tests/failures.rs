use super::*;
use axum::{
    body::{Body, Bytes},
    extract::Request,
    routing::{any, get, post as at_post},
};
use futures::StreamExt;

/// `hello`, compressed.
const HELLO: &str = "1f8b0800000000000203cb48cdc9c9070086a6103605000000";

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back() {
    async fn echo(request: Request) -> String {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1024).await.unwrap();
        let mut headers: Vec<String> =
            parts.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        headers.sort();
        headers.retain(|header| !header.starts_with("host=127.0.0.1:"));
        format!("{} {} {} {body:?}", parts.method, parts.uri, headers.join(" "))
    }
    let url = serve(Router::new().route("/{*path}", any(echo))).await;
    let mut world = world();
    let client = world.client(&[&url]);
    let request = post(&client, &format!("{url}/a/b?c=d")).bearer("t").header("host", "evil.example");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        outcome(request.header("transfer-encoding", "chunked")).await,
        format!(
            "200 POST /a/b?c=d accept-encoding=gzip accept=*/* authorization=Bearer t content-length=5 \
             content-type=text/plain user-agent=tercel/{version} b\"hello\""
        )
    );
    let rows = world.ledger();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].starts_with("POST 127.0.0.1/a/b → 200, 5 out, "), "{rows:?}");
}

#[tokio::test]
async fn a_row_of_the_ledger_says_who_called_whom() {
    let url = serve(Router::new().route("/", get(|| async { "hello" }))).await;
    let mut world = world();
    let task = Uuid::from_u128(7);
    let client = world.client_of(Scope { task: Some(task), ..scope(&[&url]) });
    client.get(format!("{url}/?token=x")).send().await.unwrap();
    let row = world.rows.try_recv().unwrap();
    assert!(row.at > 1_700_000_000_000_000);
    assert_eq!(
        row,
        Egress {
            at: row.at,
            integration: Some("example".into()),
            connection: Some("default".into()),
            task: Some(task),
            method: "GET".into(),
            host: url.trim_start_matches("http://").into(),
            path: "/".into(),
            status: Some(200),
            error: None,
            sent_bytes: 0,
            received_bytes: 5,
            duration_ms: row.duration_ms,
        }
    );
}

#[tokio::test]
async fn what_did_not_reach_the_other_side_did_not_happen() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/");
    let mut world = world().name("nowhere.example", &[&[]]);
    let client = world.client(&[&url]);
    for request in [client.get(&url), post(&client, &url), post(&client, "http://nowhere.example/")] {
        assert_eq!(kind(request).await, "network");
    }
    // The resolver never answers for this one.
    let slow = post(&client, "http://slow.example/").timeout(Duration::from_millis(20));
    assert_eq!(outcome(slow).await, "network: `slow.example` was not reached: no answer within 0.02 s");
    assert_eq!(
        world.ledger()[1..],
        [
            "POST 127.0.0.1/ → 0 network, 0 out, 0 in",
            "POST nowhere.example/ → 0 network, 0 out, 0 in",
            "POST slow.example/ → 0 network, 0 out, 0 in"
        ]
    );
}

#[tokio::test]
async fn a_write_without_an_encrypted_connection_is_not_sent() {
    let plain = serve_raw("HTTP/1.1 200 OK\r\n\r\n", Then::HangUp).await.replace("http:", "https:");
    let world = world();
    assert_eq!(kind(post(&world.client(&[&plain]), &plain)).await, "network");
}

#[tokio::test]
async fn silence_after_a_write_is_an_unknown_outcome_and_after_a_read_a_timeout() {
    let url = serve_raw("", Then::Hang).await;
    let mut world = world();
    let client = world.client(&[&url]);
    let soon = Duration::from_millis(50);
    assert_eq!(kind(client.get(&url).timeout(soon)).await, "timeout");
    assert_eq!(kind(client.request(Method::PUT, &url).timeout(soon)).await, "timeout");
    assert_eq!(kind(post(&client, &url).repeatable().timeout(soon)).await, "timeout");
    assert_eq!(kind(post(&client, &url).timeout(soon)).await, "unknown_outcome");
    assert_eq!(kind(client.post(&url).timeout(soon)).await, "unknown_outcome");
    assert_eq!(world.ledger()[3], "POST 127.0.0.1/ → 0 unknown_outcome, 5 out, 0 in");
}

#[tokio::test]
async fn a_connection_that_breaks_counts_by_what_it_may_have_done() {
    let silent = serve_raw("", Then::HangUp).await;
    let half = serve_raw(head("200 OK", "content-length: 100") + "half", Then::HangUp).await;
    let garbage = serve_raw("SSH-2.0-OpenSSH\r\n", Then::HangUp).await;
    let world = world();
    let client = world.client(&[&silent, &half, &garbage]);
    for url in [&silent, &half, &garbage] {
        assert_eq!(kind(client.get(url)).await, "network");
        assert_eq!(kind(post(&client, url)).await, "unknown_outcome");
    }
}

#[tokio::test]
async fn a_failing_status_speaks_even_when_its_body_breaks_off() {
    let broken = serve_raw(head("422 Unprocessable", "content-length: 100") + "no such field", Then::HangUp).await;
    let endless = serve_raw(head("404 Not Found", "content-length: 100") + "nothing", Then::Hang).await;
    let world = world();
    let client = world.client(&[&broken, &endless]);
    assert_eq!(outcome(post(&client, &broken)).await, "422 no such field");
    assert_eq!(outcome(client.get(&endless).timeout(Duration::from_millis(100))).await, "404 nothing");
    assert_eq!(outcome(post(&client, &endless).max_response(3)).await, "404 not");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_a_timeout() {
    let url = serve_raw(head("200 OK", "content-length: 100") + "slow", Then::Hang).await;
    let mut world = world();
    let client = world.client(&[&url]);
    let soon = Duration::from_millis(50);
    assert_eq!(kind(client.get(&url).timeout(soon)).await, "timeout");
    assert_eq!(kind(post(&client, &url).timeout(soon)).await, "unknown_outcome");
    assert_eq!(
        world.ledger(),
        ["GET 127.0.0.1/ → 200 timeout, 0 out, 4 in", "POST 127.0.0.1/ → 200 unknown_outcome, 5 out, 4 in"]
    );
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let url = serve(Router::new().route("/", get(|| async { "12345" }).post(|| async { "12345" }))).await;
    let world = world_with(|options| options.max_response = 5);
    let client = world.client(&[&url]);
    assert_eq!(outcome(client.get(&url)).await, "200 12345");
    let error = client.get(&url).max_response(4).send().await.unwrap_err();
    assert_eq!((error.kind.as_str(), error.status), ("schema", Some(200)));
    assert_eq!(kind(post(&client, &url).max_response(4)).await, "unknown_outcome");
}

#[tokio::test]
async fn a_compressed_answer_is_unpacked_and_counted_by_what_comes_out() {
    let bomb = bomb(64 << 20);
    let packed = |body: Vec<u8>| move || async move { ([("content-encoding", "gzip")], Bytes::from(body)) };
    let hello = hex::decode(HELLO).unwrap();
    let cut = hello[..hello.len() - 10].to_vec();
    let router = Router::new().route("/hello", get(packed(hello))).route("/bomb", get(packed(bomb)));
    let url = serve(router.route("/cut", get(packed(cut)))).await;
    let mut world = world();
    let client = world.client(&[&url]);
    assert_eq!(outcome(client.get(format!("{url}/hello"))).await, "200 hello");
    assert_eq!(outcome(client.request(Method::HEAD, format!("{url}/hello"))).await, "200 ");
    assert_eq!(kind(client.get(format!("{url}/bomb")).max_response(1 << 20)).await, "schema");
    let received: u64 = std::iter::from_fn(|| world.rows.try_recv().ok()).last().unwrap().received_bytes;
    assert!((1 << 20..2 << 20).contains(&received), "reading ended at {received}");
    assert_eq!(kind(client.get(format!("{url}/cut"))).await, "schema");
}

#[tokio::test]
async fn a_stream_is_handed_on_piece_by_piece_without_a_limit() {
    let (sender, pieces) = futures::channel::mpsc::unbounded::<Result<Bytes, io::Error>>();
    let pieces = Arc::new(Mutex::new(Some(pieces)));
    let take = move || {
        let pieces = pieces.lock().unwrap().take().unwrap();
        async { Body::from_stream(pieces) }
    };
    let url = serve(Router::new().route("/", at_post(take))).await;
    let mut world = world_with(|options| options.max_response = 4);
    let client = world.client(&[&url]);
    let mut answer = post(&client, &url).stream().await.unwrap();
    for piece in ["one", "two", "three"] {
        sender.unbounded_send(Ok(Bytes::from(piece))).unwrap();
        assert_eq!(answer.body.next().await.unwrap().unwrap(), piece);
    }
    assert_eq!(world.ledger(), [""; 0], "the row is written when the stream is over");
    drop(sender);
    assert!(answer.body.next().await.is_none());
    assert_eq!(world.ledger(), ["POST 127.0.0.1/ → 200, 5 out, 11 in"]);
}

#[tokio::test]
async fn a_stream_that_falls_silent_or_breaks_ends_with_an_error() {
    let silent = serve_raw(head("200 OK", "content-length: 100") + "half", Then::Hang).await;
    let broken = serve_raw(head("200 OK", "content-length: 100") + "half", Then::HangUp).await;
    let mute = serve_raw("", Then::Hang).await;
    let world = world();
    let client = world.client(&[&silent, &broken, &mute]);
    let soon = Duration::from_millis(50);
    for (url, expected) in [(&silent, "timeout"), (&broken, "network")] {
        let mut answer = client.get(url).timeout(soon).stream().await.unwrap();
        assert_eq!(answer.body.next().await.unwrap().unwrap(), "half");
        assert_eq!(answer.body.next().await.unwrap().unwrap_err().kind.as_str(), expected);
        assert!(answer.body.next().await.is_none());
    }
    assert_eq!(client.get(&mute).timeout(soon).stream().await.err().unwrap().kind.as_str(), "timeout");
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once() {
    let mute = serve_raw("", Then::Hang).await;
    let half = serve_raw(head("200 OK", "content-length: 100") + "half", Then::Hang).await;
    let mut world = world();
    let scope = scope(&[&mute, &half]);
    let (client, cancel) = (world.client_of(scope.clone()), scope.cancel.clone());
    let mut stream = client.get(&half).stream().await.unwrap();
    stream.body.next().await.unwrap().unwrap();
    let (_, read, write) = tokio::join!(
        async {
            // Both are on their way once the server's side of the connection is quiet; the order does not matter.
            tokio::task::yield_now().await;
            cancel.cancel();
        },
        kind(client.get(&mute)),
        kind(client.post(&mute)),
    );
    assert_eq!((read, write), ("network", "unknown_outcome"));
    assert_eq!(stream.body.next().await.unwrap().unwrap_err().kind.as_str(), "network");
    assert_eq!(kind(post(&client, &mute)).await, "network");
    assert_eq!(world.ledger().len(), 3, "what was cancelled before it began is no traffic");
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_row() {
    let url = serve_raw("", Then::Hang).await;
    let mut world = world();
    let client = world.client(&[&url]);
    let call = tokio::time::timeout(Duration::from_millis(20), post(&client, &url).send()).await;
    assert!(call.is_err());
    assert_eq!(world.ledger(), ["POST 127.0.0.1/ → 0 unknown_outcome, 0 out, 0 in"]);
}

#[tokio::test]
async fn errors_do_not_repeat_what_may_be_secret() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = serve_raw("", Then::HangUp).await;
    let world = world();
    let client = world.client(&[&format!("http://{closed}"), &silent]);
    for url in [format!("http://{closed}/bot123:tok-in-path?key=tok-in-query"), format!("{silent}/tok-in-path")] {
        let error = post(&client, &url).secret_header("x-key", "tok-in-header").send().await.unwrap_err();
        assert!(!format!("{error:?}").contains("tok-"), "{error:?}");
    }
}

/// That many zeros and some more, compressed about a hundred and sixty times: one deflate block with the fixed codes,
/// a zero and then "258 times the byte before".
fn bomb(size: usize) -> Vec<u8> {
    let mut bits: Vec<u8> = vec![1, 1, 0];
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]);
    let repeat = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    bits.extend(repeat.iter().cycle().take(size.div_ceil(258) * repeat.len()));
    let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit));
    hex::decode("1f8b08000000000002ff").unwrap().into_iter().chain(bytes).collect()
}
