//! Where a request wants to go, whether it may, and the connection there.

use super::{Proxy, hosts::plain, pass::Permit};
use crate::outbound::{HostPort, address::Refused};
use http::Uri;
use std::net::{IpAddr, SocketAddr};
use tercel_sdk::{Error, Kind, Result};
use tokio::{net::TcpStream, time::timeout};

/// Of a request to a proxy: a whole address, or a host and port.
pub fn place(uri: &Uri, default_port: Option<u16>) -> Result<HostPort> {
    let wrong = |what: &str| Error::new(Kind::Schema, what.to_owned());
    let authority =
        uri.authority().ok_or_else(|| wrong("This is a forward proxy: ask it for a whole http:// address"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("An address with a user name or password in it is not called"));
    }
    let port = authority.port_u16().or(default_port).ok_or_else(|| wrong("The address has no port"))?;
    let host = plain(authority.host()).ok_or_else(|| wrong("The address has no host that could be called"))?;
    Ok(HostPort { host, port })
}

/// Whether the operator gave the place, or the integration names it.
pub fn permitted(permit: &Permit, place: &HostPort) -> Result<()> {
    if is_granted(permit, place) || permit.hosts.name(place) {
        return Ok(());
    }
    let message = format!("`{}` may not be called: the integration does not name it", place.host);
    Err(Error::new(Kind::Forbidden, message).hint("Add it to permissions.hosts of its manifest"))
}

fn is_granted(permit: &Permit, place: &HostPort) -> bool {
    permit.granted.iter().any(|given| given.port == place.port && plain(&given.host).as_ref() == Some(&place.host))
}

/// The addresses of the place that may be connected to.
pub async fn admitted(proxy: &Proxy, permit: &Permit, place: &HostPort) -> Result<Vec<SocketAddr>> {
    permitted(permit, place)?;
    let granted = is_granted(permit, place);
    let outbound = &proxy.outbound;
    let found = match place.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let lookup =
                timeout(outbound.options.connect_timeout, outbound.options.names.addresses(place.host.clone()));
            let failed = |why: String| Error::new(Kind::Network, format!("`{}` has no address: {why}", place.host));
            let found = lookup.await.map_err(|_| failed("the look-up took too long".into()))?;
            found.map_err(|error| failed(error.to_string()))?
        }
    };
    let (mut addresses, mut refused) = (Vec::new(), None);
    for address in found {
        let admitted = if granted { outbound.policy.admits_granted(address) } else { outbound.policy.admits(address) };
        match admitted {
            Ok(()) => addresses.push(SocketAddr::new(address, place.port)),
            Err(verdict) => refused = refused.or(Some(Refused { host: place.host.clone(), address, verdict })),
        }
    }
    match refused {
        Some(refused) if addresses.is_empty() => Err(refused.into()),
        _ if addresses.is_empty() => Err(Error::new(Kind::Network, format!("`{}` has no address", place.host))),
        _ => Ok(addresses),
    }
}

pub async fn connect(proxy: &Proxy, place: &HostPort, addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut failure = None;
    for address in addresses {
        match timeout(proxy.outbound.options.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => {
                let _ = connection.set_nodelay(true);
                return Ok(connection);
            }
            Ok(Err(error)) => failure = Some(Error::new(Kind::Network, format!("{place} cannot be reached: {error}"))),
            Err(_) => failure = Some(Error::new(Kind::Timeout, format!("{place} does not answer"))),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(Kind::Network, format!("{place} has no address"))))
}
