//! Starts a worker and waits until it answers.

use super::{
    Process, Supervisor,
    client::{self, Client, Failure},
    socket::Socket,
};
use crate::launch::{self, Child, Launch, SOCKET, ending};
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, fs, io, time::Duration};
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
            Ok((child, client)) => {
                phase.restarts += u32::from(phase.reason.is_some());
                phase.reason = None;
                phase.running = Some(Process::keep(self.clone(), child, client, minted.id));
                Ok(())
            }
            Err(reason) => {
                self.0.server.revoke(minted.id);
                phase.fail(&reason);
                Err(self.unavailable(&reason))
            }
        }
    }

    async fn answering(&self, key: &str) -> Result<(Child, Client), String> {
        let spec = &self.0.spec;
        let prepared = async {
            fs::create_dir_all(spec.state.join("tmp"))?;
            let (socket, listener) = Socket::bind(&spec.sockets)?;
            let launch = Launch {
                command: spec.command.clone(),
                directory: spec.directory.clone(),
                environment: self.environment(key).await,
                socket: Some(listener.into()),
                limits: spec.limits,
            };
            let (child, output) = launch::spawn(launch).await?;
            io::Result::Ok((socket, child, output))
        };
        let program = spec.command.first().map_or("", String::as_str);
        let (socket, mut child, output) =
            prepared.await.map_err(|error| format!("`{program}` could not be started: {error}"))?;
        let reading = tokio::spawn(self.0.log.clone().fill(output));
        let client = Client::new(socket);
        tokio::select! {
            answer = tokio::time::timeout(spec.times.start, healthy(&client)) => match answer {
                Ok(Ok(())) => Ok((child, client)),
                Ok(Err(reason)) => Err(reason),
                Err(_) => Err(format!("it did not answer within {} s of its start", spec.times.start.as_secs_f32())),
            },
            status = child.wait() => {
                // What it said last is still on its way.
                let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
                let last = self.0.log.last().map(|line| format!(": {line}")).unwrap_or_default();
                Err(format!("it {} before it was ready{last}", ending(status)))
            }
        }
    }

    async fn environment(&self, key: &str) -> BTreeMap<String, String> {
        let spec = &self.0.spec;
        let server = &self.0.server;
        let mut all = server.values(&spec.integration, spec.variables.clone()).await;
        all.retain(|name, _| !is_reserved(name));
        let ours = [
            ("TERCEL_PROTOCOL", "1".to_owned()),
            ("TERCEL_SOCKET", SOCKET.to_string()),
            ("TERCEL_INTEGRATION", spec.integration.clone()),
            ("AGENT_SERVER_URL", server.url()),
            ("AGENT_API_KEY", key.to_owned()),
            ("INTEGRATION_STATE_DIR", spec.state.display().to_string()),
            ("PATH", spec.path.clone()),
            ("HOME", spec.state.display().to_string()),
            ("TMPDIR", spec.state.join("tmp").display().to_string()),
            ("LANG", LANGUAGE.to_owned()),
        ];
        all.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        all.extend(spec.environment.clone());
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
