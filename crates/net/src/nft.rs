//! The `nft` program: scripts go in through standard input and take effect as one transaction
//! or not at all.

use crate::error::Error;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use towpath_stdx::process;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs a script against a table of ours.
pub(crate) async fn apply(table: &str, script: &str) -> Result<(), Error> {
    feed(script).await.map_err(|source| Error::Rules {
        table: table.into(),
        source,
    })
}

async fn feed(script: &str) -> io::Result<()> {
    let mut command = process::command("nft");
    command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn()?;
    let work = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A script that is refused half-way closes the pipe; its exit says why.
            let _ = stdin.write_all(script.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("nft: {}", words.trim())))
    };
    match tokio::time::timeout(LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nft: no end in {LIMIT:?}"),
        )),
    }
}

/// Whether the table is there.
pub(crate) async fn exists(table: &str) -> Result<bool, Error> {
    let failed = |source| Error::Rules {
        table: table.into(),
        source,
    };
    let mut command = process::command("nft");
    command.args(["list", "tables", "ip"]);
    let listed = process::run(command, LIMIT, 1 << 20)
        .await
        .and_then(|out| out.success("nft"));
    let text = String::from_utf8_lossy(&listed.map_err(failed)?).into_owned();
    Ok(text
        .lines()
        .any(|line| line.trim() == format!("table ip {table}")))
}

/// Removes the table; one that is not there counts as removed.
pub(crate) async fn remove(table: &str) -> Result<(), Error> {
    // Adding first makes the removal succeed either way, without a look in between.
    apply(
        table,
        &format!("add table ip {table}\ndelete table ip {table}\n"),
    )
    .await
}
