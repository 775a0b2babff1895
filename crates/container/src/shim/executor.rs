//! What runs last in a container's own process, between the runtime's set-up and the program:
//! the filter, the capabilities, the search for the program.
//!
//! It tells the shim through a pipe that is closed on execution: its end without a word means
//! that the program runs.

use super::session;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use seccompiler::BpfProgram;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// First byte of a message about a missing or unusable program.
pub(super) const PROGRAM: u8 = b'P';
/// First byte of any other message.
pub(super) const OTHER: u8 = b'O';

/// Our executor.
#[derive(Clone)]
pub(super) struct Exec {
    pub(super) report: Rc<OwnedFd>,
    pub(super) filter: Rc<Vec<BpfProgram>>,
    pub(super) capabilities: Rc<LinuxCapabilities>,
}

impl Exec {
    fn tell(&self, kind: u8, message: &str) {
        tell(self.report.as_fd(), kind, message);
    }
}

fn tell(report: BorrowedFd<'_>, kind: u8, message: &str) {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(message.as_bytes());
    bytes.truncate(4096);
    let _ = rustix::io::write(report, &bytes);
}

impl Executor for Exec {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let program = spec
            .process()
            .as_ref()
            .and_then(|p| p.args().as_ref()?.first().cloned());
        let env = spec
            .process()
            .as_ref()
            .and_then(|p| p.env().clone())
            .unwrap_or_default();
        let path = env
            .iter()
            .rev()
            .find_map(|entry| entry.strip_prefix("PATH="))
            .unwrap_or(DEFAULT_PATH);
        match find(&program.unwrap_or_default(), path) {
            Ok(_) => Ok(()),
            Err(message) => {
                self.tell(PROGRAM, &message);
                Err(ExecutorValidationError::ArgValidationError(message))
            }
        }
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Some(args) = spec.process().as_ref().and_then(|p| p.args().as_ref()) else {
            return Err(ExecutorError::InvalidArg);
        };
        session::reset_signals();
        // Filter first: without no-new-privileges only CAP_SYS_ADMIN may load one.
        if let Err(error) = crate::seccomp::load(&self.filter) {
            self.tell(OTHER, &format!("load system call filter: {error}"));
            exit(126);
        }
        if let Err(error) =
            libcontainer::capabilities::drop_privileges(&self.capabilities, &*create_syscall())
        {
            self.tell(OTHER, &format!("drop capabilities: {error}"));
            exit(126);
        }
        let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.into());
        let error = match find(&args[0], &path) {
            Ok(program) => run(&program, args),
            Err(message) => message,
        };
        self.tell(PROGRAM, &error);
        exit(127);
    }
}

fn run(program: &Path, args: &[String]) -> String {
    let c_string =
        |text: &[u8]| CString::new(text).map_err(|_| "argument holds a zero byte".to_string());
    let path = c_string(program.as_os_str().as_encoded_bytes());
    let args: Result<Vec<CString>, String> =
        args.iter().map(|arg| c_string(arg.as_bytes())).collect();
    match (path, args) {
        (Ok(path), Ok(args)) => match nix::unistd::execv(&path, &args) {
            Ok(never) => match never {},
            Err(errno) => {
                let error = io::Error::from(errno);
                format!("exec {:?}: {error}", program.display().to_string())
            }
        },
        (Err(message), _) | (_, Err(message)) => message,
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends this forked process at once; its memory is a copy of the shim's, whose
    // destructors must not run twice.
    unsafe { libc::_exit(code) }
}

/// Finds a program as the shell would, with the rights of the calling process.
fn find(program: &str, path: &str) -> Result<PathBuf, String> {
    if program.is_empty() {
        return Err("no command given".into());
    }
    let mut refused = None;
    if program.contains('/') {
        match runnable(Path::new(program)) {
            Ok(()) => return Ok(program.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = Some(error),
        }
        return Err(match refused {
            Some(error) => format!("exec {program:?}: {error}"),
            None => format!("exec {program:?}: no such file or directory"),
        });
    }
    for dir in path.split(':') {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(program);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(error),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(error) => format!("exec {program:?}: {error}"),
        None => format!("exec {program:?}: executable file not found in $PATH"),
    })
}

fn runnable(path: &Path) -> io::Result<()> {
    let stat = rustix::fs::stat(path)?;
    let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // Root may run what anyone may run, but not a file nobody may run.
    if !file || stat.st_mode & 0o111 == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "permission denied",
        ));
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ACCESS) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "permission denied",
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_like_a_shell_does() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().to_str().expect("text").to_string();
        let file = |name: &str, mode| {
            std::fs::write(dir.path().join(name), "x").expect("write");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join(name), mode).expect("mode");
        };
        file("owner", 0o700); // no others-execute bit
        file("data", 0o644);
        assert_eq!(find("owner", &path), Ok(dir.path().join("owner")));
        assert!(
            find("data", &path)
                .expect_err("not executable")
                .contains("permission denied")
        );
        assert!(
            find("gone", &path)
                .expect_err("missing")
                .contains("not found in $PATH")
        );
        assert!(
            find(&path, "")
                .expect_err("directory")
                .contains("permission denied")
        );
        assert!(
            find("/no/such", "")
                .expect_err("missing")
                .contains("no such file")
        );
    }
}
