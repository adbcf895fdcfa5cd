//! Which directories are integrations, and which of two with one name counts.

mod hiding;
mod version;

use crate::{load::has_python, manifest, name, snapshot};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

pub use hiding::Hidden;
pub use version::version;

/// Where folders are looked for. A later root replaces an id whole, but for the workspace, which never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub path: PathBuf,
    pub kind: RootKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// Embedded in the program.
    Shipped,
    /// The operator's.
    Operator,
    /// Where bots write: nothing of it runs before it was approved.
    Workspace,
}

/// What lies at the path of a [`Folder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A directory in the documented layout.
    Folder,
    /// A directory with a manifest whose parts need no code. It may have a process beside them.
    Manifest,
    /// A directory of nothing but tool files.
    Tools,
    /// One file with a connector class.
    Connector,
}

impl Shape {
    /// What a directory is.
    pub fn of(directory: &Path) -> Self {
        let Ok(manifest) = fs::read_to_string(directory.join(manifest::FILE)) else { return Self::Folder };
        let has_worker = manifest.lines().any(|line| line.starts_with("worker:"));
        if has_worker || has_python(directory) { Self::Folder } else { Self::Manifest }
    }
}

/// What counts as an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub id: String,
    pub path: PathBuf,
    pub root: Root,
    pub shape: Shape,
}

/// What lies below the roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// One for each id, in the order of the roots.
    pub folders: Vec<Folder>,
    /// Which of them stand in the place of others.
    pub hidden: Vec<Hidden>,
    /// What cannot be an integration though it looks as if it should be, with the reason.
    pub problems: Vec<(PathBuf, String)>,
}

/// Where to look, in order.
pub struct Places<'a> {
    pub roots: &'a [Root],
    pub tool_dirs: &'a [PathBuf],
    pub connector_dirs: &'a [Root],
    /// Directories that nobody named.
    pub usual: &'a BTreeSet<PathBuf>,
    /// Integrations that are part of the program, with their versions.
    pub native: &'a BTreeMap<String, String>,
}

/// Looks below all roots. Nothing of what is found is run.
pub fn scan(places: &Places) -> Found {
    let mut search = Search { found: Found::default(), seen: BTreeSet::new(), places };
    for root in places.roots {
        search.root(root);
    }
    for directory in places.tool_dirs {
        search.tools(directory);
    }
    for root in places.connector_dirs {
        search.connectors(root);
    }
    search.found
}

/// Writes files that are embedded in the program where they can be scanned.
///
/// # Errors
/// When the directory cannot be written.
pub fn extract(
    directory: &Path,
    files: impl Iterator<Item = (String, std::borrow::Cow<'static, [u8]>)>,
) -> io::Result<()> {
    for (path, content) in files {
        let path = directory.join(path);
        if fs::read(&path).is_ok_and(|there| there == *content) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        let new = path.with_extension("new");
        fs::write(&new, &content)?;
        fs::rename(new, path)?;
    }
    Ok(())
}

struct Search<'a> {
    found: Found,
    /// Roots by what they resolve to.
    seen: BTreeSet<PathBuf>,
    places: &'a Places<'a>,
}

impl Search<'_> {
    fn root(&mut self, root: &Root) {
        let Some(entries) = self.entries(&root.path) else { return };
        for (name, path) in entries {
            if !path.is_dir() || path.join("mod.rs").exists() || !counts(&path) {
                continue;
            }
            if let Err(reason) = name::check(&name) {
                self.found.problems.push((path, reason));
            } else {
                let shape = Shape::of(&path);
                self.add(Folder { id: name, path, root: root.clone(), shape });
            }
        }
    }

    fn tools(&mut self, directory: &Path) {
        let Some(entries) = self.entries(directory) else { return };
        if !entries.iter().any(|(_, path)| is_python(path)) {
            return;
        }
        let called = directory.canonicalize().ok();
        let called = called.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("tools");
        let plain = name::made_of(called).unwrap_or_else(|| "tools".into());
        let mut id = plain.clone();
        for number in 2.. {
            if !self.is_taken(&id) {
                break;
            }
            id = format!("{plain}_{number}");
        }
        let root = Root { path: directory.into(), kind: RootKind::Operator };
        self.add(Folder { id, path: directory.into(), root, shape: Shape::Tools });
    }

    fn connectors(&mut self, root: &Root) {
        let Some(entries) = self.entries(&root.path) else { return };
        for (name, path) in entries.into_iter().filter(|(_, path)| is_python(path)) {
            // What a module of this name would be imported as is the base class.
            let Some(id) = name.strip_suffix(".py").filter(|id| *id != "base") else { continue };
            if let Err(reason) = name::check(id) {
                self.found.problems.push((path, reason));
            } else if let Some(other) = self.found.folders.iter().find(|other| other.id == id) {
                let reason =
                    format!("The name `{id}` is taken by {}: give one of the two another", other.path.display());
                self.found.problems.push((path, reason));
            } else {
                self.add(Folder { id: id.into(), path, root: root.clone(), shape: Shape::Connector });
            }
        }
    }

    /// What is in a directory that has not been looked at yet, in order of name, without what begins with `_` or `.`.
    fn entries(&mut self, directory: &Path) -> Option<Vec<(String, PathBuf)>> {
        let listed = directory.canonicalize().and_then(|real| Ok((fs::read_dir(&real)?, real)));
        let (listed, real) = match listed {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.places.usual.contains(directory) => {
                return None;
            }
            Err(error) => {
                let reason = format!("This directory for integrations cannot be read: {error}");
                self.found.problems.push((directory.into(), reason));
                return None;
            }
        };
        if !self.seen.insert(real) {
            return None;
        }
        let mut entries: Vec<(String, PathBuf)> = listed
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()))
            .filter(|name| !name.starts_with(['_', '.']))
            .map(|name| (name.clone(), directory.join(name)))
            .collect();
        entries.sort();
        Some(entries)
    }

    fn is_taken(&self, id: &str) -> bool {
        self.places.native.contains_key(id) || self.found.folders.iter().any(|folder| folder.id == id)
    }

    fn add(&mut self, folder: Folder) {
        if folder.root.kind == RootKind::Workspace && folder.path.is_symlink() {
            let what = if folder.shape == Shape::Folder { "directory" } else { "file" };
            let reason = format!("What is in the workspace cannot be a link; put a {what} there");
            return self.found.problems.push((folder.path, reason));
        }
        let place = self.found.folders.iter().position(|other| other.id == folder.id);
        let earlier = place.map(|place| &self.found.folders[place]);
        let native = self.places.native.get(&folder.id);
        if earlier.is_none() && native.is_none() {
            return self.found.folders.push(folder);
        }
        if folder.root.kind == RootKind::Workspace {
            let reason = format!("There is an integration `{}` already: a workspace cannot replace it", folder.id);
            return self.found.problems.push((folder.path, reason));
        }
        let shipped = earlier.filter(|other| other.root.kind == RootKind::Shipped);
        if shipped.is_some_and(|other| snapshot::is_same(&other.path, &folder.path)) {
            return;
        }
        self.found.hidden.retain(|hidden| hidden.id != folder.id);
        self.found.hidden.push(Hidden::new(&folder, earlier, native.map(String::as_str)));
        match place {
            Some(place) => self.found.folders[place] = folder,
            None => self.found.folders.push(folder),
        }
    }
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "py") && path.is_file()
}

/// Whether a directory has anything that an integration is made of.
fn counts(directory: &Path) -> bool {
    const FILES: [&str; 7] =
        ["integration.yaml", "router.py", "dispatcher.py", "hooks.py", "process.py", "setup.py", "connector.py"];
    let has = |place: &str, ending: &str| {
        let Ok(entries) = fs::read_dir(directory.join(place)) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| !name.starts_with(['_', '.']) && name.ends_with(ending))
        })
    };
    FILES.iter().any(|file| directory.join(file).is_file())
        || has("tools", ".py")
        || has("skills", ".md")
        || ["carapaces", "prompts"].iter().any(|place| directory.join(place).is_dir())
}

#[cfg(test)]
mod tests;
