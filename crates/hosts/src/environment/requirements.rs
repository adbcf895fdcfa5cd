//! What a folder asks for.

use super::{Interpreter, package::Base};
use sha2::{Digest, Sha256};
use std::{fs, path::Path};

/// How environments are made: a change of it makes them anew.
const MADE: &[u8] = b"with bytecode";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// File name and content; none of them is the base environment.
    pub file: Option<(&'static str, Vec<u8>)>,
    /// Packages that would run code to be installed are refused.
    pub wheels_only: bool,
}

impl Requirements {
    /// Of a folder: `requirements.txt`, else `pyproject.toml`.
    pub fn of(code: &Path, wheels_only: bool) -> Self {
        let file = ["requirements.txt", "pyproject.toml"]
            .into_iter()
            .find_map(|name| Some((name, fs::read(code.join(name)).ok()?)))
            .filter(|(_, content)| !content.trim_ascii().is_empty());
        Self { file, wheels_only }
    }

    /// A name for the environment: the same for the same packages on the same Python.
    pub(super) fn key(&self, base: &Base, python: &Interpreter) -> String {
        let mut hash = Sha256::new();
        let python = format!("{:?} {}", python.version, python.program.display());
        let wheels_only = u8::from(self.wheels_only && self.file.is_some());
        for part in [&base.locked[..], python.as_bytes(), &[wheels_only], MADE] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        match &self.file {
            None => format!("base-{}", hex::encode(&hash.finalize()[..8])),
            Some((name, content)) => {
                hash.update(name);
                hash.update(content);
                format!("packages-{}", hex::encode(&hash.finalize()[..8]))
            }
        }
    }
}
