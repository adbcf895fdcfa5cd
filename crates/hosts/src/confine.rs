//! What the processes of a folder may: their own files, and as much of the network as was granted.

use crate::{
    Reach,
    environment::Interpreter,
    sandbox::{Identity, Limits, Network, Policy, Sandbox},
    snapshot,
};
use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Everything that a process of a folder has to do with.
#[derive(Debug, Clone, Default)]
pub struct Confines {
    /// Whose user it is.
    pub integration: String,
    /// Working directory, and below it the copy of the folder.
    pub directory: PathBuf,
    pub code: PathBuf,
    /// Copies of the folders that it imports.
    pub siblings: Vec<PathBuf>,
    pub state: PathBuf,
    /// What it reads and writes elsewhere, as was granted.
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    pub interpreter: Option<Interpreter>,
    pub limits: Limits,
}

impl Confines {
    /// Gives it what it owns, and says what it may.
    ///
    /// # Errors
    /// When files cannot be given to its user.
    pub fn policy(&self, sandbox: &Sandbox, reach: &Reach) -> Result<Policy> {
        let for_users = self.interpreter.as_ref().is_none_or(|interpreter| interpreter.for_users);
        let identity = if for_users { sandbox.identity(&self.integration)? } else { None };
        fs::create_dir_all(self.state.join("tmp"))
            .with_context(|| format!("{} cannot be made", self.state.display()))?;
        if let Some(identity) = identity {
            self.give(identity)?;
        }
        let mut policy = Policy { limits: self.limits.clone(), ..Policy::closed(identity) };
        policy.readable.push(self.directory.clone());
        policy.readable.extend(self.siblings.iter().chain(&self.read).cloned());
        if let Some(interpreter) = &self.interpreter {
            policy.readable.extend(interpreter.readable.iter().cloned());
        }
        policy.writable.extend([self.state.clone(), self.code.clone()]);
        policy.writable.extend(self.write.iter().filter(|path| path.exists()).cloned());
        policy.network = match reach {
            Reach::Open => Network::Open,
            Reach::Through { port, .. } => Network::Ports(vec![*port]),
        };
        Ok(policy)
    }

    fn give(&self, identity: Identity) -> Result<()> {
        if fs::metadata(&self.state)?.uid() != identity.uid {
            identity.own(&self.state)?;
        }
        for copy in self.siblings.iter().chain([&self.directory]) {
            if fs::metadata(copy)?.gid() != identity.gid {
                identity.lend(copy)?;
            }
        }
        // New files are welcome beside the code; the code itself stays as it is.
        let originals = snapshot::originals(&self.directory).unwrap_or_default();
        let is_original = |path: &Path| {
            let below = path.strip_prefix(&self.directory).ok().and_then(Path::to_str);
            below.is_none_or(|below| originals.contains(below))
        };
        opened(&self.code, identity, &is_original)
            .with_context(|| format!("{} cannot be opened for its user", self.code.display()))
    }
}

/// Lets the group put files into directories and take away only its own, and gives it those that code made before.
fn opened(directory: &Path, identity: Identity, is_original: &impl Fn(&Path) -> bool) -> Result<()> {
    const MODE: u32 = 0o1770;
    let metadata = fs::symlink_metadata(directory)?;
    // What its user made is its own already.
    if metadata.uid() == identity.uid {
        return Ok(());
    }
    if !metadata.is_dir() {
        return if is_original(directory) { Ok(()) } else { identity.own(directory) };
    }
    if metadata.mode() & 0o7777 != MODE {
        fs::set_permissions(directory, fs::Permissions::from_mode(MODE))?;
    }
    fs::read_dir(directory)?.try_for_each(|entry| opened(&entry?.path(), identity, is_original))
}
