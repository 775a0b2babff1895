//! The default system call filter: what ordinary programs need is allowed, the rest answers
//! `EPERM`, `clone3` answers `ENOSYS` so that the C library falls back to `clone`, whose flags
//! can be checked.
//!
//! Two BPF programs, because one has a single answer for what it refuses: the first allows the
//! list, the second turns `clone3` away. Where a program cannot be compiled or loaded, the
//! container does not start.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;

macro_rules! calls {
    ($($name:ident)*) => { [$((stringify!($name), libc::$name)),*] };
}

const ALLOWED: &[(&str, libc::c_long)] = &calls! {
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset
    SYS_chdir SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_clone3
    SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1
    SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
    SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fanotify_mark
    SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_fcntl
    SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat
    SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu SYS_getcwd
    SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername
    SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid
    SYS_getrlimit SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt
    SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1
    SYS_inotify_rm_watch SYS_io_cancel SYS_ioctl SYS_io_destroy SYS_io_getevents
    SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill SYS_landlock_add_rule
    SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen
    SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier
    SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2
    SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
    SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv
    SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at SYS_nanosleep
    SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv
    SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev
    SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages
    SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr
    SYS_sched_getparam SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
    SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget
    SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid
    SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid
    SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_set_robust_list SYS_setsid
    SYS_setsockopt SYS_set_tid_address SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt
    SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socket SYS_socketpair SYS_splice
    SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee
    SYS_tgkill SYS_timer_create SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime
    SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times
    SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4
    SYS_waitid SYS_write SYS_writev
};

// Numbers the libc crate does not name.
#[cfg(target_arch = "x86_64")]
const ALLOWED_UNNAMED: &[(&str, libc::c_long)] =
    &[("SYS_cachestat", 451), ("SYS_io_pgetevents", 333)];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_UNNAMED: &[(&str, libc::c_long)] =
    &[("SYS_cachestat", 451), ("SYS_io_pgetevents", 292)];

#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[(&str, libc::c_long)] = &calls! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
    SYS_epoll_ctl_old SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat
    SYS_getdents SYS_getpgrp SYS_get_thread_area SYS_inotify_init SYS_lchown SYS_link SYS_lstat
    SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink
    SYS_rename SYS_rmdir SYS_select SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink
    SYS_time SYS_unlink SYS_ustat SYS_utime SYS_utimes SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[(&str, libc::c_long)] = &[];

// With CAP_SYS_ADMIN a container may mount and make namespaces; with CAP_SYS_CHROOT it may
// change its root; and so on. Without the capability the kernel refuses anyway, so the filter
// allows these only where the capability is held and the surface is wanted.
const WITH_CAPABILITY: &[(&str, &[(&str, libc::c_long)])] = &[
    (
        "CAP_SYS_ADMIN",
        &calls! {
            SYS_bpf SYS_clone SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
            SYS_lookup_dcookie SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree
            SYS_perf_event_open SYS_pivot_root SYS_quotactl SYS_quotactl_fd SYS_setdomainname
            SYS_sethostname SYS_setns SYS_syslog SYS_umount2 SYS_unshare
        },
    ),
    ("CAP_SYS_CHROOT", &calls! { SYS_chroot }),
    ("CAP_SYS_BOOT", &calls! { SYS_reboot }),
    (
        "CAP_SYS_MODULE",
        &calls! { SYS_delete_module SYS_finit_module SYS_init_module },
    ),
    ("CAP_SYS_PACCT", &calls! { SYS_acct }),
    (
        "CAP_SYS_PTRACE",
        &calls! { SYS_kcmp SYS_pidfd_getfd SYS_process_madvise },
    ),
    (
        "CAP_SYS_TIME",
        &calls! { SYS_clock_settime SYS_settimeofday },
    ),
    ("CAP_SYS_TTY_CONFIG", &calls! { SYS_vhangup }),
    (
        "CAP_SYS_NICE",
        &calls! { SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node },
    ),
    ("CAP_SYSLOG", &calls! { SYS_syslog }),
    ("CAP_DAC_READ_SEARCH", &calls! { SYS_open_by_handle_at }),
    ("CAP_BPF", &calls! { SYS_bpf }),
    ("CAP_PERFMON", &calls! { SYS_perf_event_open }),
];

// Flags of clone that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
// Personalities that change nothing dangerous: Linux, UNAME26, 32 bit, both, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

fn names(capabilities: &[String]) -> Vec<(&'static str, libc::c_long)> {
    let held = |capability: &str| capabilities.iter().any(|have| have == capability);
    let extra = WITH_CAPABILITY
        .iter()
        .filter(|(capability, _)| held(capability));
    let mut all: Vec<_> = ALLOWED
        .iter()
        .chain(ALLOWED_UNNAMED)
        .chain(ALLOWED_HERE)
        .copied()
        .collect();
    all.extend(extra.flat_map(|(_, calls)| calls.iter().copied()));
    all
}

/// The filter for a process with these capabilities, to be loaded in order.
pub(crate) fn compile(capabilities: &[String]) -> io::Result<Vec<BpfProgram>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(other)?;
    let allowed = names(capabilities);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = allowed
        .iter()
        .map(|(_, number)| (*number, Vec::new()))
        .collect();
    let condition = |argument, operator, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
        SeccompRule::new(vec![condition.map_err(other)?]).map_err(other)
    };
    rules.entry(libc::SYS_clone).or_insert(vec![condition(
        0,
        SeccompCmpOp::MaskedEq(CLONE_NAMESPACES),
        0,
    )?]);
    let known: io::Result<Vec<_>> = PERSONALITIES
        .iter()
        .map(|value| condition(0, SeccompCmpOp::Eq, *value))
        .collect();
    rules.insert(libc::SYS_personality, known?);
    let allow = program(rules, libc::EPERM, true, arch)?;
    let refuse = program(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        libc::ENOSYS,
        false,
        arch,
    )?;
    Ok(vec![allow, refuse])
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    listed_allowed: bool,
    arch: TargetArch,
) -> io::Result<BpfProgram> {
    let refuse = SeccompAction::Errno(errno as u32);
    let (unlisted, listed) = if listed_allowed {
        (refuse, SeccompAction::Allow)
    } else {
        (SeccompAction::Allow, refuse)
    };
    SeccompFilter::new(rules, unlisted, listed, arch)
        .map_err(other)?
        .try_into()
        .map_err(other)
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Loads the programs into the calling thread for good. Needs no-new-privileges or
/// `CAP_SYS_ADMIN`; unlike `seccompiler::apply_filter` it does not set the former, which would
/// break programs with the set-user-id bit.
pub(crate) fn load(programs: &[BpfProgram]) -> io::Result<()> {
    for program in programs {
        let length = u16::try_from(program.len()).map_err(other)?;
        let code = libc::sock_fprog {
            len: length,
            filter: program.as_ptr() as *mut libc::sock_filter,
        };
        // SAFETY: `sock_filter` of seccompiler and libc share the kernel's layout (`repr(C)`,
        // 8 bytes); the kernel copies the program during the call and keeps no pointer.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const code,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The same profile for a runtime program, without the additions for capabilities.
pub(crate) fn as_oci() -> Value {
    let plain: Vec<&str> = ALLOWED
        .iter()
        .chain(ALLOWED_UNNAMED)
        .chain(ALLOWED_HERE)
        .map(|(name, _)| name.trim_start_matches("SYS_"))
        .filter(|name| *name != "clone3")
        .collect();
    let personality = |value: &u64| {
        json!({
            "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }],
        })
    };
    let mut calls = vec![
        json!({ "names": plain, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }),
        json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{
            "index": 0, "value": CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ",
        }]}),
    ];
    calls.extend(PERSONALITIES.iter().map(personality));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::EPERM, "syscalls": calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiles_for_every_set_of_capabilities() {
        assert_eq!(compile(&[]).expect("compile").len(), 2);
        let all: Vec<String> = WITH_CAPABILITY
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        let (few, many) = (
            compile(&[]).expect("compile"),
            compile(&all).expect("compile"),
        );
        assert!(many[0].len() > few[0].len());
    }

    #[test]
    fn dangerous_calls_are_not_listed() {
        let names: Vec<_> = names(&[]).into_iter().map(|(name, _)| name).collect();
        for call in [
            "SYS_mount",
            "SYS_bpf",
            "SYS_unshare",
            "SYS_keyctl",
            "SYS_reboot",
            "SYS_setns",
            "SYS_io_uring_setup",
        ] {
            assert!(!names.contains(&call), "{call}");
        }
    }
}
