//! Where folders of integrations are looked for.

use super::Environment;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Folders {
    /// `INTEGRATION_DIRS`, in order.
    pub directories: Vec<PathBuf>,
    /// `TOOL_DIRS`: bare tool files.
    pub tools: Vec<PathBuf>,
    /// Where bots write.
    pub workspace: PathBuf,
    /// Where connection files of connector classes lie.
    pub config: PathBuf,
    pub trust: WorkspaceTrust,
    /// Where programs are found.
    pub path: String,
    /// What commands make once and can make again, when no server keeps it.
    pub cache: PathBuf,
}

/// When what bots wrote may run. The sandbox is on either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceTrust {
    /// An administrator approves each state of a folder.
    Approve,
    Automatic,
}

impl Folders {
    pub fn from(env: &Environment, data: &Path) -> Result<Self> {
        let home = env.get("HOME").map(PathBuf::from);
        let one = |name: &str| env.get(name).map(|text| expanded(text.trim(), home.as_deref()));
        let list = |name: &str| {
            let text = env.get(name).unwrap_or_default();
            let parts = text.split(':').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| expanded(part, home.as_deref())).collect()
        };
        Ok(Self {
            directories: list("INTEGRATION_DIRS"),
            tools: list("TOOL_DIRS"),
            workspace: one("WORKSPACE_DIR").unwrap_or_else(|| data.join("workspace")),
            config: one("TERCEL_CONFIG_DIR").unwrap_or_else(|| "config".into()),
            trust: match env.get("TERCEL_WORKSPACE_TRUST").unwrap_or("approve").trim() {
                "approve" => WorkspaceTrust::Approve,
                "automatic" => WorkspaceTrust::Automatic,
                other => bail!("TERCEL_WORKSPACE_TRUST is `{other}`; it is approve or automatic"),
            },
            path: env.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin").to_owned(),
            cache: home.unwrap_or_else(std::env::temp_dir).join(".cache/tercel"),
        })
    }
}

/// `~` is the home of who started the server.
fn expanded(text: &str, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_separated_by_colons_and_a_tilde_is_the_home() {
        let mut env = Environment::default();
        env.set("HOME", "/srv/me");
        env.set("INTEGRATION_DIRS", "~/mine: /srv/theirs::~other");
        let folders = Folders::from(&env, Path::new("data")).unwrap();
        assert_eq!(folders.directories, ["/srv/me/mine", "/srv/theirs", "~other"].map(PathBuf::from));
        assert_eq!(folders.workspace, PathBuf::from("data/workspace"));
        env.set("TERCEL_WORKSPACE_TRUST", "always");
        assert!(Folders::from(&env, Path::new("data")).unwrap_err().to_string().contains("approve or automatic"));
    }
}
