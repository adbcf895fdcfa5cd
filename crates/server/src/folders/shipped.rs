//! The folders that are part of the program and not written in Rust: put where folders can be loaded from.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tercel_hosts::{MANIFEST, Manifests, Root, RootKind};
use tokio::task::{JoinHandle, spawn_blocking};

/// Below the data directory; a directory in it for each set of them.
const PLACE: &str = "shipped";

/// What ships, being put on disk and read in the background: a start has something else to do meanwhile.
pub struct Shipping {
    pub root: JoinHandle<Result<Root>>,
    pub manifests: JoinHandle<Manifests>,
}

impl Shipping {
    /// For whoever has the data directory.
    pub fn begin(data: &Path) -> Self {
        let texts = tercel_integrations::folders().iter().filter_map(|(path, bytes)| {
            let (id, file) = path.split_once('/')?;
            Some((id, std::str::from_utf8(bytes).ok()?)).filter(|_| file == MANIFEST)
        });
        let data = data.to_owned();
        Self { root: spawn_blocking(move || root(&data)), manifests: spawn_blocking(|| Manifests::read(texts)) }
    }
}

/// The root of what this program ships, on disk.
pub fn root(data: &Path) -> Result<Root> {
    let files = tercel_integrations::folders();
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        hash.update(path.as_bytes());
        hash.update(Sha256::digest(bytes));
    }
    let home = data.join(PLACE);
    let path = home.join(hex::encode(&hash.finalize()[..8]));
    let cannot = || format!("What ships with the program cannot be put into {}", path.display());
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), (*bytes).into()));
    tercel_hosts::extract(&path, files).with_context(cannot)?;
    remove_others(&home, &path).with_context(cannot)?;
    Ok(Root { path, kind: RootKind::Shipped })
}

/// Those of an earlier version of the program.
fn remove_others(home: &Path, kept: &PathBuf) -> std::io::Result<()> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        if path != *kept {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_is_on_disk_as_it_is_and_nothing_older() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("shipped/older/gone")).unwrap();
        let first = root(data.path()).unwrap();
        assert_eq!(root(data.path()).unwrap(), first, "a second start finds the same");
        for (path, bytes) in tercel_integrations::folders() {
            assert_eq!(&fs::read(first.path.join(path)).unwrap(), bytes, "{path}");
        }
        assert_eq!(fs::read_dir(data.path().join("shipped")).unwrap().count(), 1);
    }
}
