//! Files outside of a folder that its process wants to be started anew for.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

/// Files that are looked at.
const MOST: usize = 2_000;

/// Returns once one of them has changed, and has been quiet since the last look.
pub async fn changed(paths: Vec<PathBuf>, look: Duration) {
    if paths.is_empty() {
        return std::future::pending().await;
    }
    let (first, mut last) = (fingerprint(&paths).await, None);
    loop {
        tokio::time::sleep(look).await;
        let now = fingerprint(&paths).await;
        if now != first && last == Some(now) {
            return;
        }
        last = Some(now);
    }
}

async fn fingerprint(paths: &[PathBuf]) -> u64 {
    let paths = paths.to_vec();
    let looked = tokio::task::spawn_blocking(move || {
        let (mut hasher, mut left) = (DefaultHasher::new(), MOST);
        paths.iter().for_each(|path| add(path, &mut hasher, &mut left));
        hasher.finish()
    });
    looked.await.unwrap_or_default()
}

fn add(path: &Path, hasher: &mut DefaultHasher, left: &mut usize) {
    let Some(less) = left.checked_sub(1) else { return };
    *left = less;
    // Links are not followed: one that leads upwards has no end.
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    path.hash(hasher);
    if !metadata.is_dir() {
        (metadata.len(), metadata.modified().ok()).hash(hasher);
        return;
    }
    let mut below: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    below.sort();
    below.iter().for_each(|path| add(path, hasher, left));
}
