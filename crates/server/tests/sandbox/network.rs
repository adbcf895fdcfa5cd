//! The network: what is closed is closed.

use crate::world::{ended, quoted, world};
use std::{
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt, net::UnixListener},
};
use tercel::outbound::{
    self, Outbound,
    proxy::{Permit, Proxy},
};
use tercel_hosts::sandbox::Network;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn it_cannot_connect_to_unix_sockets_nor_make_them() {
    let world = world().await;
    let path = world.data().join("tercel.sock");
    let _server = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let code = format!(
        "def connect(kind):
    socket.socket(socket.AF_UNIX, kind).connect({})
tried('stream', lambda: connect(socket.SOCK_STREAM))
tried('datagram', lambda: connect(socket.SOCK_DGRAM))
def pair():
    left, right = socket.socketpair()
    left.send(b'x')
    return right.recv(1).decode()
tried('pair', pair)
tried('pair of datagrams', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
tried('turned pair', lambda: socket.socketpair()[0].connect({}))
",
        quoted(&path),
        quoted(&path)
    );
    let expected = ["stream EPERM", "datagram EPERM", "pair x", "pair of datagrams EPERM", "turned pair EISCONN"];
    for mut policy in world.policies() {
        assert_eq!(world.tried(&policy, &code).await, expected);
        policy.network = Network::Open;
        assert_eq!(world.tried(&policy, &code).await, expected);
    }
}

#[tokio::test]
async fn a_library_that_knows_proxies_gets_out_through_ours_and_to_nobody_else() {
    let world = world().await;
    let (ledger, _rows) = tokio::sync::mpsc::channel(64);
    let outbound = Outbound::new(outbound::Options::new(ledger)).unwrap();
    let api = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = api.local_addr().unwrap();
    let router = axum::Router::new().fallback(|| async { "answered" });
    tokio::spawn(async move { axum::serve(api, router).await });
    let proxy = Proxy::open(outbound, address, None, CancellationToken::new()).await.unwrap();
    let code = format!(
        "import urllib.request, urllib.error
def get(url):
    try:
        return urllib.request.urlopen(url, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return f'{{error.code}} {{error.read().decode().strip()}}'
print(get('http://{address}/'))
print(get('http://127.0.0.1:{}/'))",
        proxy.port()
    );
    for mut policy in world.policies() {
        policy.network = Network::Ports(vec![proxy.port()]);
        let pass = proxy.admit(Permit { integration: "tried".into(), ..Permit::default() });
        let ended = ended(world.command(&policy, &code).envs(pass.environment()).spawn().await.unwrap()).await;
        let expected = "answered\n403 `127.0.0.1` may not be called: the integration does not name it. \
                        Add it to permissions.hosts of its manifest\n";
        assert_eq!(ended.output, expected, "{ended:?}");
    }
}

#[tokio::test]
async fn it_serves_on_the_socket_it_was_given() {
    let world = world().await;
    let path = world.data().join("worker.sock");
    for policy in world.policies() {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let code = "import socket, os
server = socket.socket(fileno=int(os.environ['TERCEL_SOCKET']))
server.listen(8)
connection, _ = server.accept()
connection.sendall(connection.recv(64)[::-1])";
        let mut command = world.command(&policy, code);
        let number = command.inherit(listener.into());
        let mut running = command.env("TERCEL_SOCKET", number.to_string()).spawn().await.unwrap();
        let mut connection = UnixStream::connect(&path).await.unwrap();
        connection.write_all(b"olleh").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "hello");
        assert!(running.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn with_a_closed_network_it_reaches_the_named_port_and_no_other() {
    let world = world().await;
    let (named, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [named_port, other_port] = [&named, &other].map(|listener| listener.local_addr().unwrap().port());
    let code = format!(
        "tried('named', lambda: socket.create_connection(('127.0.0.1', {named_port}), 5).close())
tried('other', lambda: socket.create_connection(('127.0.0.1', {other_port}), 5).close())
tried('at once', lambda: socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', {other_port})))
tried('serve', lambda: socket.socket().bind(('127.0.0.1', 0)))
tried('datagram', lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {})))
tried('other protocol', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
tried('netlink', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
",
        udp.local_addr().unwrap().port()
    );
    for mut policy in world.policies() {
        policy.network = Network::Ports(vec![named_port]);
        let mut said = world.tried(&policy, &code).await;
        if !world.sandbox.abilities().confines_ports() {
            println!("skipped: this kernel's Landlock knows no ports");
            said.retain(|line| !line.starts_with("other E") && !line.starts_with("serve"));
            assert_eq!(said.len(), 6, "{said:?}");
            continue;
        }
        assert_eq!(
            said,
            [
                "named done",
                "other EACCES",
                "at once EPERM",
                "serve EACCES",
                "datagram EPERM",
                "other protocol EPERM",
                "netlink EPERM"
            ]
        );
        policy.network = Network::Open;
        let said = world.tried(&policy, &code).await;
        assert_eq!(said[..2], ["named done", "other done"]);
        assert_eq!(said[3..5], ["serve done", "datagram 1"]);
    }
}
