//! SIGKILL in the middle of writing: what was acknowledged is there, nothing else is.

use crate::support::{Dice, RESOURCE, delete, open, put, value};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use towpath_store::{Class, Expect, Txn};

const DIRECTORY: &str = "TOWPATH_STORE_KILL_DIR";
const CLIENTS: usize = 8;

/// What the killed process does: each client counts its own key up, deleting it now and then,
/// and says so before and after each write.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = open(Path::new(&dir));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    };
    runtime.block_on(async {
        let clients = (0..CLIENTS).map(|client| {
            let store = store.clone();
            async move {
                let key = format!("/c{client}");
                let start = store.snapshot().get(RESOURCE, &key).map_or(0, |rec| {
                    value(&rec.json()).1.parse::<u64>().expect("number")
                });
                for number in start + 1.. {
                    let (op, what) = match number % 10 {
                        9 => (delete(&key, Expect::any()), "gone".to_string()),
                        _ => (
                            put(&key, &number.to_string(), Expect::any()),
                            number.to_string(),
                        ),
                    };
                    say(format!("\ntry {client} {what}\n"));
                    let class = if client == 0 {
                        Class::Relaxed
                    } else {
                        Class::Normal
                    };
                    let done = store
                        .commit(Txn {
                            ops: vec![op],
                            class,
                        })
                        .await
                        .expect("commit");
                    say(format!("\nack {client} {what} {}\n", done.revision));
                }
            }
        });
        futures::future::join_all(clients).await;
    });
}

#[derive(Default)]
struct Seen {
    tried: BTreeMap<usize, String>,
    acked: BTreeMap<usize, String>,
    revision: u64,
}

async fn run_and_kill(dir: &Path, after: Duration) -> Seen {
    let program = std::env::current_exe().expect("own program");
    let mut command = towpath_stdx::process::command(program);
    command
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir);
    let mut child = command.spawn().expect("start");
    let stdout = child.stdout.take().expect("output");
    let mut lines = BufReader::new(stdout).lines();
    let mut seen = Seen::default();
    let kill = tokio::time::sleep(after);
    tokio::pin!(kill);
    let mut killed = false;
    loop {
        tokio::select! {
            () = &mut kill, if !killed => {
                child.start_kill().expect("kill");
                killed = true;
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { break };
                let words: Vec<&str> = line.split(' ').collect();
                match words.as_slice() {
                    ["try", client, what] => {
                        seen.tried.insert(client.parse().expect("client"), (*what).to_string());
                    }
                    ["ack", client, what, revision] => {
                        seen.acked.insert(client.parse().expect("client"), (*what).to_string());
                        seen.revision = seen.revision.max(revision.parse().expect("revision"));
                    }
                    _ => {}
                }
            }
        }
    }
    let _ = child.wait().await;
    seen
}

#[test]
fn twenty_five_kills_lose_nothing_acknowledged() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let dir = tempfile::tempdir().expect("directory");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut acknowledged = 0;
    for round in 0..25 {
        let after = Duration::from_millis(60 + dice.roll(240));
        let seen = runtime.block_on(run_and_kill(dir.path(), after));
        let store = open(dir.path());
        assert!(
            store.revision() >= seen.revision,
            "round {round}: revision went back"
        );
        let state = store.snapshot();
        for (client, acked) in &seen.acked {
            acknowledged += 1;
            let found = state
                .get(RESOURCE, &format!("/c{client}"))
                .map(|rec| value(&rec.json()).1);
            let found = found.unwrap_or_else(|| "gone".into());
            // A write that was under way may have been done; none before it may be missing.
            let tried = &seen.tried[client];
            assert!(
                found == *acked || found == *tried,
                "round {round}: {client} has {found}, acked {acked}, tried {tried}"
            );
        }
        store.close();
    }
    assert!(
        acknowledged > 100,
        "only {acknowledged} acknowledged writes were checked"
    );
}
