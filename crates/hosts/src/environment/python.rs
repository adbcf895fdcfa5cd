//! The Python of this machine. Which one it is is remembered: asking it takes as long as a restart of the server.

use super::Environments;
use crate::sandbox;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    pub program: PathBuf,
    pub version: (u32, u32, u32),
    pub prefixes: Vec<PathBuf>,
    pub for_users: bool,
}

/// What the search depended on, and what was found.
#[derive(Serialize, Deserialize)]
struct Remembered {
    path: String,
    users: bool,
    changed: u64,
    python: Python,
}

impl Environments {
    /// # Errors
    /// When there is none that is new enough.
    pub async fn python(&self) -> Result<Python, String> {
        let _turn = self.0.python.lock().await;
        let (settings, sandbox) = (&self.0.settings, &self.0.sandbox);
        let users = sandbox.abilities().users;
        let place = settings.directory.join("python.json");
        if let Some(python) = remembered(&place, &settings.path, users) {
            return Ok(python);
        }
        let found = sandbox::python(sandbox, &settings.path).await.map_err(|error| format!("{error:#}"))?;
        let sandbox::Interpreter { program, version, prefixes, for_users } = found;
        let changed = changed(&program);
        let python = Python { program, version, prefixes, for_users };
        let remembered = Remembered { path: settings.path.clone(), users, changed, python };
        let written = fs::create_dir_all(&settings.directory)
            .and_then(|()| fs::write(&place, serde_json::to_vec(&remembered).unwrap_or_default()));
        written.map_err(|error| format!("{} cannot be written: {error}", place.display()))?;
        Ok(remembered.python)
    }
}

fn remembered(place: &Path, path: &str, users: bool) -> Option<Python> {
    let remembered: Remembered = serde_json::from_slice(&fs::read(place).ok()?).ok()?;
    let same = remembered.path == path
        && remembered.users == users
        && remembered.python.program.is_file()
        && remembered.changed == changed(&remembered.python.program);
    same.then_some(remembered.python)
}

/// When the program was put there; an upgrade changes it.
fn changed(program: &Path) -> u64 {
    let modified = fs::metadata(program).and_then(|metadata| metadata.modified());
    let since = modified.unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}
