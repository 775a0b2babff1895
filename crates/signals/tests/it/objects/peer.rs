//! The server: versitygw, whose objects are files.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::folder;

pub(super) struct Peer {
    program: PathBuf,
    address: String,
    dir: tempfile::TempDir,
    running: Option<Child>,
}

impl Peer {
    /// A server with an empty bucket; nothing where there is no such program.
    pub(super) fn start() -> Option<Self> {
        let program = towpath_testkit::peer("s3")?;
        let dir = folder();
        std::fs::create_dir_all(dir.path().join("data/kept")).unwrap();
        std::fs::create_dir(dir.path().join("side")).unwrap();
        let mut peer = Self {
            program,
            address: format!("127.0.0.1:{}", towpath_testkit::free_port()),
            dir,
            running: None,
        };
        assert!(peer.run(), "the server does not start");
        Some(peer)
    }

    #[allow(clippy::disallowed_methods)] // the peer is a program of its own
    pub(super) fn run(&mut self) -> bool {
        let mut child = Command::new(&self.program)
            .arg(&self.address)
            .args([self.dir.path().join("data"), self.dir.path().join("side")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = lines.any(|line| line.is_ok_and(|line| line.starts_with("listens")));
        self.running = Some(child);
        listens
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn again(&mut self) {
        // A connection of somebody else may have its port for a moment.
        super::until("the server has its port again", || self.run());
    }

    /// Objects as the files that they are, in order.
    pub(super) fn objects(&self, below: &str) -> Vec<PathBuf> {
        let mut out = Vec::new();
        walk(&self.dir.path().join("data/kept").join(below), &mut out);
        out.sort();
        out
    }

    /// What is in the server now.
    pub(super) fn keep(&self) -> tempfile::TempDir {
        let to = folder();
        copy(self.dir.path(), to.path());
        to
    }

    /// Puts what was kept of some objects back in place.
    pub(super) fn put_back(&self, kept: &tempfile::TempDir, below: &str) {
        for part in ["data/kept", "side/kept"] {
            let from = kept.path().join(part).join(below);
            let to = self.dir.path().join(part).join(below);
            let _ = std::fs::remove_dir_all(&to);
            std::fs::create_dir_all(&to).unwrap();
            copy(&from, &to);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, out),
            false => out.push(path),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
