//! What keeps integrations apart on this machine.

use super::Finding;
use crate::config::Config;
use std::{fs, sync::Arc};
use tercel_hosts::sandbox::{self, Abilities, Interpreter, Sandbox};

/// Looks from beside the server, which may run.
pub async fn look(config: &Config, runs: bool) -> Vec<Finding> {
    let server = fs::read_to_string(config.data_dir.join("lock")).ok().and_then(|text| text.trim().parse().ok());
    let sandbox = Sandbox::look("/proc/self/exe", &config.data_dir, server.filter(|_| runs));
    let mut findings = judge(sandbox.abilities(), runs);
    findings.extend(python(&sandbox).await);
    findings
}

fn judge(abilities: &Abilities, runs: bool) -> Vec<Finding> {
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
    if runs {
        held.push(match abilities.cgroup {
            true => "memory and processes by cgroup".into(),
            false => "memory and processes by limits of each process".into(),
        });
    }
    findings.insert(0, Finding::ok("isolation", format!("Integrations have {}", held.join(", "))));
    findings
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
        Abilities { landlock, seccomp: true, cgroup: false, users, no_users, ends_with_server: true }
    }

    fn levels(abilities: &Abilities) -> Vec<Level> {
        judge(abilities, true).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn what_does_not_hold_is_said() {
        assert_eq!(levels(&abilities(6, true)), [Level::Ok]);
        assert_eq!(levels(&abilities(6, false)), [Level::Ok]);
        assert_eq!(levels(&abilities(3, true)), [Level::Ok, Level::Warn]);
        assert_eq!(levels(&abilities(0, false)), [Level::Ok, Level::Warn]);
        assert_eq!(levels(&Abilities { seccomp: false, ..abilities(6, true) }), [Level::Ok, Level::Fail]);
        let said = judge(&abilities(6, false), true).remove(0).detail;
        assert_eq!(
            said,
            "Integrations have files by Landlock 6, ports, signals, system calls, the server's user for all \
             (the server is not root), memory and processes by limits of each process"
        );
    }
}
