//! The Python package that is part of the program.

use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(RustEmbed)]
#[folder = "../../python"]
#[include = "src/**/*.py"]
#[include = "src/**/*.json"]
#[include = "requirements.in"]
#[include = "requirements.txt"]
struct Files;

/// What every environment has in it, and how it was locked.
pub struct Base {
    pub names: Vec<u8>,
    pub locked: Vec<u8>,
}

pub fn requirements() -> Base {
    let read = |name| Files::get(name).map(|file| file.data.into_owned()).unwrap_or_default();
    Base { names: read("requirements.in"), locked: read("requirements.txt") }
}

/// Where its modules are, and a hash of them.
pub fn unpacked(directory: &Path) -> io::Result<(PathBuf, String)> {
    let modules = || Files::iter().filter(|name| name.starts_with("src/") && !name.contains("__pycache__"));
    let mut hash = Sha256::new();
    let mut names: Vec<_> = modules().collect();
    names.sort();
    for name in &names {
        let file = Files::get(name).ok_or(io::ErrorKind::NotFound)?;
        hash.update(name.as_bytes());
        hash.update(file.metadata.sha256_hash());
    }
    let hash = hex::encode(&hash.finalize()[..8]);
    let place = directory.join(format!("worker-{hash}"));
    if !place.exists() {
        let new = directory.join(format!(".worker-{}", uuid::Uuid::now_v7()));
        for name in &names {
            let file = Files::get(name).ok_or(io::ErrorKind::NotFound)?;
            let path = new.join(&**name);
            fs::create_dir_all(path.parent().unwrap_or(&new))?;
            fs::write(path, file.data)?;
        }
        // Another task may have been faster; then its copy is as good.
        if let Err(error) = fs::rename(&new, &place) {
            fs::remove_dir_all(&new)?;
            if !place.exists() {
                return Err(error);
            }
        }
    }
    Ok((place.join("src"), hash))
}
