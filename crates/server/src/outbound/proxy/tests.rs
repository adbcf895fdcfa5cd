//! The proxy against processes that behave and that do not.

use super::*;
use crate::outbound::{Egress, Names, Options};
use futures::{FutureExt, future::BoxFuture};
use std::{io, net::IpAddr, sync::Mutex};
use tercel_sdk::Kind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinHandle,
};

/// Answers these names with these addresses, the first once and the last for good.
struct Scripted(Mutex<Vec<(&'static str, Vec<IpAddr>)>>);

impl Names for Scripted {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut known = self.0.lock().unwrap();
        let found = known.iter().position(|(name, _)| *name == host);
        let last = |position: usize, known: &Vec<(&str, Vec<IpAddr>)>| {
            !known[position + 1..].iter().any(|(name, _)| *name == host)
        };
        let answer = match found {
            Some(position) if last(position, &known) => Ok(known[position].1.clone()),
            Some(position) => Ok(known.remove(position).1),
            None => Err(io::Error::other("no such host")),
        };
        async move { answer }.boxed()
    }
}

struct World {
    proxy: Arc<Proxy>,
    rows: mpsc::Receiver<Egress>,
    stopping: CancellationToken,
}

/// A proxy for which loopback is allowed where `reachable`, so that a service here stands for a public one.
async fn world(names: &[(&'static str, &str)], reachable: &[&str], api: SocketAddr) -> World {
    let names = names.iter().map(|(name, address)| (*name, vec![address.parse().unwrap()])).collect();
    let (sender, rows) = mpsc::channel(64);
    let outbound = Outbound::new(Options {
        names: Arc::new(Scripted(Mutex::new(names))),
        allow_private: reachable.iter().map(|net| net.parse().unwrap()).collect(),
        connect_timeout: Duration::from_secs(2),
        ..Options::new(sender)
    });
    let stopping = CancellationToken::new();
    let proxy =
        Proxy::open_with(outbound.unwrap(), api, None, stopping.clone(), Duration::from_millis(800)).await.unwrap();
    World { proxy, rows, stopping }
}

fn nowhere() -> SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

impl World {
    fn pass(&self, hosts: &[&str]) -> Pass {
        let permit = Permit { integration: "tried".into(), hosts: Hosts::parse(hosts).unwrap(), granted: Vec::new() };
        self.proxy.admit(permit)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy.port())).await.unwrap()
    }

    /// The answer to a request with this first line.
    async fn ask(&self, pass: &Pass, line: &str) -> String {
        let mut connection = self.connect().await;
        let request =
            format!("{line} HTTP/1.1\r\nHost: elsewhere.example\r\n{}Connection: close\r\n\r\n", authorized(pass));
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A tunnel that stands.
    async fn tunnel(&self, pass: &Pass, target: &str) -> TcpStream {
        let mut connection = self.connect().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorized(pass));
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
        connection
    }

    async fn row(&mut self) -> Egress {
        tokio::time::timeout(Duration::from_secs(10), self.rows.recv()).await.unwrap().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn authorized(pass: &Pass) -> String {
    let proxy = url::Url::parse(&pass.environment()["HTTPS_PROXY"]).unwrap();
    let said = format!("{}:{}", proxy.username(), proxy.password().unwrap());
    format!("Proxy-Authorization: Basic {}\r\n", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, said))
}

/// Reads until the other side has ended, then says what it read, backwards.
async fn backwards() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut heard = Vec::new();
            connection.read_to_end(&mut heard).await.unwrap();
            heard.reverse();
            connection.write_all(&heard).await.unwrap();
        }
    });
    (port, task)
}

/// Answers one request after the other with what it got of it.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        let mut headers: Vec<_> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort();
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        format!("{} {} to {host} with {}", request.method(), request.uri(), headers.join(","))
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn who_has_no_pass_gets_nothing() {
    let world = world(&[("api.example.com", "127.0.0.1")], &["127.0.0.0/8"], nowhere()).await;
    let stranger = world_of_another().await;
    for line in ["CONNECT api.example.com:443", "GET http://api.example.com/"] {
        assert_eq!(status(&world.ask(&stranger, line).await), "407");
    }
    let pass = world.pass(&["api.example.com"]);
    let copied = authorized(&pass);
    drop(pass);
    let mut connection = world.connect().await;
    let request = format!("CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n{copied}Connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), "407", "a pass ends with its process");
}

async fn world_of_another() -> Pass {
    world(&[], &[], nowhere()).await.pass(&["api.example.com"])
}

#[tokio::test]
async fn what_is_not_named_or_not_public_is_refused_and_written_down() {
    let mut world = world(
        &[
            ("named.example.com", "127.0.0.1"),
            ("home.example.com", "192.168.1.1"),
            ("cloud.example.com", "169.254.169.254"),
            ("mapped.example.com", "::ffff:127.0.0.1"),
            ("other.example.com", "93.184.216.34"),
        ],
        &[],
        nowhere(),
    )
    .await;
    let pass = world.pass(&[
        "named.example.com",
        "home.example.com",
        "cloud.example.com",
        "mapped.example.com",
        "127.0.0.1",
        "[::1]",
    ]);
    for (target, why) in [
        ("other.example.com:443", "does not name it"),
        ("93.184.216.34:443", "does not name it"),
        ("named.example.com:443", "this machine"),
        ("home.example.com:443", "a private address"),
        ("cloud.example.com:80", "a metadata service"),
        ("mapped.example.com:443", "this machine"),
        ("127.0.0.1:443", "this machine"),
        ("2130706433:443", "this machine"),
        ("0x7f.1:443", "this machine"),
        ("[::1]:443", "this machine"),
        ("[::ffff:127.0.0.1]:443", "this machine"),
        ("[::ffff:93.184.216.34]:443", "does not name it"),
    ] {
        for line in [format!("CONNECT {target}"), format!("GET http://{target}/path")] {
            let answer = world.ask(&pass, &line).await;
            assert_eq!((status(&answer), answer.contains(why)), ("403", true), "{line}: {answer}");
            let row = world.row().await;
            assert_eq!(
                (row.integration.as_deref(), row.error, row.status),
                (Some("tried"), Some(Kind::Forbidden), None)
            );
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_bad_request() {
    let world = world(&[], &[], nowhere()).await;
    let pass = world.pass(&["named.example.com"]);
    for line in [
        "GET /",
        "GET https://named.example.com/",
        "GET ftp://named.example.com/",
        "GET http://user:password@named.example.com/",
        "CONNECT named.example.com",
        "OPTIONS *",
    ] {
        let answer = world.ask(&pass, line).await;
        assert_eq!(status(&answer), "400", "{line}: {answer}");
    }
    assert_eq!(status(&world.ask(&pass, "CONNECT named.example.com:443").await), "502");
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_looked_at_each_time() {
    let (port, _service) = backwards().await;
    let world =
        world(&[("a.example.com", "127.0.0.1"), ("a.example.com", "10.0.0.1")], &["127.0.0.1/32"], nowhere()).await;
    let pass = world.pass(&["*.example.com"]);
    drop(world.tunnel(&pass, &format!("a.example.com:{port}")).await);
    let answer = world.ask(&pass, &format!("CONNECT a.example.com:{port}")).await;
    assert_eq!(status(&answer), "403", "{answer}");
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_goes_on_when_one_side_has_ended() {
    let (port, _service) = backwards().await;
    let mut world = world(&[("a.example.com", "127.0.0.1")], &["127.0.0.1/32"], nowhere()).await;
    let pass = world.pass(&["a.example.com"]);
    let mut tunnel = world.tunnel(&pass, &format!("a.example.com:{port}")).await;
    let (mut reader, mut writer) = tunnel.split();
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (wrote, read) = tokio::join!(
        async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        },
        async {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            heard
        }
    );
    let () = wrote;
    assert!(read.iter().rev().eq(sent.iter()));
    let row = world.row().await;
    assert_eq!((row.method.as_str(), row.host.as_str()), ("CONNECT", format!("a.example.com:{port}").as_str()));
    assert_eq!((row.status, row.error, row.sent_bytes, row.received_bytes), (Some(200), None, 1_000_000, 1_000_000));
}

#[tokio::test]
async fn a_tunnel_ends_with_its_pass_and_when_nothing_moves() {
    let (port, _service) = backwards().await;
    let mut world = world(&[("a.example.com", "127.0.0.1")], &["127.0.0.1/32"], nowhere()).await;
    let pass = world.pass(&["a.example.com"]);
    let mut silent = world.tunnel(&pass, &format!("a.example.com:{port}")).await;
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(world.row().await.error, Some(Kind::Network));
    let mut cut = world.tunnel(&pass, &format!("a.example.com:{port}")).await;
    drop(pass);
    assert_eq!(cut.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(world.row().await.error, None);
}

#[tokio::test]
async fn a_request_is_passed_on_to_the_host_that_was_checked() {
    let service = mirror().await;
    let mut world = world(&[("a.example.com", "127.0.0.1")], &["127.0.0.1/32"], nowhere()).await;
    let pass = world.pass(&["a.example.com"]);
    let port = service.port();
    let answer = world.ask(&pass, &format!("GET http://a.example.com:{port}/way?q=1")).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with(&format!("GET /way?q=1 to a.example.com:{port} with host")), "{answer}");
    let row = world.row().await;
    assert_eq!((row.method.as_str(), row.path.as_str(), row.status), ("GET", "/way", Some(200)));
    assert!(row.received_bytes > 0);
}

#[tokio::test]
async fn the_servers_own_api_is_open_to_all_passes_and_in_no_ledger() {
    let api = mirror().await;
    let mut world = world(&[], &[], api).await;
    let pass = world.pass(&[]);
    let answer = world.ask(&pass, &format!("GET http://{api}/api/v1/tools")).await;
    assert!(answer.contains("GET /api/v1/tools"), "{answer}");
    let other = format!("GET http://127.0.0.1:{}/", world.proxy.port());
    assert_eq!(status(&world.ask(&pass, &other).await), "403");
    assert_eq!(world.row().await.host, format!("127.0.0.1:{}", world.proxy.port()), "the first row is the refused one");
}

#[tokio::test]
async fn what_the_operator_gave_may_be_private_and_only_at_its_port() {
    let service = mirror().await;
    let world = world(&[], &[], nowhere()).await;
    let pass = world.pass(&[]);
    assert_eq!(status(&world.ask(&pass, &format!("GET http://{service}/")).await), "403");
    pass.grant(vec![HostPort { host: "127.0.0.1".into(), port: service.port() }]);
    assert_eq!(status(&world.ask(&pass, &format!("GET http://{service}/")).await), "200");
    assert_eq!(status(&world.ask(&pass, &format!("GET http://127.0.0.1:{}/", world.proxy.port())).await), "403");
}

#[tokio::test]
async fn one_process_cannot_take_all_connections() {
    let (port, _service) = backwards().await;
    let world = world(&[("a.example.com", "127.0.0.1")], &["127.0.0.1/32"], nowhere()).await;
    let (greedy, other) = (world.pass(&["a.example.com"]), world.pass(&["a.example.com"]));
    let target = format!("a.example.com:{port}");
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("a.example.com:{}", listening.local_addr().unwrap().port());
    let mut kept = Vec::new();
    for _ in 0..64 {
        kept.push(world.tunnel(&greedy, &deaf).await);
    }
    assert_eq!(status(&world.ask(&greedy, &format!("CONNECT {target}")).await), "503");
    drop(world.tunnel(&other, &target).await);
}
