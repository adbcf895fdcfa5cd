//! Removes environments that nobody needs any more, and what was begun and left.

use super::{Environments, Requirements, in_use, install, lock};
use crate::Cleaned;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};
use uuid::Uuid;

/// What is begun is not left before this time is over.
const BEGUN: Duration = Duration::from_secs(3600);
/// Packages that were fetched are kept for the next environment, up to here.
const MOST_FETCHED: u64 = 2 << 30;

impl Environments {
    /// Keeps those that these requirements have, those that are in use, and those that were in use a moment ago: who
    /// takes a change back does not wait for them again.
    ///
    /// # Errors
    /// When the directory cannot be looked at, or there is no Python whose environments they would be.
    pub async fn clean(&self, wanted: &[Requirements], keep: Duration) -> Result<Cleaned, String> {
        let home = self.0.settings.directory.clone();
        if !has_any(&home) {
            // Nor is a Python looked for that nobody needs.
            return Ok(Cleaned::All);
        }
        let bare = self.bare().await?;
        let base = Requirements::default();
        let kept = wanted.iter().chain([&base]).map(|wanted| wanted.key(&self.0.base, &bare)).collect();
        let package = bare.source.parent().and_then(Path::file_name).unwrap_or_default().to_owned();
        let swept = tokio::task::spawn_blocking(move || sweep(&home, &kept, package.to_str(), keep)).await;
        let words = |error: &dyn std::fmt::Display| format!("Old environments cannot be removed: {error}");
        swept.map_err(|error| words(&error))?.map_err(|error| words(&error))
    }
}

/// Whether one was made or begun here.
fn has_any(home: &Path) -> bool {
    let names = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    names.any(|name| ["base-", "packages-"].iter().any(|kind| name.trim_start_matches('.').starts_with(kind)))
}

fn sweep(home: &Path, kept: &BTreeSet<String>, package: Option<&str>, keep: Duration) -> io::Result<Cleaned> {
    // Who makes one has not taken it into use yet.
    let Some(_removing) = lock::removing(home) else { return Ok(Cleaned::Later) };
    let mut removed = false;
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        match name.split_once('-').map(|(kind, _)| kind) {
            Some("base" | "packages") if !kept.contains(name) => {
                let is_old = install::finished(&path).is_none() || in_use::idle(&path) >= keep;
                removed |= is_old && put_away(home, &path)?;
            }
            // Our own package, of another version of the program.
            Some("worker") if Some(name) != package && age(&path) >= keep => remove(&path)?,
            Some(".base" | ".packages" | ".worker" | ".old") if age(&path) >= BEGUN => remove(&path)?,
            _ => {}
        }
    }
    for entry in fs::read_dir(home.join("tmp")).into_iter().flatten() {
        let path = entry?.path();
        if age(&path) >= BEGUN {
            remove(&path)?;
        }
    }
    let fetched = home.join("cache");
    if removed && size(&fetched) > MOST_FETCHED {
        remove(&fetched)?;
    }
    Ok(Cleaned::All)
}

/// Removes an environment, unless somebody uses it. What is half removed has another name.
fn put_away(home: &Path, directory: &Path) -> io::Result<bool> {
    let opened = File::open(directory)?;
    if opened.try_lock().is_err() {
        return Ok(false);
    }
    let old = home.join(format!(".old-{}", Uuid::now_v7()));
    fs::rename(directory, &old)?;
    remove(&old)?;
    Ok(true)
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn age(path: &Path) -> Duration {
    let made = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    made.ok().and_then(|made| made.elapsed().ok()).unwrap_or_default()
}

fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::symlink, path::PathBuf, time::SystemTime};

    const DAY: Duration = Duration::from_secs(86_400);

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// One that is complete and was used last so long ago.
        fn environment(&self, name: &str, idle: Duration) -> PathBuf {
            let place = self.0.path().join(name);
            fs::create_dir_all(place.join("bin")).unwrap();
            symlink("/bin/sh", place.join("bin/python")).unwrap();
            fs::write(place.join(install::LOCK), "a==1").unwrap();
            let lock = File::options().append(true).open(place.join(install::LOCK)).unwrap();
            lock.set_modified(SystemTime::now() - idle).unwrap();
            place
        }

        fn left(&self, kept: &[&str]) -> Vec<String> {
            let kept = kept.iter().map(|name| (*name).to_owned()).collect();
            sweep(self.0.path(), &kept, Some("worker-now"), DAY).unwrap();
            let entries = fs::read_dir(self.0.path()).unwrap();
            let mut left: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            left.retain(|name| name != "making.lock");
            left.sort();
            left
        }
    }

    #[test]
    fn what_nobody_wants_or_used_for_long_goes_and_all_else_stays() {
        let home = Home::new();
        home.environment("base-now", 9 * DAY);
        home.environment("packages-wanted", 9 * DAY);
        home.environment("packages-lately", DAY / 2);
        home.environment("packages-old", 2 * DAY);
        home.environment("base-of-another-python", 2 * DAY);
        let begun = home.environment("packages-begun", Duration::ZERO);
        fs::remove_file(begun.join(install::LOCK)).unwrap();
        for other in ["uv/bin", "cache", "tmp", "worker-now", "worker-older", "somebodys-own"] {
            fs::create_dir_all(home.0.path().join(other)).unwrap();
        }
        let older = File::open(home.0.path().join("worker-older")).unwrap();
        older.set_modified(SystemTime::now() - 2 * DAY).unwrap();
        fs::write(home.0.path().join("python.json"), "{}").unwrap();
        let left = home.left(&["base-now", "packages-wanted"]);
        let expected = [
            "base-now",
            "cache",
            "packages-lately",
            "packages-wanted",
            "python.json",
            "somebodys-own",
            "tmp",
            "uv",
            "worker-now",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn what_somebody_uses_stays_and_is_fresh_when_it_is_let_go() {
        let home = Home::new();
        let place = home.environment("packages-old", 2 * DAY);
        let first = in_use::InUse::take(&place).unwrap();
        let second = in_use::InUse::take(&place).unwrap();
        File::options()
            .append(true)
            .open(place.join(install::LOCK))
            .unwrap()
            .set_modified(SystemTime::now() - 2 * DAY)
            .unwrap();
        drop(second);
        assert_eq!(home.left(&[]), ["packages-old"], "one of two that use it is left");
        drop(first);
        assert_eq!(home.left(&[]), ["packages-old"], "it was used a moment ago");
        fs::remove_dir_all(&place).unwrap();
        home.environment("packages-old", 2 * DAY);
        assert_eq!(home.left(&[]), [""; 0]);
        assert!(in_use::InUse::take(&place).is_none());
    }

    #[tokio::test]
    async fn nothing_is_removed_while_something_is_made() {
        let home = Home::new();
        home.environment("packages-old", 2 * DAY);
        let making = lock::making(home.0.path()).await.unwrap();
        assert_eq!(home.left(&[]), ["packages-old"]);
        drop(making);
        assert_eq!(home.left(&[]), [""; 0]);
    }
}
