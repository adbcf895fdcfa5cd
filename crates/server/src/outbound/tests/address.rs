use super::*;
use crate::outbound::address::{Verdict, verdict};
use axum::routing::get;

/// One letter for each address: public, private (of any kind), metadata.
fn check(expected: &str, addresses: &[&str]) {
    for address in addresses {
        let found = match verdict(address.parse().unwrap()) {
            Verdict::Public => "public",
            Verdict::Private(_) => "private",
            Verdict::Metadata => "metadata",
        };
        assert_eq!(found, expected, "{address}");
    }
}

#[test]
fn public_addresses_are_public() {
    check("public", &["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"]);
    check("public", &["192.167.255.255", "192.169.0.0", "169.253.0.1", "198.17.0.1", "198.20.0.0", "223.255.255.255"]);
    check("public", &["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "64:ff9b::808:808"]);
    check("public", &["::ffff:8.8.8.8", "2002:808:808::1"]);
}

#[test]
fn addresses_that_are_not_public_are_not() {
    check(
        "private",
        &["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255"],
    );
    check("private", &["192.168.1.1", "100.64.0.1", "100.127.255.255", "169.254.0.1", "192.0.0.1", "192.0.2.1"]);
    check("private", &["198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1"]);
    check("private", &["239.255.255.255", "240.0.0.1", "255.255.255.255"]);
    check("private", &["::", "::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "2001:db8::1"]);
    check("private", &["3fff::1", "2001:2::1", "100::1", "4000::1", "5f00::1", "64:ff9b:1::808:808", "2001:10::1"]);
}

#[test]
fn an_address_that_hides_another_is_what_it_hides() {
    check("private", &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1"]);
    check("private", &["64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:a00:1::1", "2002:7f00:1::1", "2002:c0a8:101::"]);
    // Teredo with a private server, and with a private client (its bits are turned over).
    check("private", &["2001:0:a00:1::f7f7:f7f7", "2001:0:808:808::f5ff:fffe"]);
    check("private", &["2606:4700::5efe:a00:1", "2606:4700::200:5efe:192.168.0.1"]);
}

#[test]
fn metadata_services_are_known_in_every_form() {
    check("metadata", &["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16"]);
    check("metadata", &["192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"]);
    check("metadata", &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]);
}

fn admits(nets: &[&str], address: &str) -> bool {
    Policy::new(nets.iter().map(|net| net.parse().unwrap()).collect()).admits(address.parse().unwrap()).is_ok()
}

#[test]
fn a_list_of_networks_opens_those_networks_but_metadata_only_when_written_out() {
    assert!(admits(&["10.0.0.0/8"], "10.1.2.3"));
    assert!(admits(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
    assert!(admits(&["fd00::/8"], "fd12::1"));
    assert!(!admits(&["10.0.0.0/8"], "192.168.0.1"));
    assert!(!admits(&["0.0.0.0/0", "::/0"], "169.254.169.254"));
    assert!(!admits(&["0.0.0.0/0", "::/0"], "::ffff:169.254.169.254"));
    assert!(!admits(&["0.0.0.0/0", "::/0"], "fd00:ec2::254"));
    assert!(admits(&["169.254.169.254/32"], "169.254.169.254"));
}

#[tokio::test]
async fn an_address_that_nobody_gave_is_refused_however_it_is_written() {
    let mut world = world();
    let client = world.client(&[]);
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://0/",
        "https://169.254.169.254/latest/meta-data",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://user@example.com/",
        "http://:password@example.com/",
    ] {
        assert_eq!(kind(client.get(url)).await, "forbidden", "{url}");
    }
    assert_eq!(world.names.asked.load(Ordering::SeqCst), 0);
    assert_eq!(world.ledger()[0], "GET 127.0.0.1/ → 0 forbidden, 0 out, 0 in");
}

#[tokio::test]
async fn the_refusal_says_what_to_do() {
    let world = world().name("nas.example", &[&["192.168.1.5", "192.168.1.6"]]);
    let error = world.client(&[]).get("http://nas.example/secret-path").send().await.unwrap_err();
    assert_eq!(error.kind.as_str(), "forbidden");
    assert_eq!(error.message, "`nas.example` may not be called: 192.168.1.5 is a private address");
    assert_eq!(
        error.hint.as_deref(),
        Some(
            "If this server may call it, add 192.168.1.5/32 to TERCEL_ALLOW_PRIVATE, or enter it as a \
             connection's address"
        )
    );
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_called() {
    let url = serve(Router::new().route("/", get(|| async { ([("connection", "close")], "hello") }))).await;
    let url = url.replace("127.0.0.1", "rebinding.example");
    let world = world_with(|options| options.allow_private = vec!["127.0.0.1/32".parse().unwrap()])
        .name("rebinding.example", &[&["10.0.0.1", "127.0.0.1"], &["169.254.169.254"]]);
    let client = world.client(&[]);

    assert_eq!(outcome(client.get(&url)).await, "200 hello");
    assert_eq!(world.names.asked.load(Ordering::SeqCst), 1, "a second answer would be one that nobody checked");
    assert_eq!(kind(client.get(&url)).await, "forbidden");
}

#[tokio::test]
async fn what_the_operator_gave_is_open_to_that_connection_only_and_on_that_port_only() {
    let url = serve(Router::new().route("/", get(|| async { "hello" }))).await;
    let named = url.replace("127.0.0.1", "home.example");
    let world = world().name("home.example", &[&["127.0.0.1"]]);
    let (given, other) =
        (world.client(&[&url, &named]), world.client(&["http://127.0.0.1:1", "http://home.example:1"]));

    for url in [&url, &named] {
        assert_eq!(outcome(given.get(url)).await, "200 hello");
        assert_eq!(kind(other.get(url)).await, "forbidden", "not even over the connection that is still open");
    }
}

#[tokio::test]
async fn a_name_that_the_operator_gave_cannot_turn_into_the_metadata_service() {
    let world = world().name("home.example", &[&["169.254.169.254"]]);
    let error = world.client(&["http://home.example"]).get("http://home.example/").send().await.unwrap_err();
    assert_eq!(error.message, "`home.example` may not be called: 169.254.169.254 is a metadata service");
    assert_eq!(
        error.hint.as_deref(),
        Some("Only 169.254.169.254/32, written out in TERCEL_ALLOW_PRIVATE, would allow it")
    );
}
