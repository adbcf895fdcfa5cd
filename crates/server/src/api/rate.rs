//! How often one key may call, and how often one source may guess.

use crate::config::Config;
use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Mutex,
    time::{Duration, Instant},
};
use tercel_store::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
/// Wrong keys that one source may send in a minute.
const GUESSES: u32 = 30;
/// Sources or keys that are remembered before old ones are forgotten.
const ROOM: usize = 10_000;

#[derive(Default)]
pub struct Rates {
    buckets: Mutex<HashMap<Option<Uuid>, Bucket>>,
    guesses: Mutex<HashMap<IpAddr, Guesses>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

struct Guesses {
    count: u32,
    since: Instant,
}

impl Rates {
    /// Counts a request of a key. `Err` is how many seconds to wait.
    pub fn spend(&self, key: Option<Uuid>, rate: u32, time: Instant) -> Result<(), u64> {
        if rate == 0 {
            return Ok(());
        }
        let (rate, burst) = (f64::from(rate), f64::from(rate) * 2.0);
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= ROOM {
            buckets.retain(|_, bucket| time.duration_since(bucket.at) < MINUTE);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: burst, at: time });
        bucket.tokens = (bucket.tokens + time.duration_since(bucket.at).as_secs_f64() * rate).min(burst);
        bucket.at = time;
        if bucket.tokens < 1.0 {
            return Err(((1.0 - bucket.tokens) / rate).ceil() as u64);
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// How many seconds a source must wait before it may guess again, if it must.
    pub fn is_guessing(&self, source: IpAddr, time: Instant) -> Option<u64> {
        let guesses = self.guesses.lock().expect("no holder of this lock panics");
        let guesses = guesses.get(&network(source))?;
        let left = MINUTE.checked_sub(time.duration_since(guesses.since))?;
        (guesses.count > GUESSES).then(|| left.as_secs() + 1)
    }

    pub fn note_guess(&self, source: IpAddr, time: Instant) {
        let mut all = self.guesses.lock().expect("no holder of this lock panics");
        let is_old = |guesses: &Guesses| time.duration_since(guesses.since) >= MINUTE;
        if all.len() >= ROOM {
            all.retain(|_, guesses| !is_old(guesses));
        }
        let guesses = all.entry(network(source)).or_insert(Guesses { count: 0, since: time });
        if is_old(guesses) {
            *guesses = Guesses { count: 0, since: time };
        }
        guesses.count += 1;
    }
}

/// One person has a whole /64 of IPv6 addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Who sent a request: the peer, or what proxies that the operator trusts say about it.
pub fn source(config: &Config, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    if !config.trusts_proxy(peer) {
        return Some(peer);
    }
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    let mut nearest = peer;
    for hop in hops.iter().rev() {
        // What stands further left than nonsense was written by nobody we trust.
        let Some(address) = address(hop.trim()) else { break };
        nearest = address;
        if !config.trusts_proxy(address) {
            break;
        }
    }
    Some(nearest)
}

fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = plain.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_key_has_a_burst_and_then_its_rate() {
        let (rates, start) = (Rates::default(), Instant::now());
        let spent = (0..50).filter(|_| rates.spend(None, 10, start).is_ok()).count();
        assert_eq!(spent, 20);
        assert_eq!(rates.spend(None, 10, start), Err(1));
        assert_eq!(rates.spend(Some(Uuid::nil()), 10, start), Ok(()));
        assert_eq!(rates.spend(None, 10, start + Duration::from_millis(150)), Ok(()));
        assert_eq!(rates.spend(None, 0, start), Ok(()));
    }

    #[test]
    fn a_source_that_guesses_must_wait_a_minute() {
        let (rates, start) = (Rates::default(), Instant::now());
        let source = "2001:db8::1".parse().unwrap();
        (0..30).for_each(|_| rates.note_guess(source, start));
        assert_eq!(rates.is_guessing(source, start), None);
        rates.note_guess("2001:db8::2".parse().unwrap(), start);
        assert_eq!(rates.is_guessing(source, start), Some(61));
        assert_eq!(rates.is_guessing("192.0.2.1".parse().unwrap(), start), None);
        assert_eq!(rates.is_guessing(source, start + MINUTE + MINUTE), None);
    }

    #[test]
    fn only_trusted_proxies_say_where_a_request_comes_from() {
        let mut environment = Environment::default();
        environment.set("TRUSTED_PROXIES", "10.0.0.0/8");
        let config = Config::from(environment).unwrap();
        let from = |peer: &str, forwarded: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            source(&config, &extensions, &headers).unwrap().to_string()
        };
        assert_eq!(from("192.0.2.9", "198.51.100.1"), "192.0.2.9");
        assert_eq!(from("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(from("10.0.0.1", "6.6.6.6, 198.51.100.1:443, 10.0.0.2"), "198.51.100.1");
        assert_eq!(from("10.0.0.1", "6.6.6.6, nonsense, [2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(from("10.0.0.1", "nonsense"), "10.0.0.1");
    }
}
