//! Where the environments for Python lie that tests share: making one takes a while.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// `target`: `CARGO_TARGET_TMPDIR`. Under root every integration has a user of its own, who gets through to the
/// environments only where all directories above let others through.
pub fn environments(target: &str) -> PathBuf {
    let target = Path::new(target);
    let lets_through = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0);
    let place = match target.ancestors().all(lets_through) {
        true => target.to_owned(),
        false => {
            let mut hasher = DefaultHasher::new();
            target.hash(&mut hasher);
            std::env::temp_dir().join(format!("tercel-tests-{:x}", hasher.finish()))
        }
    };
    fs::create_dir_all(place.join("envs")).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    place.join("envs")
}
