//! Copies of folders that something runs from. What nobody holds any more is removed.

use crate::{Hosts, environment::Requirements, hosts::lock, snapshot};
use anyhow::{Context, Result, anyhow};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The state of a folder, as long as anything has to do with it: what was loaded of it, its workers, its process.
#[derive(Debug)]
pub struct Held {
    pub id: String,
    pub hash: String,
    /// Of the folders that it imports.
    pub siblings: BTreeMap<String, String>,
}

/// Whether everything was looked at that nothing runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaned {
    All,
    /// Something is being loaded or made.
    Later,
}

/// By folder, its states.
type States = BTreeMap<String, BTreeSet<String>>;

impl Hosts {
    pub(crate) fn hold(&self, id: &str, hash: &str, siblings: BTreeMap<String, String>) -> Arc<Held> {
        let held = Arc::new(Held { id: id.into(), hash: hash.into(), siblings });
        let mut all = lock(&self.0.held);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        held
    }

    /// Removes states of folders that nothing runs any more, and environments that no state needs. Of a folder of which
    /// nothing runs, all is kept that there is.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn clean(&self) -> Result<Cleaned> {
        let wanted = {
            let Ok(_nobody_loads) = self.0.loading.try_write() else { return Ok(Cleaned::Later) };
            let hosts = self.clone();
            tokio::task::spawn_blocking(move || {
                hosts.remove_states().context("Old states of folders cannot be removed")?;
                hosts.requirements().context("The states of folders cannot be read")
            })
            .await??
        };
        let cleaned = self.0.environments.clean(&wanted, self.0.config.keep_environments).await;
        cleaned.map_err(|reason| anyhow!(reason))
    }

    fn remove_states(&self) -> io::Result<()> {
        let (mut own, mut imported) = (States::new(), BTreeMap::<String, States>::new());
        for held in lock(&self.0.held).iter().filter_map(std::sync::Weak::upgrade) {
            own.entry(held.id.clone()).or_default().insert(held.hash.clone());
            let imported = imported.entry(held.id.clone()).or_default();
            for (id, hash) in &held.siblings {
                imported.entry(id.clone()).or_default().insert(hash.clone());
            }
        }
        for (id, hashes) in &own {
            snapshot::clean(&self.folders_dir(), id, hashes)?;
        }
        for (id, states) in &imported {
            let home = self.siblings_dir(id);
            for sibling in names(&home)? {
                match states.get(&sibling) {
                    Some(hashes) => snapshot::clean(&home, &sibling, hashes)?,
                    None => snapshot::forget(&home, &sibling)?,
                }
            }
        }
        Ok(())
    }

    /// What the states that are left need to run.
    fn requirements(&self) -> io::Result<Vec<Requirements>> {
        let mut wanted = Vec::new();
        let home = self.folders_dir();
        for id in names(&home)? {
            for state in directories(&home.join(&id))? {
                let code = state.join("integrations").join(&id);
                wanted.extend([false, true].map(|wheels_only| Requirements::of(&code, wheels_only)));
            }
        }
        Ok(wanted)
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let paths = directories(directory)?;
    Ok(paths.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}
