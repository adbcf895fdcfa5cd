//! The first Python on this machine that is new enough. Who it is is remembered: asking it takes as long as a restart.

use super::Environments;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    pub program: PathBuf,
    pub version: String,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    asked: (String, Vec<String>),
    changed: u64,
    python: Python,
}

const OLDEST: (u32, u32) = (3, 11);
const PATIENCE: Duration = Duration::from_secs(20);
const QUESTION: &str = "import sys, os; print(os.path.realpath(sys.executable)); print(*sys.version_info[:3], sep='.')";

impl Environments {
    /// # Errors
    /// When there is none, with what was found instead.
    pub async fn python(&self) -> Result<Python, String> {
        let _turn = self.0.python.lock().await;
        let settings = &self.0.settings;
        let asked = (settings.path.clone(), settings.pythons.clone());
        let place = settings.directory.join("python.json");
        if let Some(python) = remembered(&place, &asked) {
            return Ok(python);
        }
        let python = search(&settings.path, &settings.pythons).await?;
        let remembered = Remembered { asked, changed: changed(&python.program), python };
        let written = fs::create_dir_all(&settings.directory)
            .and_then(|()| fs::write(&place, serde_json::to_vec(&remembered).unwrap_or_default()));
        written.map_err(|error| format!("{} cannot be written: {error}", place.display()))?;
        Ok(remembered.python)
    }
}

fn remembered(place: &Path, asked: &(String, Vec<String>)) -> Option<Python> {
    let remembered: Remembered = serde_json::from_slice(&fs::read(place).ok()?).ok()?;
    let same = remembered.asked == *asked && remembered.changed == changed(&remembered.python.program);
    same.then_some(remembered.python)
}

/// When the program was put there; an upgrade changes it.
fn changed(program: &Path) -> u64 {
    let modified = fs::metadata(program).and_then(|metadata| metadata.modified());
    let since = modified.unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

async fn search(path: &str, candidates: &[String]) -> Result<Python, String> {
    let mut others = Vec::new();
    for candidate in candidates {
        let Some(python) = ask(path, candidate).await else { continue };
        if is_new_enough(&python.version) {
            return Ok(python);
        }
        others.push(format!("{} ({})", python.version, python.program.display()));
    }
    let (major, minor) = OLDEST;
    let found = match others.is_empty() {
        true => "there is none".to_owned(),
        false => format!("there is only {}", others.join(", ")),
    };
    Err(format!(
        "Python {major}.{minor} or newer is needed, and {found}. Install it, for example with `apt install python3 python3-venv`"
    ))
}

async fn ask(path: &str, candidate: &str) -> Option<Python> {
    let program = path.split(':').map(|directory| Path::new(directory).join(candidate)).find(|file| file.is_file())?;
    let mut command = tokio::process::Command::new(program);
    command.args(["-I", "-c", QUESTION]).env_clear().env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (program, version) = text.trim().split_once('\n')?;
    Some(Python { program: program.into(), version: version.into() })
}

fn is_new_enough(version: &str) -> bool {
    numbers(version) >= OLDEST
}

/// The first two of a version.
pub fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').filter_map(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in
            [("3.11.0", true), ("3.9.18", false), ("3.14.2", true), ("2.7.18", false), ("", false)]
        {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
