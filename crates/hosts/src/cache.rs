//! What was found out about a state of a folder by running something, so that it need not be run again.

use crate::{Problem, Variable, description::Description};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What the source says, read without running it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Declared {
    /// The Python that read it.
    pub by: String,
    pub variables: Vec<Variable>,
    /// Folders that are imported.
    pub imports: Vec<String>,
    pub problems: Vec<Problem>,
}

/// What its code answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// Of all that the answer depends on.
    pub key: String,
    pub description: Description,
    /// Folders whose code was imported, with their states.
    pub siblings: BTreeMap<String, String>,
}

/// Beside a snapshot, where its code cannot reach.
pub struct Cache {
    home: PathBuf,
    hash: String,
}

impl Cache {
    pub fn of(folders: &Path, id: &str, hash: &str) -> Self {
        Self { home: folders.join(id), hash: hash.into() }
    }

    pub fn declared(&self) -> Option<Declared> {
        self.read("declared")
    }

    pub fn described(&self) -> Option<Described> {
        self.read("described")
    }

    pub fn keep_declared(&self, declared: &Declared) -> io::Result<()> {
        self.write("declared", declared)
    }

    pub fn keep_described(&self, described: &Described) -> io::Result<()> {
        self.write("described", described)
    }

    fn read<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.place(what)).ok()?).ok()
    }

    fn write<T: Serialize>(&self, what: &str, value: &T) -> io::Result<()> {
        let new = self.home.join(format!(".new-{}", uuid::Uuid::now_v7()));
        fs::write(&new, serde_json::to_vec(value)?)?;
        fs::rename(new, self.place(what))
    }

    fn place(&self, what: &str) -> PathBuf {
        self.home.join(format!("{}.{what}.json", self.hash))
    }
}
