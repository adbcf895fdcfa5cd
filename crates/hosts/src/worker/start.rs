//! Starts a worker and waits until it answers.

use super::{
    Process, Supervisor,
    client::{self, Client, Failure},
    dump::dump,
    socket::Socket,
};
use crate::{
    Reach,
    launch::{Launch, Started, ending},
};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use tercel_sdk::Result;

/// Its standard for one machine: without it Python takes text for ASCII.
const LANGUAGE: &str = "C.UTF-8";

impl Supervisor {
    pub(super) async fn start(&self) -> Result<()> {
        self.phase().starting = true;
        let minted = self.0.server.mint(&self.0.spec.integration);
        let started = self.answering(minted.key.expose_secret()).await;
        let mut phase = self.phase();
        phase.starting = false;
        match started {
            Ok((started, client)) => {
                phase.restarts += u32::from(phase.reason.is_some());
                phase.reason = None;
                phase.running = Some(Process::keep(self.clone(), started, client, minted.id));
                Ok(())
            }
            Err(reason) => {
                self.0.server.revoke(minted.id);
                phase.fail(&reason);
                Err(self.unavailable(&reason))
            }
        }
    }

    async fn answering(&self, key: &str) -> Result<(Started, Client), String> {
        let spec = &self.0.spec;
        let program = spec.command.first().map_or("", String::as_str);
        let mark = self.0.log.mark();
        let (socket, mut started) =
            self.launched(key).await.map_err(|error| format!("`{program}` could not be started: {error:#}"))?;
        let client = Client::new(socket);
        let answer = tokio::select! {
            answer = tokio::time::timeout(spec.times.start, healthy(&client)) => answer,
            status = started.end() => {
                let why = said(&self.0.log.since(mark)).map(|line| format!(": {line}")).unwrap_or_default();
                return Err(format!("it {} before it was ready{why}", ending(status)));
            }
        };
        let Ok(answer) = answer else {
            let place = dump(self, || started.running.signal(Signal::USR1)).await;
            let place = place.map(|place| format!("; it was at {place}")).unwrap_or_default();
            return Err(format!("it did not answer within {} s of its start{place}", spec.times.start.as_secs_f32()));
        };
        answer.map(|()| (started, client))
    }

    async fn launched(&self, key: &str) -> anyhow::Result<(Socket, Started)> {
        let spec = &self.0.spec;
        let reach = self.0.server.reach(&spec.integration, spec.root, &spec.hosts);
        let launch = Launch {
            command: spec.command.clone(),
            directory: spec.directory.clone(),
            policy: spec.confines.policy(&self.0.sandbox, &reach)?,
            environment: self.environment(key, reach).await,
        };
        let (socket, listener) = Socket::bind(&spec.sockets)?;
        let started = launch.start(&self.0.sandbox, Some(("TERCEL_SOCKET", listener.into())), &self.0.log).await?;
        Ok((socket, started))
    }

    async fn environment(&self, key: &str, reach: Reach) -> BTreeMap<String, String> {
        let spec = &self.0.spec;
        let server = &self.0.server;
        let mut all = server.values(&spec.integration, spec.variables.clone()).await;
        all.retain(|name, _| !is_reserved(name));
        let ours = [
            ("TERCEL_PROTOCOL", "1".to_owned()),
            ("TERCEL_INTEGRATION", spec.integration.clone()),
            ("AGENT_SERVER_URL", server.url()),
            ("AGENT_API_KEY", key.to_owned()),
            ("INTEGRATION_STATE_DIR", spec.confines.state.display().to_string()),
            ("PATH", spec.path.clone()),
            ("HOME", spec.confines.state.display().to_string()),
            ("TMPDIR", spec.confines.state.join("tmp").display().to_string()),
            ("LANG", LANGUAGE.to_owned()),
        ];
        all.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        all.extend(spec.environment.clone());
        if let Reach::Through { environment, .. } = reach {
            all.extend(environment);
        }
        all
    }
}

/// Names that are never settings: they change what runs, or are ours.
pub fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "AGENT_SERVER_URL",
        "AGENT_API_KEY",
        "INTEGRATION_STATE_DIR",
        "NODE_OPTIONS",
        "BASH_ENV",
        "IFS",
    ];
    NAMES.contains(&name) || ["TERCEL_", "LD_", "PYTHON"].iter().any(|prefix| name.starts_with(prefix))
}

/// The line that says why: runtimes print where it happened around it.
fn said(lines: &[String]) -> Option<&str> {
    let lines = || lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let is_reason =
        |line: &&str| line.contains("Error: ") || line.starts_with("panic: ") || line.contains(" panicked at ");
    lines().rfind(is_reason).or_else(|| lines().next_back())
}

/// Asks once: the socket listens already, so the question waits for the worker.
async fn healthy(client: &Client) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Health {
        protocol: u32,
    }
    let answer = client.send(client::empty("GET", "/v1/health")).await;
    let answer = match answer {
        Ok(answer) => answer,
        // It is about to end, or has: that says more.
        Err(Failure::NotSent(_) | Failure::Lost(_)) => std::future::pending().await,
    };
    let status = answer.head.status();
    let bytes = answer.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Health>(&bytes) {
        Ok(Health { protocol: 1 }) if status.is_success() => Ok(()),
        Ok(Health { protocol }) if status.is_success() => {
            Err(format!("it speaks version {protocol} of the worker protocol, and this server version 1"))
        }
        _ => Err(format!("GET /v1/health answered {status} and not what the worker protocol says")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_line_that_says_it() {
        let check = |log: &str, reason| assert_eq!(said(&log.lines().map(str::to_owned).collect::<Vec<_>>()), reason);
        check(
            "a.js:1\n\nError: Cannot find module 'b'\n    at a.js:1\n  code: 'X'\n\nNode.js v20",
            Some("Error: Cannot find module 'b'"),
        );
        check(
            "Traceback\n  File \"a\"\nModuleNotFoundError: No module named 'b'",
            Some("ModuleNotFoundError: No module named 'b'"),
        );
        check("panic: no socket\n\ngoroutine 1 [running]:\n  main.go:3", Some("panic: no socket"));
        check("no such table\n\n", Some("no such table"));
        check("", None);
    }
}
