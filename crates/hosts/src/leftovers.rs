//! Processes that an earlier server could not end. What it started itself died with it; what that had started, and
//! does not listen to anybody, did not.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, path::Path};

/// What processes of folders have in their environment, and no others.
const MARK: &str = "INTEGRATION_STATE_DIR=";

/// Ends every process whose state lies in this data directory. Nobody else uses it: none of them is needed any more.
pub fn end(data: &Path) {
    let state = format!("{MARK}{}/", data.join("state").display());
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in numbers.filter_map(Pid::from_raw) {
        // Held first: its number cannot become another's between the look and the signal.
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(state.as_bytes())) {
            tracing::info!("Process {pid} is left of an earlier server and is ended");
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_has_its_state_here_is_ended_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let start =
            |state: &Path| Command::new("sleep").arg("600").env("INTEGRATION_STATE_DIR", state).spawn().unwrap();
        let mut ours = start(&data.path().join("state/crm"));
        let mut other = start(&data.path().join("state-of-another/crm"));
        // Its environment is its own once it is the other program.
        std::iter::repeat_with(|| end(data.path())).find(|()| ours.try_wait().unwrap().is_some());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
