//! What the processes of a folder may: their own files, and as much of the network as was granted.

use crate::{
    Reach,
    environment::Interpreter,
    held::Held,
    sandbox::{Identity, Limits, Network, Policy, Sandbox},
    snapshot,
};
use anyhow::{Context, Result};
use rustix::{
    fs::{CWD, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// In the state directory.
const TEMPORARY: &str = "tmp";

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
    /// What it runs from is not removed as long as this is there.
    pub held: Option<Arc<Held>>,
}

impl Confines {
    /// Gives it what it owns, and says what it may.
    ///
    /// # Errors
    /// When files cannot be given to its user.
    pub fn policy(&self, sandbox: &Sandbox, reach: &Reach) -> Result<Policy> {
        let for_users = self.interpreter.as_ref().is_none_or(|interpreter| interpreter.for_users);
        let identity = if for_users { sandbox.identity(&self.integration)? } else { None };
        fs::create_dir_all(&self.state).with_context(|| format!("{} cannot be made", self.state.display()))?;
        if let Some(identity) = identity {
            self.give(identity)?;
        }
        temporary(&self.state, identity).with_context(|| format!("{}/tmp cannot be made", self.state.display()))?;
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
            Reach::Through { port, readable, .. } => {
                policy.readable.extend(readable.iter().cloned());
                Network::Ports(vec![*port])
            }
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

/// A place for temporary files, unless the code put something else there. It may be at work: no name is looked up twice.
fn temporary(state: &Path, identity: Option<Identity>) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let state = rustix::fs::openat(CWD, state, flags, Mode::empty())?;
    match rustix::fs::mkdirat(&state, TEMPORARY, Mode::RWXU) {
        Err(error) if error != Errno::EXIST => return Err(error),
        _ => {}
    }
    let (Some(identity), Ok(made)) = (identity, rustix::fs::openat(&state, TEMPORARY, flags, Mode::empty())) else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if rustix::fs::fstat(&made)?.st_uid == 0 { rustix::fs::fchown(&made, Some(uid), Some(gid)) } else { Ok(()) }
}

/// Removes what processes of earlier servers left for the moment. None of them runs.
pub fn clear_temporary(states: &Path) -> std::io::Result<()> {
    for state in fs::read_dir(states)? {
        let place = state?.path().join(TEMPORARY);
        if fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir()) {
            fs::remove_dir_all(place)?;
        }
    }
    Ok(())
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
