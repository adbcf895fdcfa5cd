//! Embeds the shipped folders that are not written in Rust: every one without a `mod.rs`, so that none has to be listed.

#![expect(clippy::disallowed_methods, reason = "Cargo tells build scripts by the environment")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed={}", here.display());
    let mut files = Vec::new();
    for folder in entries(&here)?.into_iter().filter(|path| path.is_dir() && !path.join("mod.rs").is_file()) {
        collect(&folder, &mut files)?;
    }
    let list: String = files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(&here).expect("it was found below");
            format!("    ({:?}, include_bytes!({:?})),\n", name.display().to_string(), file.display().to_string())
        })
        .collect();
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("folders.rs");
    fs::write(out, format!("&[\n{list}]\n"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in entries(folder)? {
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// In order, without what tools leave behind.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let left_behind = |name: &str| name.starts_with(['.', '_']) && name != "__init__.py" || name == "target";
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !left_behind(&entry.file_name().to_string_lossy()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
