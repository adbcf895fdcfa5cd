//! Which system calls: seccomp. What is refused fails with EPERM, so that a program can say so.
//!
//! The filter sees numbers, not what they point to. So it is the kind of a socket that counts, not its address; and
//! `clone3`, whose flags are behind a pointer, is answered as by a kernel that has not got it: libraries then take `clone`.

use super::Network;
use anyhow::{Context, Result};
use libc::{
    AF_INET, AF_INET6, AF_NETLINK, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, ENOSYS, EPERM, IPPROTO_TCP, MSG_FASTOPEN, NETLINK_ROUTE, SOCK_DGRAM, SOCK_RAW,
    SOCK_STREAM, TIOCLINUX, TIOCSTI,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Looking into other processes, changing the machine, and what is a door into the kernel and needed by no folder.
const NEVER: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

const NAMESPACES: [i32; 7] =
    [CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS];

/// What the kind of a socket is read from; the rest of the number are flags.
const KIND: i32 = 0xf;

pub fn restrict(network: &Network) -> Result<()> {
    for filter in [refused(network)?, unknown()?] {
        seccompiler::apply_filter(&filter).context("Its system calls cannot be confined")?;
    }
    Ok(())
}

fn refused(network: &Network) -> Result<BpfProgram> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, NAMESPACES.map(|flag| rule([flagged(0, flag)])).into());
    // Typing into somebody's terminal.
    rules.insert(libc::SYS_ioctl, [TIOCSTI, TIOCLINUX].map(|request| rule([condition(1, Is::Eq, request)])).into());
    // The limits and the rank of others that have the same user, the server among them.
    rules.insert(libc::SYS_prlimit64, vec![rule([condition(0, Is::Ne, 0)])]);
    rules.insert(libc::SYS_setpriority, vec![rule([condition(1, Is::Ne, 0)])]);
    rules.insert(libc::SYS_socket, sockets(network));
    // A pair of datagram sockets could be turned to an address; streams that are a pair stay one.
    rules.insert(libc::SYS_socketpair, [SOCK_DGRAM, SOCK_RAW].map(|kind| rule([is_kind(kind)])).into());
    if matches!(network, Network::Ports(_)) {
        // Sending that connects by itself asks nobody for the port.
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            rules.insert(call, vec![rule([flagged(flags, MSG_FASTOPEN)])]);
        }
    }
    filter(in_every_form(rules), EPERM)
}

/// Each rule names sockets that are refused.
fn sockets(network: &Network) -> Vec<SeccompRule> {
    let is_not = |index, values: &[i32]| values.iter().map(|value| condition(index, Is::Ne, number(*value))).collect();
    let (domain, protocol) = (0, 2);
    let mut rules: Vec<Vec<SeccompCondition>> = Vec::new();
    let kinds: &[i32] = match network {
        Network::Open => {
            rules.push(is_not(domain, &[AF_INET, AF_INET6, AF_NETLINK]));
            // Of the kernel's own protocols only the one that lists this machine's addresses.
            let kernel = condition(domain, Is::Eq, number(AF_NETLINK));
            rules.push(vec![kernel, condition(protocol, Is::Ne, number(NETLINK_ROUTE))]);
            &[SOCK_STREAM, SOCK_DGRAM, SOCK_RAW]
        }
        Network::Ports(_) => {
            rules.push(is_not(domain, &[AF_INET, AF_INET6]));
            // The ports of other protocols than TCP are asked for by nobody.
            rules.push(is_not(protocol, &[0, IPPROTO_TCP]));
            &[SOCK_STREAM]
        }
    };
    rules.extend((0..=KIND).filter(|kind| !kinds.contains(kind)).map(|kind| vec![is_kind(kind)]));
    rules.into_iter().map(rule).collect()
}

fn unknown() -> Result<BpfProgram> {
    filter(in_every_form([(libc::SYS_clone3, Vec::new())].into()), ENOSYS)
}

/// On x86-64 calls have a second number, and some a third, for programs with short pointers.
fn in_every_form(mut rules: Rules) -> Rules {
    if cfg!(target_arch = "x86_64") {
        const SHORT: i64 = 0x4000_0000;
        rules.extend(rules.clone().into_iter().map(|(call, refused)| (call | SHORT, refused)));
        rules.extend((512..=547).map(|call| (call | SHORT, Vec::new())));
    }
    rules
}

fn filter(rules: Rules, error: i32) -> Result<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into().context("System calls are not confined on this processor")?;
    let error = SeccompAction::Errno(error.cast_unsigned());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, error, machine)?.try_into()?)
}

fn rule(conditions: impl Into<Vec<SeccompCondition>>) -> SeccompRule {
    SeccompRule::new(conditions.into()).expect("no rule here is without a condition")
}

fn condition(index: u8, is: Is, value: u64) -> SeccompCondition {
    SeccompCondition::new(index, Dword, is, value)
        .expect("a system call has six arguments, and all here are among them")
}

fn flagged(index: u8, flag: i32) -> SeccompCondition {
    condition(index, Is::MaskedEq(number(flag)), number(flag))
}

fn is_kind(kind: i32) -> SeccompCondition {
    condition(1, Is::MaskedEq(number(KIND)), number(kind))
}

/// The 32 bits that the kernel looks at.
fn number(value: i32) -> u64 {
    value.cast_unsigned().into()
}

/// Whether the kernel has seccomp filters.
pub fn are_confined() -> bool {
    refused(&Network::Open).is_ok() && std::path::Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}
