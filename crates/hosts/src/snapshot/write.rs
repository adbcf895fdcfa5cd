//! Writes a copy so that it is there whole or not at all.

use super::files::Content;
use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};
use uuid::Uuid;

/// Whether the copy has what it should have. Code that runs as the server's user could have changed it, and a crash of
/// the machine have cut it.
pub fn is_intact(directory: &Path, content: &Content) -> bool {
    content.files.iter().all(|(path, entry)| {
        let path = directory.join(path);
        let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        is_file && fs::read(&path).is_ok_and(|bytes| bytes == entry.bytes)
    }) && originals(directory).is_some()
}

pub fn write(home: &Path, hash: &str, content: &Content) -> io::Result<()> {
    let new = home.join(format!(".new-{}", Uuid::now_v7()));
    for (path, entry) in &content.files {
        let path = new.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&new))?;
        fs::write(&path, &entry.bytes)?;
        fs::set_permissions(&path, Permissions::from_mode(if entry.executable { 0o555 } else { 0o444 }))?;
    }
    fs::create_dir_all(&new)?;
    let list: Vec<&String> = content.files.keys().collect();
    fs::write(new.join(LIST), serde_json::to_vec(&list)?)?;
    let place = home.join(hash);
    if place.exists() {
        let old = home.join(format!(".old-{}", Uuid::now_v7()));
        fs::rename(&place, &old)?;
        fs::rename(&new, &place)?;
        return remove(&old);
    }
    fs::rename(new, place)
}

/// Names of what was copied; what else is there, the code has made.
const LIST: &str = "files.json";

/// Below the working directory of the code.
pub fn originals(directory: &Path) -> Option<BTreeSet<String>> {
    serde_json::from_slice(&fs::read(directory.join(LIST)).ok()?).ok()
}

pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
