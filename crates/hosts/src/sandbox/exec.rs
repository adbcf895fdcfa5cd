//! The other side: a process that confines itself and becomes the program it was started for.

use super::{Identity, Limits, cgroup, files, order::Order, system_calls};
use anyhow::{Context, Result, ensure};
use rustix::{
    fs::Mode,
    process::{
        Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setpriority_process, setrlimit,
        setsid, umask,
    },
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};
use std::{fs, os::unix::fs::MetadataExt, os::unix::process::CommandExt, process::Command};

/// What a shell answers for a program that it cannot start.
pub const FAILED: u8 = 126;

/// Does not return when it succeeds.
pub fn exec(descriptor: &str) -> anyhow::Error {
    match confined(descriptor) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn confined(descriptor: &str) -> Result<std::convert::Infallible> {
    let descriptor = descriptor.parse().context("This command is the server's own and is not for people")?;
    let order = Order::read(descriptor)?;
    let policy = &order.policy;
    close_all_but(&order.descriptors)?;
    // A session of its own: no terminal, and a group that can be ended as one.
    let _ = setsid();
    if let Some(group) = &order.group {
        cgroup::join(group)?;
    }
    let files = files::rules(policy)?;
    // The files of `/proc` show whose they are, before this is somebody else.
    limit(&policy.limits, policy.identity)?;
    match policy.identity {
        Some(identity) => become_another(identity)?,
        None => drop_capabilities()?,
    }
    // After the change of the user, which takes it back.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
    ensure!(parent == order.parent, "The server that wanted it is gone");
    umask(Mode::from_raw_mode(0o077));
    std::env::set_current_dir(&order.directory)
        .with_context(|| format!("`{}` cannot be started in {}", order.program, order.directory.display()))?;
    set_no_new_privs(true)?;
    files::restrict(files)?;
    system_calls::restrict(&policy.network)?;
    let error = Command::new(&order.program).args(&order.arguments).env_clear().envs(&order.environment).exec();
    Err(error).with_context(|| format!("`{}` cannot be started", order.program))
}

/// Whatever was open where this was started is nobody's business here.
pub(crate) fn close_all_but(kept: &[i32]) -> Result<()> {
    let open = fs::read_dir("/proc/self/fd").context("/proc/self/fd cannot be read: is /proc mounted?")?;
    let open: Vec<i32> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && !kept.contains(descriptor)) {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

fn limit(limits: &Limits, identity: Option<Identity>) -> Result<()> {
    let uid = identity.map_or_else(|| rustix::process::getuid().as_raw(), |identity| identity.uid);
    let processes = threads_of(uid) + limits.processes;
    for (name, resource, most) in [
        ("memory", Resource::Data, limits.memory),
        ("processes", Resource::Nproc, processes),
        ("open files", Resource::Nofile, limits.open_files),
        ("file size", Resource::Fsize, limits.file_size),
        ("core", Resource::Core, 0),
    ] {
        // Nobody but root can have more than the server itself has.
        let most = getrlimit(resource).maximum.map_or(most, |own| own.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .with_context(|| format!("Its {name} cannot be limited to {most}"))?;
    }
    let nice = i32::from(limits.nice.min(19));
    if rustix::process::getpriority_process(None)? < nice {
        setpriority_process(None, nice).context("It cannot step back behind others")?;
    }
    Ok(())
}

/// The limit counts all that a user runs, whoever started it.
fn threads_of(uid: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            let tasks = fs::metadata(entry.path().join("task")).ok()?;
            (tasks.uid() == uid).then(|| tasks.nlink().saturating_sub(2))
        })
        .sum()
}

fn become_another(identity: Identity) -> Result<()> {
    let (uid, gid) = (rustix::thread::Uid::from_raw(identity.uid), rustix::thread::Gid::from_raw(identity.gid));
    set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| {
            drop_bounding_set();
            set_thread_res_uid(uid, uid, uid)
        })
        .with_context(|| format!("It cannot become the user {}", identity.uid))
}

/// Who keeps root's number keeps none of its rights.
fn drop_capabilities() -> Result<()> {
    // Who has none may be forbidden even to say so.
    if capabilities(None).is_ok_and(|own| own.permitted.is_empty()) {
        return Ok(());
    }
    drop_bounding_set();
    let _ = clear_ambient_capability_set();
    let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    let _ = set_capabilities_secure_bits(bits);
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .context("The rights of root cannot be given up")
}

/// Refused to all but root, who alone needs it.
fn drop_bounding_set() {
    for capability in CapabilitySet::all() {
        let _ = remove_capability_from_bounding_set(capability);
    }
}
