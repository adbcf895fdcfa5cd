//! The state of a folder that its code runs from: a copy that nobody edits.
//!
//! `<data>/folders/<id>/<hash>/integrations/<id>/`, and beside each `<hash>` what is known of it.

mod carried;
mod files;
mod write;

pub use write::originals;

use crate::{Folder, Problem, RootKind, Shape};
use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A copy that is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Of what was copied.
    pub hash: String,
    /// `<data>/folders/<id>/<hash>`: the working directory of the code.
    pub directory: PathBuf,
    /// The copy of the folder itself.
    pub code: PathBuf,
    /// What was left out, and why.
    pub problems: Vec<Problem>,
}

/// Copies a folder, unless there is a copy of exactly this state. `previous` is the state that ran before: files that the
/// code made beside itself there are carried over.
///
/// # Errors
/// When the folder cannot be read or the copy not be written.
pub fn take(folders: &Path, folder: &Folder, previous: Option<&str>) -> Result<Snapshot> {
    let content = files::read(folder).with_context(|| format!("{} cannot be read", folder.path.display()))?;
    let hash = content.hash();
    // What ships with the program lies where nobody edits it.
    if folder.root.kind == RootKind::Shipped && folder.shape == Shape::Manifest && content.is_without_code() {
        let (directory, code) = (folder.root.path.clone(), folder.path.clone());
        return Ok(Snapshot { hash, directory, code, problems: content.problems });
    }
    let home = folders.join(&folder.id);
    let directory = home.join(&hash);
    let code = code_of(&directory, folder);
    if !write::is_intact(&directory, &content) {
        write::write(&home, &hash, &content).with_context(|| format!("{} cannot be written", home.display()))?;
        if let Some(previous) = previous.filter(|previous| *previous != hash) {
            carried::carry(&home, previous, &hash).context("Files beside the code could not be carried over")?;
        }
    }
    Ok(Snapshot { hash, directory, code, problems: content.problems })
}

fn code_of(directory: &Path, folder: &Folder) -> PathBuf {
    match folder.shape {
        Shape::Folder | Shape::Manifest | Shape::Tools => directory.join("integrations").join(&folder.id),
        Shape::Connector => directory.join("scripts/integrations"),
    }
}

/// Whether two folders have the same in them.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let hash = |path: &Path| files::tree(path, "").map(|content| content.hash());
    matches!((hash(one), hash(other)), (Ok(one), Ok(other)) if one == other)
}

/// Removes all states of a folder but those that run.
///
/// # Errors
/// When they cannot be removed.
pub fn clean(folders: &Path, id: &str, running: &BTreeSet<String>) -> std::io::Result<()> {
    let home = folders.join(id);
    let entries = match fs::read_dir(&home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What begins with a dot is being written by somebody.
        let state = name.split('.').next().unwrap_or_default();
        if !state.is_empty() && !running.contains(state) {
            write::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes what a server that was killed has begun. Nobody writes yet.
///
/// # Errors
/// When it cannot be removed.
pub fn sweep(data: &Path) -> std::io::Result<()> {
    let mut homes = below(&data.join("folders"))?;
    for importing in below(&data.join("siblings"))? {
        homes.extend(below(&importing)?);
    }
    for entry in homes.iter().map(|home| below(home)).collect::<Result<Vec<_>, _>>()?.concat() {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            write::remove(&entry)?;
        }
    }
    Ok(())
}

fn below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Forgets a folder whole.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(folders: &Path, id: &str) -> std::io::Result<()> {
    write::remove(&folders.join(id))
}

#[cfg(test)]
mod tests;
