//! Which addresses a request may go to.

use ipnet::IpNet;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tercel_sdk::{Error, Kind, Result};
use url::{Host, Url};

/// A host as it is written in an address, and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// Of an `http` or `https` address; nothing else names a host that we call.
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = url.host_str()?.trim_end_matches('.').to_owned();
        Some(Self { host, port: url.port_or_known_default()? })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Public,
    Private(&'static str),
    /// Where a cloud hands its machines their credentials.
    Metadata,
}

/// What kind of address this is, looking through every form in which an IPv4 address can hide.
pub fn verdict(address: IpAddr) -> Verdict {
    match address {
        IpAddr::V4(address) => verdict_v4(address),
        IpAddr::V6(address) => verdict_v6(address),
    }
}

/// Says which addresses may be connected to.
pub struct Policy {
    allow_private: Vec<IpNet>,
}

impl Policy {
    pub fn new(allow_private: Vec<IpNet>) -> Self {
        Self { allow_private }
    }

    pub fn admits(&self, address: IpAddr) -> Result<(), Verdict> {
        let plain = address.to_canonical();
        let mut listed = self.allow_private.iter().filter(|net| net.contains(&plain));
        match verdict(address) {
            Verdict::Public => Ok(()),
            // A wide network is no wish to hand out the machine's own credentials.
            Verdict::Metadata if listed.any(|net| net.prefix_len() == net.max_prefix_len()) => Ok(()),
            Verdict::Private(_) if listed.next().is_some() => Ok(()),
            refused => Err(refused),
        }
    }

    /// For a name that the operator gave. Whoever answers for the name does not get the metadata service by it: that
    /// needs its address written out.
    pub fn admits_granted(&self, address: IpAddr) -> Result<(), Verdict> {
        match self.admits(address) {
            Err(Verdict::Private(_)) => Ok(()),
            other => other,
        }
    }

    /// Checks what can be checked before names are resolved: scheme, user information, addresses written as numbers.
    pub fn check(&self, url: &Url, granted: bool) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(forbidden(format!("`{}:` addresses are not called", url.scheme()))
                .hint("Use an address that begins with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(forbidden("An address with a user name or password in it is not called".into())
                .hint("Send credentials in a header"));
        }
        let literal: IpAddr = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            _ => return Ok(()),
        };
        match self.admits(literal) {
            Err(verdict) if !granted => {
                Err(Refused { host: url.host_str().unwrap_or_default().into(), address: literal, verdict }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Every address of a name was refused; this is the first of them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{host}` may not be called: {address} is {}", reason(*verdict))]
pub struct Refused {
    pub host: String,
    pub address: IpAddr,
    pub verdict: Verdict,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let net = IpNet::from(refused.address.to_canonical());
        let hint = match refused.verdict {
            Verdict::Metadata => format!("Only {net}, written out in TERCEL_ALLOW_PRIVATE, would allow it"),
            _ => format!(
                "If this server may call it, add {net} to TERCEL_ALLOW_PRIVATE, or enter it as a connection's address"
            ),
        };
        forbidden(refused.to_string()).hint(hint)
    }
}

fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Public => "a public address",
        Verdict::Private(reason) => reason,
        Verdict::Metadata => "a metadata service",
    }
}

fn forbidden(message: String) -> Error {
    Error::new(Kind::Forbidden, message)
}

fn verdict_v4(address: Ipv4Addr) -> Verdict {
    match address.octets() {
        // AWS, Google, Azure and most others; AWS containers; Oracle; Azure's host; Alibaba.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [192, 0, 0, 192]
        | [168, 63, 129, 16]
        | [100, 100, 100, 200] => Verdict::Metadata,
        [0, ..] => Verdict::Private("an unspecified address"),
        [127, ..] => Verdict::Private("this machine"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Verdict::Private("a private address"),
        [100, 64..=127, ..] => Verdict::Private("a carrier's shared address"),
        [169, 254, ..] => Verdict::Private("a link-local address"),
        [198, 18 | 19, ..] => Verdict::Private("a benchmarking address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Verdict::Private("a documentation address"),
        [192, 0, 0, _] | [192, 88, 99, _] => Verdict::Private("a protocol address"),
        [224..=239, ..] => Verdict::Private("a multicast address"),
        [255, 255, 255, 255] => Verdict::Private("the broadcast address"),
        [240..=255, ..] => Verdict::Private("a reserved address"),
        _ => Verdict::Public,
    }
}

fn verdict_v6(address: Ipv6Addr) -> Verdict {
    let segments = address.segments();
    let own = match segments {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23 | 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Verdict::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => Verdict::Private("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Verdict::Private("this machine"),
        [0xfc00..=0xfdff, ..] => Verdict::Private("a private address"),
        [0xfe80..=0xfebf, ..] => Verdict::Private("a link-local address"),
        [0xfec0..=0xfeff, ..] => Verdict::Private("a site-local address"),
        [0xff00..=0xffff, ..] => Verdict::Private("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Verdict::Private("a documentation address"),
        [0x2001, 2, 0, ..] => Verdict::Private("a benchmarking address"),
        [0x2001, 1..=0x1ff, ..] => Verdict::Private("a protocol address"),
        _ if embedded(segments).next().is_some() => Verdict::Public,
        [0x2000..=0x3fff, ..] => Verdict::Public,
        _ => Verdict::Private("not a public address"),
    };
    // The IPv4 address inside is where the packets end.
    let inner = embedded(segments).map(verdict_v4).find(|inner| *inner != Verdict::Public);
    match own {
        Verdict::Public => inner.unwrap_or(Verdict::Public),
        refused => refused,
    }
}

/// The IPv4 addresses inside an IPv6 address.
fn embedded(segments: [u16; 8]) -> impl Iterator<Item = Ipv4Addr> {
    let at = |index: usize| Ipv4Addr::from(u32::from(segments[index]) << 16 | u32::from(segments[index + 1]));
    let found = match segments {
        // Unspecified and loopback look like IPv4-compatible addresses and are not.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // IPv4-compatible, IPv4-mapped, IPv4-translated, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            [Some(at(6)), None]
        }
        // 6to4.
        [0x2002, ..] => [Some(at(1)), None],
        // Teredo: the server's address, and the client's with its bits turned over.
        [0x2001, 0, ..] => [Some(at(2)), Some(Ipv4Addr::from(!u32::from(at(6))))],
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [Some(at(6)), None],
        _ => [None, None],
    };
    found.into_iter().flatten()
}
