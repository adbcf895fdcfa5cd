//! What keeps integrations apart on this machine.

use super::Finding;
use crate::config::Config;
use std::{fs, sync::Arc};
use tercel_hosts::sandbox::{self, Abilities, Interpreter, Sandbox};

/// Looks from beside the server, which may run.
pub async fn look(config: &Config, runs: bool) -> Vec<Finding> {
    let server = fs::read_to_string(config.data_dir.join("lock")).ok().and_then(|text| text.trim().parse().ok());
    let sandbox = Sandbox::look("/proc/self/exe", &config.data_dir, server.filter(|_| runs));
    let mut findings = judge(sandbox.abilities(), runs, rustix::process::geteuid().is_root());
    findings.extend(python(&sandbox).await);
    findings
}

fn judge(abilities: &Abilities, runs: bool, is_root: bool) -> Vec<Finding> {
    let mut held = Vec::new();
    let mut findings = Vec::new();
    match abilities.landlock {
        0 => findings.push(match abilities.users {
            true => Finding::warn(
                "isolation",
                "Only their users keep integrations from each other's files: this kernel has no Landlock",
                "Linux 6.12 or later with Landlock among its security modules (lsm=landlock,…)",
            ),
            false => Finding::warn(
                "isolation",
                "Nothing keeps integrations from the server's files: this kernel has no Landlock, and the server is not root",
                "Linux 6.12 or later with Landlock (lsm=landlock,…), or a server that is root",
            ),
        }),
        version => {
            held.push(format!("files by Landlock {version}"));
            if abilities.confines_ports() {
                held.push("ports".into());
            } else {
                findings.push(Finding::warn(
                    "isolation",
                    "Integrations whose network is closed reach every TCP port: this kernel's Landlock knows no ports",
                    "Linux 6.7 or later",
                ));
            }
            if abilities.confines_signals() {
                held.push("signals".into());
            }
        }
    }
    match abilities.seccomp {
        true => held.push("system calls".into()),
        false => findings.push(Finding::fail(
            "isolation",
            "Nothing that runs apart can be started: this kernel has no seccomp filters",
            "A kernel with CONFIG_SECCOMP_FILTER",
        )),
    }
    held.push(match (&abilities.no_users, abilities.users) {
        (_, true) => "a user for each".into(),
        (why, false) => format!("the server's user for all ({})", why.as_deref().unwrap_or("it cannot be changed")),
    });
    findings.insert(0, Finding::ok("isolation", format!("Integrations have {}", held.join(", "))));
    findings.push(limits(abilities, runs, is_root));
    findings
}

/// What holds for those who take too much.
fn limits(abilities: &Abilities, runs: bool, is_root: bool) -> Finding {
    const EACH: &str = "open files and the size of files by limits of each process";
    if abilities.cgroup {
        let detail = format!("Limited are memory and processes of all that an integration runs by cgroup; {EACH}");
        return Finding::ok("isolation", detail);
    }
    let why = match (&abilities.no_cgroup, runs) {
        (Some(why), true) => format!("not of all together: {why}"),
        _ => "of all together where the server has a cgroup".into(),
    };
    match abilities.users || !is_root {
        true => {
            let whose = if abilities.users { "of the integration's user" } else { "of the server's user" };
            Finding::ok("isolation", format!("Limited are memory of each process, processes {whose}, {EACH} ({why})"))
        }
        // The kernel counts processes for everybody but root.
        false => Finding::warn(
            "isolation",
            format!("Limited are memory of each process, {EACH}; processes are not, because all are root's ({why})"),
            "Give the server a cgroup (Delegate=memory pids), or let integrations have users of their own",
        ),
    }
}

async fn python(sandbox: &Arc<Sandbox>) -> Option<Finding> {
    let Ok(found) = sandbox::python(sandbox, "").await else { return None };
    let Interpreter { program, version: (major, minor, patch), for_users, .. } = found;
    let shown = format!("Python {major}.{minor}.{patch} at {}", program.display());
    Some(match for_users || !sandbox.abilities().users {
        true => Finding::ok("python", shown),
        false => Finding::warn(
            "python",
            format!("{shown} cannot be run by the users of integrations: they keep the server's"),
            "Install a Python for all users, for example the package python3",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    fn abilities(landlock: u32, users: bool) -> Abilities {
        let no_users = (!users).then(|| "the server is not root".to_owned());
        let no_cgroup = Some("no cgroup of version 2 is mounted".to_owned());
        Abilities { landlock, seccomp: true, cgroup: false, no_cgroup, users, no_users, ends_with_server: true }
    }

    fn levels(abilities: &Abilities) -> Vec<Level> {
        judge(abilities, true, false).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn what_does_not_hold_is_said() {
        assert_eq!(levels(&abilities(6, true)), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&abilities(6, false)), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&abilities(3, true)), [Level::Ok, Level::Warn, Level::Ok]);
        assert_eq!(levels(&abilities(0, false)), [Level::Ok, Level::Warn, Level::Ok]);
        assert_eq!(levels(&Abilities { seccomp: false, ..abilities(6, true) }), [Level::Ok, Level::Fail, Level::Ok]);
        let said = judge(&abilities(6, false), true, false).remove(0).detail;
        assert_eq!(
            said,
            "Integrations have files by Landlock 6, ports, signals, system calls, the server's user for all \
             (the server is not root)"
        );
    }

    #[test]
    fn which_limits_hold_is_said_with_why_others_do_not() {
        let said = |abilities: &Abilities, runs, is_root| {
            let finding = limits(abilities, runs, is_root);
            (finding.level, finding.detail)
        };
        let (level, detail) = said(&abilities(6, true), true, true);
        assert_eq!(level, Level::Ok);
        assert!(detail.contains("not of all together: no cgroup of version 2 is mounted"), "{detail}");
        assert_eq!(said(&abilities(6, false), true, true).0, Level::Warn, "nothing limits root's processes");
        assert_eq!(said(&abilities(6, false), true, false).0, Level::Ok);
        assert!(said(&abilities(6, true), false, true).1.contains("where the server has a cgroup"));
        let grouped = Abilities { cgroup: true, no_cgroup: None, ..abilities(6, false) };
        assert!(
            said(&grouped, true, true)
                .1
                .starts_with("Limited are memory and processes of all that an integration runs by cgroup")
        );
    }
}
