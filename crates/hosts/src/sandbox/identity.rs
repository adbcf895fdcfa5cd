//! A user for each integration, so that none can touch what is another's: numbers only, no accounts.

use super::Identity;
use anyhow::{Context, Result, bail};
use rustix::{
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Nobody has these numbers: neither the accounts of a machine nor what systemd and containers hand out.
const FIRST: u32 = 60_706;
const LAST: u32 = 61_183;

pub struct Identities {
    file: PathBuf,
    given: Mutex<BTreeMap<String, u32>>,
    why_not: Option<String>,
}

impl Identities {
    pub fn open(data: &Path) -> Self {
        let file = data.join("users.json");
        let why_not = why_not(data);
        let given = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error.to_string()),
        };
        let (given, damaged) = match given {
            Ok(given) => (given, None),
            Err(error) => (BTreeMap::new(), Some(format!("{} cannot be read: {error}", file.display()))),
        };
        Self { file, given: given.into(), why_not: why_not.or(damaged) }
    }

    /// Why processes keep the server's user.
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// One that owns nothing: what it can do, all can.
    pub fn stranger(&self) -> Option<Identity> {
        self.why_not.is_none().then_some(Identity { uid: LAST, gid: LAST })
    }

    pub fn of(&self, integration: &str) -> Result<Option<Identity>> {
        if self.why_not.is_some() {
            return Ok(None);
        }
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = match given.get(integration) {
            Some(uid) => *uid,
            None => {
                let Some(uid) = (FIRST..LAST).find(|uid| !given.values().any(|other| other == uid)) else {
                    bail!(
                        "All {} users for integrations are given: remove some from {}",
                        LAST - FIRST,
                        self.file.display()
                    );
                };
                let mut more = given.clone();
                more.insert(integration.into(), uid);
                self.keep(&more)?;
                *given = more;
                uid
            }
        };
        Ok(Some(Identity { uid, gid: uid }))
    }

    /// Lets others through the directories between the data directory and these paths, and see nothing of them.
    pub fn open_way<'a>(&self, paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
        let data = self.file.parent().context("The data directory has no name")?;
        for path in paths.filter(|path| path.starts_with(data)) {
            for directory in path.ancestors().skip(1).take_while(|directory| *directory != data) {
                let mode = fs::metadata(directory)?.permissions().mode() & 0o7777;
                if mode & 0o001 == 0 {
                    fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o001))
                        .with_context(|| format!("Others cannot be let through {}", directory.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Before anybody gets the number: a number that was forgotten would be given twice.
    fn keep(&self, given: &BTreeMap<String, u32>) -> Result<()> {
        let written = || -> Result<()> {
            let new = self.file.with_extension("json.new");
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(given)?)?;
            file.sync_all()?;
            Ok(fs::rename(&new, &self.file)?)
        };
        written().with_context(|| format!("{} cannot be written", self.file.display()))
    }
}

impl Identity {
    /// Makes a directory and all in it readable for this user and for nobody else but the server.
    pub fn lend(self, path: &Path) -> Result<()> {
        give(path, Owner { uid: 0, gid: self.gid, directories: 0o750, files: 0o440 })
    }

    /// Makes a directory and all in it this user's own.
    pub fn own(self, path: &Path) -> Result<()> {
        give(path, Owner { uid: self.uid, gid: self.gid, directories: 0o700, files: 0o600 })
    }
}

#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
    directories: u32,
    files: u32,
}

/// Links are left alone: what they point to may be anybody's. Programs stay programs.
fn give(path: &Path, owner: Owner) -> Result<()> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("{} cannot be given away", path.display()))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    chown(path, Some(owner.uid), Some(owner.gid))
        .with_context(|| format!("{} cannot be given to user {}", path.display(), owner.uid))?;
    let runs = if metadata.mode() & 0o100 != 0 { (owner.files & 0o444) >> 2 } else { 0 };
    let mode = if metadata.is_dir() { owner.directories } else { owner.files | runs };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

fn why_not(data: &Path) -> Option<String> {
    if !geteuid().is_root() {
        return Some("the server is not root".into());
    }
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
    if !capabilities(None).is_ok_and(|own| own.effective.contains(needed)) {
        return Some("the server is root without the right to change users".into());
    }
    if !["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(|map| covers(&fs::read_to_string(map).unwrap_or_default()))
    {
        return Some(format!("this container has no users {FIRST} to {LAST}"));
    }
    let data = std::path::absolute(data).ok()?;
    // A rehearsal has its data elsewhere, and runs in the environments of the real ones.
    let environments = data.join("envs").canonicalize().unwrap_or_default();
    let mut ways = data.ancestors().chain(environments.ancestors().skip(1));
    let closed = ways.find(|path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 == 0))?;
    Some(format!("others cannot get through {} (chmod o+x)", closed.display()))
}

fn covers(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (Some(inner), Some(_), Some(length)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        inner <= FIRST.into() && u64::from(LAST) < inner + length
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn users_need_a_way_to_the_environments_wherever_they_lie() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = |place: &Path, mode| fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        open(data.path(), 0o711);
        open(elsewhere.path(), 0o711);
        fs::create_dir(elsewhere.path().join("envs")).unwrap();
        symlink(elsewhere.path().join("envs"), data.path().join("envs")).unwrap();
        let before = why_not(data.path());
        open(elsewhere.path(), 0o700);
        let after = why_not(data.path()).unwrap();
        if before.is_none() {
            assert!(after.contains(elsewhere.path().to_str().unwrap()), "{after}");
        }
    }
}
