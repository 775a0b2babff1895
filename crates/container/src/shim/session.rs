//! Making the shim a process of its own: session, groups, umask, signals, mount namespace.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

static CHILD_ENDED: AtomicI32 = AtomicI32::new(-1);

/// Detaches the shim from the server: nothing that ends the server's session or group reaches
/// it, orphans of the container become its children, and its mounts are its own.
pub(super) fn detach() -> io::Result<()> {
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::unistd::setgroups(&[])?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::unistd::chdir("/")?;
    for ignored in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
    ] {
        handle(ignored, SigHandler::SigIgn)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    Ok(())
}

/// A pipe that becomes readable whenever a child ended.
pub(super) fn child_events() -> io::Result<OwnedFd> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (read, write) = rustix::pipe::pipe_with(flags)?;
    // Lives as long as the process: the handler may run at any time.
    CHILD_ENDED.store(write.as_raw_fd(), Ordering::SeqCst);
    std::mem::forget(write);
    handle(Signal::SIGCHLD, SigHandler::Handler(on_child))?;
    Ok(read)
}

extern "C" fn on_child(_: libc::c_int) {
    let fd = CHILD_ENDED.load(Ordering::SeqCst);
    // SAFETY: write is async-signal-safe and the descriptor is never closed. A full pipe is
    // fine: the reader already has its wake-up. errno is put back for the interrupted code.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, [0u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

fn handle(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the only handler is `on_child`, which is async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Gives a process about to execute a program the signals it expects: nothing blocked, nothing
/// ignored.
pub(super) fn reset_signals() {
    let _ = SigSet::empty().thread_set_mask();
    // The kernel's own structure, all zero: default action. The C library refuses to touch its
    // internal signals 32 and 33, which an ancestor may have ignored.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the structure has the size the kernel reads; no handler is installed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                8,
            );
        }
    }
}

/// `/dev/null`, above the standard descriptors.
pub(super) fn null() -> io::Result<OwnedFd> {
    let fd = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
}

/// Copies a standard descriptor above 2 and leaves `/dev/null` in its place: descriptors 0 to 2
/// must not be handed to the runtime.
pub(super) fn take_standard(number: i32) -> io::Result<OwnedFd> {
    let null = null()?;
    // SAFETY: the three standard descriptors are open from the start of every process here (the
    // server gives all of them to its shims), and nothing else owns them.
    let standard = unsafe { BorrowedFd::borrow_raw(number) };
    let taken = rustix::io::fcntl_dupfd_cloexec(standard, 3)?;
    // SAFETY: replaces an open standard descriptor by another open descriptor.
    if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(taken)
}

/// Numbers of all open descriptors.
pub(super) fn open_descriptors() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Closes every descriptor that is not listed. Only where all that were opened since the list
/// was made have no owner any more.
pub(super) fn close_all_but(listed: &[i32]) {
    for fd in open_descriptors() {
        if !listed.contains(&fd) {
            // SAFETY: by the caller's promise nothing owns it. One of them is the directory
            // being listed, closed already: that only fails.
            unsafe { libc::close(fd) };
        }
    }
}

pub(super) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// Runs with another out-of-memory score, which children inherit, and takes the shim's own back
/// afterwards. The runtime would write the container's score to the shim and leave it there.
pub(super) fn with_oom_score<T>(score: i32, work: impl FnOnce() -> T) -> T {
    const FILE: &str = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(FILE).unwrap_or_else(|_| "0".into());
    let _ = fs::write(FILE, score.to_string());
    let result = work();
    let _ = fs::write(FILE, own.trim());
    result
}

/// Makes the kernel spare the shim: it is small, and with it the container's end would be lost.
pub(super) fn protect_from_oom() {
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
}
