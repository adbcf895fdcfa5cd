//! Names to addresses. What is refused here is never connected to: the client connects to what this returns.

use super::address::{Policy, Refused};
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Who is asked for the addresses of a name.
pub trait Names: Send + Sync {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver.
pub struct System;

impl Names for System {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

pub struct Guard {
    pub names: Arc<dyn Names>,
    pub policy: Arc<Policy>,
    /// Whether the names that come here were given by the operator.
    pub granted: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let (found, policy, granted) = (self.names.addresses(host.clone()), self.policy.clone(), self.granted);
        Box::pin(async move {
            let (mut allowed, mut refused) = (Vec::new(), None);
            for address in found.await? {
                let admitted = if granted { policy.admits_granted(address) } else { policy.admits(address) };
                match admitted {
                    // Port 0 stands for the port of the request.
                    Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                    Err(verdict) => refused = refused.or(Some(Refused { host: host.clone(), address, verdict })),
                }
            }
            match refused {
                Some(refused) if allowed.is_empty() => Err(refused.into()),
                _ if allowed.is_empty() => Err(io::Error::other("the name has no address").into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
