//! What a worker does that does not answer: it is asked for the stacks of its threads.

use super::Supervisor;
use std::{fmt, path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// Once nothing more has come for so long, the dump is complete.
const QUIET: Duration = Duration::from_millis(60);
const LONGEST: Duration = Duration::from_millis(400);

/// The line of the folder that a thread stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Below the folder.
    pub file: String,
    pub line: u32,
    pub function: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}, in {}", self.file, self.line, self.function)
    }
}

/// Asks for a dump and waits a moment for it.
pub async fn dump(supervisor: &Supervisor, ask: impl FnOnce()) -> Option<Place> {
    if !supervisor.spec().dumps {
        return None;
    }
    let log = supervisor.ring();
    let mark = log.mark();
    ask();
    let end = Instant::now() + LONGEST;
    let mut seen = (mark, Instant::now());
    while Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
        let now = log.mark();
        if now != seen.0 {
            seen = (now, Instant::now());
        } else if now != mark && seen.1.elapsed() >= QUIET {
            break;
        }
    }
    place(&log.since(mark), &supervisor.spec().confines.directory)
}

/// The innermost line in the folder's own code, as `faulthandler` writes it: `  File "/…/slow.py", line 3 in wait`.
fn place(lines: &[String], directory: &Path) -> Option<Place> {
    let directory = directory.to_string_lossy();
    lines.iter().find_map(|line| {
        let (file, rest) = line.trim().strip_prefix("File \"")?.split_once("\", line ")?;
        let below = file.strip_prefix(&*directory)?.trim_start_matches('/');
        let (number, function) = rest.split_once(" in ")?;
        let number = number.trim_end_matches(',').parse().ok()?;
        let file =
            below.strip_prefix("integrations/").and_then(|rest| rest.split_once('/')).map_or(below, |(_, file)| file);
        Some(Place { file: file.into(), line: number, function: function.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_line_of_the_folder_is_named() {
        let dump = [
            "Thread 0x00007f0d8c7ff640 (most recent call first):",
            "  File \"/usr/lib/python3.11/threading.py\", line 324 in wait",
            "",
            "Current thread 0x00007f0d9d2f2740 (most recent call first):",
            "  File \"/usr/lib/python3.11/ssl.py\", line 9 in read",
            "  File \"/data/folders/crm/ab12/integrations/crm/tools/slow.py\", line 7 in fetch",
            "  File \"/data/folders/crm/ab12/integrations/crm/tools/slow.py\", line 12 in crm_slow",
        ];
        let dump = dump.map(str::to_owned);
        let expected = Place { file: "tools/slow.py".into(), line: 7, function: "fetch".into() };
        assert_eq!(place(&dump, Path::new("/data/folders/crm/ab12")), Some(expected));
        assert_eq!(place(&dump, Path::new("/data/folders/other/ab12")), None);
    }
}
