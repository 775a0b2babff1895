//! The one module that starts git: nothing of the machine's or a user's settings, no hooks but
//! ours, its own home, its own process group.

use crate::error::Error;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use towpath_stdx::process::{self, Output};

/// Limit for everything but transfers.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The home of every git, below the root.
pub(crate) const HOME: &str = ".home";

/// Called by receive-pack for each ref of a push that needs a decision; `TOWPATH_VERDICTS`
/// names a file of `verdict TAB ref TAB message` lines that the server has written. Whether a
/// movement is a fast-forward can only be told here, where the new objects are.
const UPDATE_HOOK: &str = r#"#!/bin/sh
tab=$(printf '\t')
while IFS="$tab" read -r verdict ref message; do
  [ "$ref" = "$1" ] || continue
  case "$verdict" in
    allow) exit 0 ;;
    forward) git merge-base --is-ancestor "$2" "$3" && exit 0 ;;
  esac
  echo "$message" >&2
  exit 1
done < "$TOWPATH_VERDICTS"
echo "towpath: no decision for $1" >&2
exit 1
"#;

/// How git is started for the repositories below one directory.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    root: PathBuf,
}

impl Git {
    /// Makes the directories that git is pointed at. `root` is absolute.
    pub(crate) fn new(root: &Path) -> Result<Self, Error> {
        let own = Self {
            root: root.to_path_buf(),
        };
        for dir in [
            own.home(),
            own.no_hooks(),
            own.guard_hooks(),
            own.scratch(),
            own.trash(),
        ] {
            std::fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
        }
        let hook = own.guard_hooks().join("update");
        let unfinished = own.guard_hooks().join("update.new");
        std::fs::write(&unfinished, UPDATE_HOOK).map_err(Error::file("write", &unfinished))?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&unfinished, executable)
            .map_err(Error::file("write", &unfinished))?;
        std::fs::rename(&unfinished, &hook).map_err(Error::file("write", &hook))?;
        // Indexes and verdicts of a process that is gone.
        for entry in std::fs::read_dir(own.scratch())
            .map_err(Error::file("read", &own.scratch()))?
            .flatten()
        {
            let _ = std::fs::remove_file(entry.path());
        }
        Ok(own)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn home(&self) -> PathBuf {
        self.root.join(HOME)
    }

    fn no_hooks(&self) -> PathBuf {
        self.root.join(".hooks/none")
    }

    /// Hooks that apply verdicts.
    pub(crate) fn guard_hooks(&self) -> PathBuf {
        self.root.join(".hooks/guard")
    }

    /// For files that end with the call that made them.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join(".scratch")
    }

    /// Where deleted repositories go.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join(".trash")
    }

    /// A git command in a repository, without hooks.
    pub(crate) fn command(&self, repository: &Path) -> Command {
        self.with_hooks(repository, &self.no_hooks())
    }

    /// A git command with a directory of hooks of ours.
    pub(crate) fn with_hooks(&self, repository: &Path, hooks: &Path) -> Command {
        let mut command = process::command("git");
        command
            .env("GIT_DIR", repository)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", self.home())
            .current_dir(&self.root)
            .process_group(0);
        command.args([OsStr::new("-c"), &setting("safe.directory", repository)]);
        command.args([OsStr::new("-c"), &setting("core.hooksPath", hooks)]);
        command
    }

    /// Runs to the end; standard output of a success, at most `bytes` of it.
    pub(crate) async fn run(command: Command, bytes: u64) -> io::Result<Output> {
        process::run(command, LIMIT, bytes).await
    }

    /// Runs to the end with standard input.
    pub(crate) async fn feed(
        mut command: Command,
        input: &[u8],
        bytes: usize,
    ) -> io::Result<Output> {
        use tokio::io::AsyncReadExt;
        command.stdin(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that has seen enough closes the pipe; its exit code tells.
                let _ = stdin.write_all(input).await;
            }
        };
        let read = async {
            let mut kept = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(bytes as u64 + 1).read_to_end(&mut kept).await?;
            }
            Ok::<_, io::Error>(kept)
        };
        let words = async {
            let mut kept = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(64 << 10).read_to_end(&mut kept).await;
            }
            kept
        };
        let work = async {
            let ((), stdout, stderr) = tokio::join!(write, read, words);
            let stdout = stdout?;
            if stdout.len() > bytes {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("more than {bytes} bytes"),
                ));
            }
            let status = child.wait().await?;
            Ok(Output {
                code: status.code(),
                stdout,
                stderr,
            })
        };
        match tokio::time::timeout(LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("still running after {LIMIT:?}"),
            )),
        }
    }
}

fn setting(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(name);
    text.push("=");
    text.push(path);
    text
}

/// A child that takes its whole process group with it when dropped: upload-pack has helpers.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        // `id` is absent once the child is reaped; its number may then belong to another.
        let pid = self
            .0
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
