use super::*;
use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode},
    routing::{any, get},
};

/// A server that redirects `/<status>` to an address, and one that says which credentials it got.
async fn redirecting(to: &str) -> String {
    let to = to.to_owned();
    let go = move |Path(status): Path<u16>| {
        let to = to.clone();
        async move { (StatusCode::from_u16(status).unwrap(), [("location", to)]) }
    };
    serve(Router::new().route("/{status}", any(go))).await
}

async fn telling() -> String {
    let tell = |method: Method, headers: HeaderMap, body: String| async move {
        let secrets: Vec<&str> = ["authorization", "cookie", "x-api-key", "x-plain"]
            .into_iter()
            .filter(|name| headers.contains_key(*name))
            .collect();
        format!("{method} {} {body:?}", secrets.join(" "))
    };
    serve(Router::new().route("/", any(tell))).await
}

fn with_secrets(request: Builder) -> Builder {
    request.bearer("t").header("cookie", "a=b").secret_header("x-api-key", "k").header("x-plain", "p")
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_host() {
    let target = telling().await;
    let url = redirecting(&target).await;
    let mut world = world();
    let client = world.client(&[&url, &target]);
    assert_eq!(outcome(with_secrets(client.get(format!("{url}/302")))).await, "200 GET x-plain \"\"");
    assert_eq!(outcome(with_secrets(post(&client, &format!("{url}/303")))).await, "200 GET x-plain \"\"");
    assert_eq!(outcome(with_secrets(post(&client, &format!("{url}/307")))).await, "307 ");
    assert_eq!(outcome(with_secrets(client.get(&target))).await, "200 GET authorization cookie x-api-key x-plain \"\"");
    assert_eq!(world.ledger()[..2], ["GET 127.0.0.1/302 → 302, 0 out, 0 in", "GET 127.0.0.1/ → 200, 0 out, 14 in"]);
}

#[tokio::test]
async fn every_hop_is_checked() {
    for to in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost.example/",
        "http://user:password@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ] {
        let url = redirecting(to).await;
        let world = world().name("localhost.example", &[&["127.0.0.1"]]);
        let client = world.client(&[&url]);
        assert_eq!(kind(client.get(format!("{url}/302"))).await, "forbidden", "{to}");
        // The write itself happened.
        assert_eq!(kind(post(&client, &format!("{url}/303"))).await, "unknown_outcome", "{to}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_redirect_to_what_the_operator_gave() {
    let url = redirecting("http://10.1.1.1:8123/").await.replace("127.0.0.1", "stranger.example");
    let world = world_with(|options| {
        options.allow_private = vec!["127.0.0.1/32".parse().unwrap()];
        options.connect_timeout = Duration::from_millis(50);
    })
    .name("stranger.example", &[&["127.0.0.1"]]);
    let client = world.client(&["http://10.1.1.1:8123/"]);
    assert_eq!(kind(client.get(format!("{url}/302"))).await, "forbidden");
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    let step = |Path(left): Path<u32>| async move {
        let status = if left == 0 { StatusCode::OK } else { StatusCode::FOUND };
        (status, [("location", format!("/{}", left.saturating_sub(1)))], "here")
    };
    let url = serve(Router::new().route("/{left}", get(step))).await;
    let mut world = world();
    let client = world.client(&[&url]);
    assert_eq!(outcome(client.get(format!("{url}/5"))).await, "200 here");
    assert_eq!(world.ledger().len(), 6);
    assert_eq!(outcome(client.get(format!("{url}/6"))).await, "error: The service redirected more than 5 times");
}
