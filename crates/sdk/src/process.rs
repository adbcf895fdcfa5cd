//! A program that an integration wants to have running all the time.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub description: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment names that must have a value before it is started.
    #[serde(default)]
    pub required: Vec<String>,
    /// Files and directories of the folder; when one changes, the process is started anew.
    #[serde(default)]
    pub watch: Vec<String>,
}
