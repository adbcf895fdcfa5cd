//! Starting a confined process.

use super::{Abilities, Group, Policy, identity::Identities, order::Order, running::Running, spawner};
use crate::guard::Guard;
use anyhow::{Context, Result, ensure};
use command_fds::{CommandFdExt, FdMapping};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
};

/// The hidden command under which the program confines itself and becomes another.
pub const SUBCOMMAND: &str = "sandbox-exec";
const FIRST: RawFd = 3;

/// Where confined processes come from. One per server.
pub struct Sandbox {
    /// The program that knows [`SUBCOMMAND`].
    launcher: PathBuf,
    abilities: Abilities,
    identities: Identities,
    groups: Option<super::cgroup::Place>,
    /// The data directory whose processes are looked after.
    guarded: OnceLock<PathBuf>,
    guard: OnceLock<Option<Guard>>,
}

impl Sandbox {
    /// `launcher` is this very program: `/proc/self/exe`, which stays the same when its file is replaced.
    pub fn open(launcher: impl Into<PathBuf>, data: &Path) -> Arc<Self> {
        let groups = super::cgroup::Place::find(data);
        let identities = Identities::open(data);
        let abilities = Abilities::probe(groups.as_ref().err().map(String::as_str), identities.why_not());
        Self::of(launcher.into(), abilities, identities, groups.ok())
    }

    /// For a look from beside a server that may run: as it is, and no groups.
    pub fn look(launcher: impl Into<PathBuf>, data: &Path, server: Option<u32>) -> Arc<Self> {
        let identities = Identities::open(data);
        let given = server.map_or_else(|| Err("no server runs".into()), super::cgroup::Place::is_given);
        let abilities = Abilities::probe(given.err().as_deref(), identities.why_not());
        Self::of(launcher.into(), abilities, identities, None)
    }

    fn of(
        launcher: PathBuf,
        abilities: Abilities,
        identities: Identities,
        groups: Option<super::cgroup::Place>,
    ) -> Arc<Self> {
        let (guarded, guard) = Default::default();
        Arc::new(Self { launcher, abilities, identities, groups, guarded, guard })
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// The user that processes of this integration run as; the same for as long as the data directory lasts. None
    /// where the server cannot become another user.
    pub fn identity(&self, integration: &str) -> Result<Option<super::Identity>> {
        self.identities.of(integration)
    }

    /// From now on what is started here ends with this process, however deep it is. For whoever has the data directory.
    pub(crate) fn guard(&self, data: &Path) {
        let _ = self.guarded.set(data.into());
    }

    /// Begins when there is something to look after. Without a guard, what a server leaves is ended by the next.
    fn stand_guard(&self) {
        let Some(data) = self.guarded.get() else { return };
        self.guard.get_or_init(|| {
            let guard = Guard::start(&self.launcher, data);
            guard.inspect_err(|error| tracing::warn!("Nobody ends what a killed server leaves: {error}")).ok()
        });
    }

    pub(super) fn stranger(&self) -> Option<super::Identity> {
        self.identities.stranger()
    }

    pub fn command(self: &Arc<Self>, program: impl Into<String>, policy: Policy) -> Command {
        Command {
            sandbox: self.clone(),
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: PathBuf::from("/"),
            policy,
            descriptors: Vec::new(),
        }
    }
}

pub struct Command {
    sandbox: Arc<Sandbox>,
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    policy: Policy,
    descriptors: Vec<OwnedFd>,
}

impl Command {
    #[must_use]
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The process has the variables named here and no others.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Hands a descriptor on, and answers the number under which the process finds it.
    pub fn inherit(&mut self, descriptor: OwnedFd) -> RawFd {
        self.descriptors.push(descriptor);
        FIRST + RawFd::try_from(self.descriptors.len()).expect("nobody hands on billions of descriptors") - 1
    }

    /// Starts it with pipes for standard input, output and error. What keeps it from starting after this has
    /// answered ends it with status 126, and a sentence on its standard error.
    pub async fn spawn(self) -> Result<Running> {
        self.sandbox.stand_guard();
        let writable = self.policy.writable.iter();
        for path in writable.chain([&self.directory]) {
            ensure!(path.exists(), "`{}` cannot be started: {} does not exist", self.program, path.display());
        }
        if self.policy.identity.is_some() {
            self.sandbox.identities.open_way(self.policy.readable.iter().chain(&self.policy.writable))?;
        }
        let group = match &self.sandbox.groups {
            Some(place) => Some(place.make(&self.policy.limits)?),
            None => None,
        };
        let last = FIRST + RawFd::try_from(self.descriptors.len())?;
        let order = Order {
            program: self.program,
            arguments: self.arguments,
            environment: self.environment,
            directory: self.directory,
            policy: self.policy,
            descriptors: (FIRST..last).collect(),
            parent: std::process::id(),
            group: group.as_ref().map(Group::path),
        };
        let program = order.program.clone();
        let mut mappings: Vec<FdMapping> =
            (FIRST..).zip(self.descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
        mappings.push(FdMapping { parent_fd: order.write()?, child_fd: last });
        let mut command = std::process::Command::new(&self.sandbox.launcher);
        command
            .args([SUBCOMMAND, &last.to_string()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let child = spawner::spawn(command).await.with_context(|| format!("`{program}` cannot be started"))?;
        Running::new(child, group)
    }
}
