//! The second runtime: `crun` or `runc` as a program. What it starts becomes the shim's child
//! when the program ends, because the shim adopts orphans.

use super::Layout;
use super::backend::{Failure, OciRuntime, Started, Stdio};
use super::session;
use crate::oci::{self, Dialect};
use crate::spec::Process;
use crate::user::Ids;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Program {
    path: PathBuf,
    id: String,
}

impl Program {
    pub(super) fn new(path: &Path, id: &str) -> Self {
        hide_unified_hierarchy();
        Self {
            path: path.into(),
            id: id.into(),
        }
    }

    // The shim has one thread and no tokio; the starter in stdx needs both.
    #[allow(clippy::disallowed_methods)]
    fn command(&self, layout: &Layout, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .arg("--root")
            .arg(&layout.state)
            .arg("--log")
            .arg(log(layout))
            .arg(verb);
        command
    }

    fn run(
        &self,
        mut command: Command,
        layout: &Layout,
        stdio: Option<Stdio>,
    ) -> Result<(), Failure> {
        if let Some(stdio) = stdio {
            command
                .stdin(stdio.stdin)
                .stdout(stdio.stdout)
                .stderr(stdio.stderr);
        }
        let _ = std::fs::remove_file(log(layout));
        let name = self.path.display();
        let status = command
            .status()
            .map_err(Failure::what(&format!("run {name}")))?;
        if status.success() {
            return Ok(());
        }
        let words = std::fs::read_to_string(log(layout)).unwrap_or_default();
        let last = words.lines().last().unwrap_or("no message").trim();
        let missing = [
            "executable file",
            "no such file",
            "permission denied",
            "not found",
        ];
        let program = missing
            .iter()
            .any(|sign| last.to_lowercase().contains(sign));
        Err(Failure {
            program,
            message: format!("{name}: {last}"),
        })
    }

    fn pid(&self, file: &Path) -> Result<i32, Failure> {
        let text = std::fs::read_to_string(file).map_err(Failure::what("read process id"))?;
        text.trim()
            .parse()
            .map_err(|_| Failure::new("runtime wrote no process id"))
    }
}

fn log(layout: &Layout) -> PathBuf {
    layout.bundle.join("runtime.log")
}

// crun 1.8 refuses hybrid hosts whose unified hierarchy carries controllers; in the shim's own
// mount namespace it does not see it.
fn hide_unified_hierarchy() {
    use nix::mount::{MntFlags, umount2};
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
    }
}

impl OciRuntime for Program {
    fn start(
        &mut self,
        layout: &Layout,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Started, Failure> {
        refuse_terminal(process)?;
        std::fs::create_dir_all(&layout.state).map_err(Failure::what("make state directory"))?;
        let pid_file = layout.bundle.join("pid");
        let mut create = self.command(layout, "create");
        create
            .arg("--bundle")
            .arg(&layout.bundle)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.id);
        session::with_oom_score(process.oom_score_adj, || {
            self.run(create, layout, Some(stdio))
        })?;
        let mut start = self.command(layout, "start");
        start.arg(&self.id);
        self.run(start, layout, None)?;
        Ok(Started {
            pid: self.pid(&pid_file)?,
            terminal: None::<OwnedFd>,
        })
    }

    fn exec(
        &mut self,
        layout: &Layout,
        process: &Process,
        ids: &Ids,
        stdio: Stdio,
    ) -> Result<Started, Failure> {
        refuse_terminal(process)?;
        let file = layout.bundle.join("process.json");
        let value = oci::process(process, ids, Dialect::Program);
        std::fs::write(&file, value.to_string()).map_err(Failure::what("write process file"))?;
        let pid_file = layout.bundle.join("exec-pid");
        let mut exec = self.command(layout, "exec");
        exec.arg("--detach")
            .arg("--process")
            .arg(&file)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.id);
        session::with_oom_score(process.oom_score_adj, || {
            self.run(exec, layout, Some(stdio))
        })?;
        Ok(Started {
            pid: self.pid(&pid_file)?,
            terminal: None,
        })
    }

    fn dialect(&self) -> Dialect {
        Dialect::Program
    }
}

fn refuse_terminal(process: &Process) -> Result<(), Failure> {
    if process.terminal {
        return Err(Failure::new("terminals need the libcontainer back end"));
    }
    Ok(())
}
