//! Processes that a server did not end. What it started itself dies with it; what that had started, and does not listen to
//! anybody, does not.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, path::Path};

/// What processes of folders have in their environment, and no others.
const MARK: &str = "INTEGRATION_STATE_DIR=";

/// Ends every process whose state lies in this data directory. Nobody else uses it: none of them is needed any more.
pub fn end(data: &Path) {
    end_those_before(data, u64::MAX);
}

/// The same for those that began before a moment.
pub fn end_those_before(data: &Path, moment: u64) {
    let state = format!("{MARK}{}/", data.join("state").display());
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in numbers.filter_map(Pid::from_raw) {
        // Held first: its number cannot become another's between the look and the signal.
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_of_it = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(state.as_bytes()));
        if is_of_it && began(pid).is_some_and(|began| began <= moment) {
            tracing::info!("Process {pid} is left of an earlier server and is ended");
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }
}

/// Now, as the kernel counts when processes began.
pub fn moment() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    (seconds * rustix::param::clock_ticks_per_second() as f64) as u64
}

fn began(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // Its name may have blanks and brackets in it.
    stat.rsplit(") ").next()?.split(' ').nth(19)?.parse().ok()
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
        let before = moment() - 100;
        for _ in 0..50 {
            end_those_before(data.path(), before);
        }
        assert!(ours.try_wait().unwrap().is_none(), "it is of the next server");
        // Its environment is its own once it is the other program.
        std::iter::repeat_with(|| end(data.path())).find(|()| ours.try_wait().unwrap().is_some());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
