//! The server under test: the program as users start it, in a directory and an environment of its own.

use crate::{
    Bench,
    engine::Database,
    http::{Api, Line},
    payload::SECRET,
};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The bootstrap key.
pub const KEY: &str = "the-bench-is-the-admin-of-this-server";
const PATIENCE: Duration = Duration::from_secs(20);
/// A large database is copied before it is updated.
const LONG: Duration = Duration::from_secs(180);

/// The program under test, beside this one.
pub fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("tercel");
    if !program.is_file() {
        bail!("There is no `tercel` beside this program: `make bench` builds both");
    }
    Ok(program)
}

/// A new directory on the disk that the program lies on.
pub fn directory() -> Result<TempDir> {
    let own = std::env::current_exe()?;
    let parent = own.parent().context("the program lies in no directory")?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(parent).context("no directory for data can be made")
}

/// How packages are fetched on this machine, which folders in Python need once.
#[expect(clippy::disallowed_methods, reason = "it is set up for the machine, not for a measurement")]
fn fetching() -> BTreeMap<String, String> {
    const NAMES: [&str; 7] =
        ["PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    std::env::vars().filter(|(name, _)| NAMES.iter().any(|beginning| name.starts_with(beginning))).collect()
}

/// A data directory, and what the server is told.
pub struct Place {
    directory: TempDir,
    environment: BTreeMap<String, String>,
    program: PathBuf,
    /// What the program is told to do.
    order: &'static str,
    /// Where the data directory has none.
    pub database: Option<Database>,
}

impl Place {
    pub fn new(bench: &Bench) -> Result<Self> {
        let directory = directory()?;
        let outside = &bench.outside;
        let database = bench.engine.database()?;
        let own = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME", directory.path().display().to_string()),
            ("TERCEL_DATA_DIR", directory.path().join("data").display().to_string()),
            ("TERCEL_LISTEN", "127.0.0.1:0".into()),
            ("TERCEL_LOG", "warn".into()),
            ("TERCEL_RUNS_PER_DAY", "0".into()),
            ("TERCEL_RUNS_PER_HOUR", "0".into()),
            ("TERCEL_TOKENS_PER_DAY", "0".into()),
            ("TERCEL_RATE", "0".into()),
            ("TERCEL_QUEUE", "10000000".into()),
            ("API_KEY", KEY.into()),
            ("LLM_BASE_URL", format!("{}/v1", outside.url())),
            ("LLM_MODEL", "bench".into()),
            ("GITHUB_API_URL", outside.url()),
            ("GITHUB_TOKEN", "ghp_of_the_bench_0123456789".into()),
            ("GITHUB_WEBHOOK_SECRET", SECRET.into()),
        ];
        let mut environment = fetching();
        environment.extend(own.map(|(name, value): (&str, String)| (name.to_owned(), value)));
        if let Some(database) = &database {
            environment.insert("DATABASE_URL".into(), database.url.clone());
        }
        fs::create_dir(directory.path().join("folders"))?;
        environment.insert("INTEGRATION_DIRS".into(), directory.path().join("folders").display().to_string());
        Ok(Self { directory, environment, program: program()?, order: "serve", database })
    }

    /// The same server with a tool in it that does nothing.
    pub fn with_native_tool(self) -> Result<Self> {
        Ok(Self { program: std::env::current_exe()?, order: "--native-tool", ..self })
    }

    /// Where folders of integrations are looked for.
    pub fn folders(&self) -> PathBuf {
        self.directory.path().join("folders")
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(&self) -> Result<Server> {
        self.start_with(&[]).await
    }

    /// A server that takes work and does none of it.
    pub async fn start_without_runs(&self) -> Result<Server> {
        self.start_with(&[("TERCEL_OPEN_RUNS", "0")]).await
    }

    async fn start_with(&self, more: &[(&str, &str)]) -> Result<Server> {
        let address = self.data().join("address");
        // A server that was killed leaves its address behind.
        let _ = fs::remove_file(&address);
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command();
        command.arg(self.order).envs(more.iter().copied()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begun = Instant::now();
        let process = command.spawn().context("the server cannot be started")?;
        let mut server =
            Server { api: Api { address: SocketAddr::from(([127, 0, 0, 1], 0)) }, ready_after: LONG, process };
        // One for all questions: a new connection for each would be work for the server that starts.
        let mut line = None;
        while begun.elapsed() < LONG {
            if let Some(status) = server.process.try_wait()? {
                bail!("the server ended with {status} while it started, it said:\n{}", self.said());
            }
            if let Some(address) = fs::read_to_string(&address).ok().and_then(|text| text.trim().parse().ok()) {
                server.api = Api { address };
                if server.is_ready(&mut line).await {
                    server.ready_after = begun.elapsed();
                    return Ok(server);
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("the server was not ready within {LONG:?}, it said:\n{}", self.said());
    }

    /// The program in this place.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.directory.path()).env_clear().envs(&self.environment);
        command
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    fn said(&self) -> String {
        let log = fs::read_to_string(Path::new(&self.log())).unwrap_or_default();
        log[log.floor_char_boundary(log.len().saturating_sub(4_000))..].to_owned()
    }
}

/// Transactions, the writes in them, and the time that they took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Commits {
    groups: f64,
    writes: f64,
    seconds: f64,
}

impl Commits {
    /// The writes of one group and its milliseconds, on average since `before`.
    pub fn since(&self, before: &Self) -> (f64, f64) {
        let groups = (self.groups - before.groups).max(1.0);
        ((self.writes - before.writes) / groups, (self.seconds - before.seconds) * 1e3 / groups)
    }
}

pub struct Server {
    pub api: Api,
    /// From the start of the process to the first good answer of `/ready`.
    pub ready_after: Duration,
    process: Child,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    async fn is_ready(&self, line: &mut Option<Line>) -> bool {
        if line.is_none() {
            *line = Line::open(self.api.address).await.ok();
        }
        let Some(open) = line else { return false };
        match open.send(self.api.get("/ready")).await {
            Ok(answer) => answer.status.is_success(),
            Err(_) => {
                *line = None;
                false
            }
        }
    }

    /// What the writer has committed so far; nothing before the first commit.
    pub async fn commits(&self) -> Result<Option<Commits>> {
        let answer = Line::open(self.api.address).await?.send(self.api.get("/metrics")).await?;
        let text = std::str::from_utf8(&answer.body)?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok())
        };
        let commits = || {
            Some(Commits {
                groups: of("tercel_store_commit_seconds_count")?,
                writes: of("tercel_store_group_size_sum")?,
                seconds: of("tercel_store_commit_seconds_sum")?,
            })
        };
        Ok(commits())
    }

    /// Stops as an operator would.
    pub async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status} when it was asked to stop"),
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        bail!("the server did not stop within {PATIENCE:?}")
    }

    /// As a power failure of this process alone would.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.process.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.process.id().cast_signed()) {
            // An error means that it is gone already.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
