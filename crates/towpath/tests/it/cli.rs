//! The command line as a user meets it: exit codes, errors, two instances, crashes.

use crate::harness::{Server, able};

#[test]
fn an_unreachable_server_is_said_with_its_exit_code() {
    if !able(None) {
        return;
    }
    let dir = std::env::temp_dir().join(format!("towpath-none-{}", std::process::id()));
    #[allow(clippy::disallowed_methods)]
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_towpath"));
    let output = command
        .args(["status", "--data-dir"])
        .arg(&dir)
        .output()
        .expect("start");
    assert_eq!(output.status.code(), Some(9));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("next   towpath up"), "{words}");
}

#[test]
fn a_second_up_finds_the_first_and_two_instances_run_side_by_side() {
    if !able(None) {
        return;
    }
    let (one, two) = (Server::start(), Server::start());
    assert!(one.ok(&["up"]).contains("already runs"));
    assert_ne!(one.url, two.url);
    one.ok(&["repo", "create", "demo/only-here"]);
    assert!(one.ok(&["repo", "list", "-q"]).contains("only-here"));
    assert!(!two.ok(&["repo", "list", "-q"]).contains("only-here"));
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    for round in 0..5 {
        server.ok(&["repo", "create", &format!("demo/repo-{round}")]);
        server.kill_and_restart();
    }
    let names = server.ok(&["repo", "list", "-q"]);
    for round in 0..5 {
        assert!(names.contains(&format!("repo-{round}")), "{names}");
    }
}

#[test]
fn unknown_things_have_their_exit_code() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    assert_eq!(
        server.run(&["promote", "abcdef12", "prd"]).status.code(),
        Some(6)
    );
    assert_eq!(server.run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(server.run(&["version"]).status.code(), Some(0));
}
