//! What the server hands to the process that confines itself: written to a sealed-off file without a name, read once.

use super::Policy;
use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, Write},
    os::fd::OwnedFd,
    path::PathBuf,
};

#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    pub policy: Policy,
    /// Descriptors besides 0, 1 and 2 that stay open.
    pub descriptors: Vec<i32>,
    /// The server: when it is gone already, nothing is started.
    pub parent: u32,
    /// The cgroup to join, if there is one.
    pub group: Option<PathBuf>,
}

impl Order {
    /// Its environment has secrets: neither arguments nor a file on a disk may carry it.
    pub fn write(&self) -> Result<OwnedFd> {
        let mut file = File::from(memfd_create("tercel-order", MemfdFlags::CLOEXEC)?);
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.rewind()?;
        Ok(file.into())
    }

    pub fn read(descriptor: i32) -> Result<Self> {
        let path = format!("/proc/self/fd/{descriptor}");
        let file = File::open(&path).with_context(|| format!("{path} cannot be opened: is /proc mounted?"))?;
        serde_json::from_reader(std::io::BufReader::new(file)).context("What shall be started is not written there")
    }
}
