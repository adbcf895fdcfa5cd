//! Reads what belongs to a folder: regular files in it, and nothing that is somewhere else.

use crate::{Folder, Problem, Shape};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
};

/// What a folder may have in it. Code and its data are small; a model or a database belongs elsewhere.
const MOST_BYTES: u64 = 64 << 20;
const MOST_FILES: usize = 10_000;
/// Directories below directories.
const DEEPEST: usize = 32;

#[derive(Default)]
pub struct Content {
    /// By path below the working directory of the code.
    pub files: BTreeMap<String, Entry>,
    pub problems: Vec<Problem>,
    bytes: u64,
}

pub struct Entry {
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// Endings of what is read and never run.
const DOCUMENTS: [&str; 5] = ["yaml", "json", "md", "svg", "png"];

impl Content {
    pub fn is_without_code(&self) -> bool {
        self.files.keys().all(|path| path.rsplit_once('.').is_some_and(|(_, ending)| DOCUMENTS.contains(&ending)))
    }

    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (path, entry) in &self.files {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update([u8::from(entry.executable)]);
            hash.update((entry.bytes.len() as u64).to_le_bytes());
            hash.update(&entry.bytes);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

pub fn read(folder: &Folder) -> io::Result<Content> {
    match folder.shape {
        Shape::Folder | Shape::Manifest => tree(&folder.path, &format!("integrations/{}/", folder.id)),
        Shape::Tools => flat(&folder.path, &format!("integrations/{}/tools/", folder.id)),
        Shape::Connector => {
            let directory = folder.path.parent().unwrap_or(Path::new("."));
            let name = folder.path.file_name().unwrap_or_default().to_string_lossy();
            let mut content = Content::default();
            content.add(&open(directory)?, &name, format!("scripts/integrations/{name}"))?;
            Ok(content)
        }
    }
}

/// All of a directory, as far as it counts.
pub fn tree(directory: &Path, prefix: &str) -> io::Result<Content> {
    let mut content = Content::default();
    content.walk(&open(directory)?, directory, "", prefix, 0)?;
    Ok(content)
}

/// The Python files of a directory, and nothing below it.
fn flat(directory: &Path, prefix: &str) -> io::Result<Content> {
    let mut content = Content::default();
    let root = open(directory)?;
    for name in names(directory)?.iter().filter(|name| name.ends_with(".py")) {
        content.add(&root, name, format!("{prefix}{name}"))?;
    }
    Ok(content)
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// In order, without hidden ones and what is made from the rest.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let left_out = name.starts_with('.') || name == "__pycache__" || name.ends_with('~');
        if !left_out {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Content {
    fn walk(&mut self, root: &OwnedFd, directory: &Path, below: &str, prefix: &str, depth: usize) -> io::Result<()> {
        for name in names(directory)? {
            let path = directory.join(&name);
            let relative = format!("{below}{name}");
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                // Removed since: an editor at work.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if kind.is_dir() {
                // A virtual environment is made for us from the requirements.
                if path.join("pyvenv.cfg").exists() {
                    continue;
                }
                if depth == DEEPEST {
                    self.problems.push(Problem::new(relative, "is too deep in directories and was left out"));
                    continue;
                }
                self.walk(root, &path, &format!("{relative}/"), prefix, depth + 1)?;
            } else if name.ends_with(".pyc") {
                // Beside its source Python would not look at it.
                let reason = "is bytecode, which is not run, and was left out";
                self.problems.push(Problem::new(relative, reason));
            } else if kind.is_file() || kind.is_symlink() {
                let to = format!("{prefix}{relative}");
                self.add(root, &relative, to)?;
            } else {
                self.problems.push(Problem::new(relative, "is neither a file nor a directory and was left out"));
            }
        }
        Ok(())
    }

    /// Reads one file. Where a link leads out of the folder, the kernel refuses, also when it is put there meanwhile.
    fn add(&mut self, root: &OwnedFd, relative: &str, to: String) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut file = match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::XDEV) => {
                self.problems.push(Problem::new(relative, "is a link that leads out of the folder and was left out"));
                return Ok(());
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => {
                self.problems.push(Problem::new(relative, "is a link that leads nowhere and was left out"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            self.problems.push(Problem::new(relative, "is not a link to a file and was left out"));
            return Ok(());
        }
        if self.bytes + metadata.len() > MOST_BYTES || self.files.len() == MOST_FILES {
            return Err(io::Error::other(format!(
                "it has more than {} MB or {MOST_FILES} files in it; at {relative} it is full. Put large data into the \
                 state directory, INTEGRATION_STATE_DIR",
                MOST_BYTES >> 20
            )));
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(MOST_BYTES - self.bytes).read_to_end(&mut bytes)?;
        self.bytes += bytes.len() as u64;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        self.files.insert(to, Entry { bytes, executable });
        Ok(())
    }
}
