//! Files that code made beside itself live on when the code changes.

use super::write;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// More than this is not something that code puts beside itself; it belongs into the state directory.
const MOST_BYTES: u64 = 64 << 20;

pub fn carry(home: &Path, from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (home.join(from), home.join(to));
    let Some(originals) = write::originals(&from) else { return Ok(()) };
    let mut made = Vec::new();
    collect(&from, &from.join("integrations"), &mut made)?;
    let root = rustix::fs::openat(CWD, &from, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = 0;
    for relative in made {
        let target = to.join(&relative);
        let is_original = relative.to_str().is_some_and(|path| originals.contains(path));
        if is_original || target.exists() {
            continue;
        }
        // The code still runs, and could put a link to somewhere else into the place of its file.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(file) = rustix::fs::openat2(&root, &relative, flags, Mode::empty(), resolve) else { continue };
        let file = File::from(file);
        let length = file.metadata()?.len();
        bytes += length;
        if bytes > MOST_BYTES {
            break;
        }
        fs::create_dir_all(target.parent().unwrap_or(&to))?;
        io::copy(&mut file.take(length), &mut File::create(target)?)?;
    }
    Ok(())
}

fn collect(base: &Path, directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() && name != "__pycache__" {
            collect(base, &entry.path(), into)?;
        } else if kind.is_file() && !name.to_string_lossy().ends_with(".pyc") {
            into.extend(entry.path().strip_prefix(base).map(Path::to_path_buf));
        }
    }
    Ok(())
}
