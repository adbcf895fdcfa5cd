//! What a rehearsal is of: a folder, or something that is part of the program.

use crate::{
    config::{Config, Environment},
    folders::shipped,
};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tercel_hosts::Hosts;
use tercel_sdk::Integration;

pub enum Named {
    /// Written in Rust, or a manifest alone.
    Native(Box<Integration>),
    Folder {
        path: PathBuf,
        /// Where it was put, when it ships with the program.
        _unpacked: Option<TempDir>,
    },
}

/// A path, or a name: then folders of the operator's come first, as in a server.
pub fn find(environment: &Environment, named: &str) -> Result<Named> {
    let path = Path::new(named);
    if is_folder(path) {
        return of_folder(path.into(), None);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(named);
    let config = Config::from(environment.clone())?;
    let places = [PathBuf::from("integrations"), config.data_dir.join("integrations")];
    let mut places = places.into_iter().chain(config.folders.directories).map(|place| place.join(name));
    if let Some(path) = places.rfind(|path| is_folder(path)) {
        return of_folder(path, None);
    }
    if let Some(native) = tercel_integrations::all().into_iter().find(|native| native.name == name) {
        return Ok(Named::Native(Box::new(native)));
    }
    let unpacked = tempfile::tempdir().context("No temporary directory can be made")?;
    let path = shipped::root(unpacked.path())?.path.join(name);
    if is_folder(&path) {
        return of_folder(path, Some(unpacked));
    }
    bail!("There is no folder {named}, and no integration `{name}`; part of this program are {}", shipped_names())
}

fn of_folder(path: PathBuf, unpacked: Option<TempDir>) -> Result<Named> {
    Ok(match manifested(&path)? {
        Some(integration) => Named::Native(Box::new(integration)),
        None => Named::Folder { path, _unpacked: unpacked },
    })
}

/// The integration of a folder that is a manifest and has no code.
pub fn manifested(path: &Path) -> Result<Option<Integration>> {
    let folder = Hosts::folder(path).map_err(|reason| anyhow!(reason))?;
    tercel_hosts::manifested(&folder).transpose().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("`{}` does not load:\n{}", folder.id, problems.join("\n"))
    })
}

/// Not what is written in Rust: that is part of the program.
fn is_folder(path: &Path) -> bool {
    path.is_dir() && !path.join("mod.rs").is_file()
}

fn shipped_names() -> String {
    let natives = tercel_integrations::all().into_iter().map(|native| native.name);
    let folders =
        tercel_integrations::folders().iter().filter_map(|(path, _)| Some(path.split_once('/')?.0.to_owned()));
    let mut names: Vec<String> = natives.chain(folders).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}
