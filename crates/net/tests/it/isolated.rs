//! Runs a test body in its own network and mount namespace by starting the test binary again.

use std::process::{Command, Output};
use towpath_net::NetConfig;

const INSIDE: &str = "TOWPATH_TEST_INSIDE";

/// `true` inside. Outside: runs the named test inside, fails as it fails, and returns `false`.
pub fn isolated(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        towpath_testkit::skip(&format!("{test} needs root to make a network namespace"));
        return false;
    }
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$@\"";
    let status = Command::new("unshare")
        .args([
            "-n",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(std::env::current_exe().expect("own path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare starts");
    assert!(status.success(), "{test} failed inside its namespace");
    false
}

/// Settings of an instance in a temporary directory.
pub fn config(dir: &tempfile::TempDir, instance: &str) -> NetConfig {
    NetConfig::new(instance, dir.path().join("net"))
}

/// A runtime like the server's.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(future)
}

/// Runs a program.
pub fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Standard output of a program that must succeed.
pub fn text(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program inside a sandbox's namespace.
pub fn inside(netns: &std::path::Path, args: &[&str]) -> Output {
    let namespace = format!("--net={}", netns.display());
    run("nsenter", &[&[namespace.as_str()], args].concat())
}
