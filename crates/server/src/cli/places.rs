//! Where commands keep what they make once: with the server's, else in the home of who runs them.

use crate::config::Config;
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// Environments for Python, and our package for it.
pub fn environments(config: &Config) -> Result<PathBuf> {
    if let Ok(made) = config.data_dir.join("envs").canonicalize() {
        return Ok(made);
    }
    let place = config.folders.cache.join("envs");
    let cannot = || format!("{} cannot be made", place.display());
    fs::create_dir_all(&place).with_context(cannot)?;
    place.canonicalize().with_context(cannot)
}
