//! Whether what turns speech into text is there. A connection is opened and closed again; nothing is sent.

use super::{Finding, configured::address};
use crate::config::Config;
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

const PATIENCE: Duration = Duration::from_secs(3);

pub async fn look(config: &Config) -> Finding {
    let Some(stt) = &config.stt else {
        return Finding::ok("speech", "STT_BASE_URL is not set: what is spoken is refused");
    };
    let shown = format!("{} at {}", stt.model, address(&stt.base_url));
    let repair = "Start it, or correct STT_BASE_URL";
    let place = url::Url::parse(&stt.base_url).ok();
    let place = place.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let Some((host, port)) = place else {
        return Finding::fail("speech", "STT_BASE_URL is not an address", "It begins with http:// or https://");
    };
    // The brackets of an IPv6 address are not part of it.
    match timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Ok(Ok(_)) => Finding::ok("speech", format!("{shown} can be reached")),
        Ok(Err(error)) => Finding::warn("speech", format!("{shown} cannot be reached: {error}"), repair),
        Err(_) => Finding::warn("speech", format!("{shown} does not answer"), repair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Level, config::Environment};

    #[tokio::test]
    async fn what_listens_is_reached_and_what_does_not_is_said_without_its_password() {
        let look = async |url: Option<&str>| {
            let mut environment = Environment::default();
            if let Some(url) = url {
                environment.set("STT_BASE_URL", url);
                environment.set("STT_MODEL", "whisper");
            }
            look(&Config::from(environment).unwrap()).await
        };
        assert_eq!(look(None).await.level, Level::Ok);
        // Taken before it listens: no other may get the port meanwhile.
        let there = tokio::net::TcpSocket::new_v4().unwrap();
        there.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = there.local_addr().unwrap().port();
        let url = format!("http://me:hush@127.0.0.1:{port}/v1");
        let missing = look(Some(&url)).await;
        assert_eq!(missing.level, Level::Warn);
        assert!(missing.detail.contains("cannot be reached") && !missing.detail.contains("hush"), "{}", missing.detail);
        let _there = there.listen(1).unwrap();
        let found = look(Some(&url)).await;
        assert_eq!(
            (found.level, found.detail),
            (Level::Ok, format!("whisper at http://127.0.0.1:{port}/v1 can be reached"))
        );
    }
}
