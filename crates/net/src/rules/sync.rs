//! Keeps the kernel's table equal to the model: woken by every change, changes that arrive
//! while a script runs are taken together by the next.

use super::{Listener, Wanted, plan, replace, stale_udp};
use crate::config::NetConfig;
use crate::nft;
use crate::services::Shared;
use std::time::Duration;
use towpath_daemon::ServiceContext;
use towpath_stdx::process;

const LIMIT: Duration = Duration::from_secs(5);

/// Runs until cancelled. The first script replaces the whole table, whatever an earlier process
/// left in it; later ones are differences. A refused difference is followed by a replacement.
pub(crate) async fn run(
    shared: Shared,
    config: NetConfig,
    mut context: ServiceContext,
) -> Result<(), String> {
    let cancel = context.cancel.clone();
    let mut changes = shared.changed.subscribe();
    let mut applied: Option<Wanted> = None;
    let (mut failures, mut never) = (0, true);
    loop {
        changes.mark_unchanged();
        let wanted = shared.model.read().wanted();
        match bring(&shared, &config, applied.take(), &wanted).await {
            Ok(()) => {
                (failures, never) = (0, false);
                applied = Some(wanted);
                context.ready();
            }
            Err(error) => {
                failures += 1;
                if never && failures >= 3 {
                    return Err(error.chain());
                }
                tracing::warn!(error = error.chain(), failures, "service rules not applied");
            }
        }
        let retry = towpath_kit::queue::backoff(failures.max(1));
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(retry), if failures > 0 => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn bring(
    shared: &Shared,
    config: &NetConfig,
    applied: Option<Wanted>,
    wanted: &Wanted,
) -> Result<(), crate::Error> {
    let table = config.table();
    let script = match &applied {
        Some(now) => plan(&table, now, wanted),
        None => replace(
            config,
            shared.dns_port.get().copied().filter(|port| *port != 53),
            wanted,
        ),
    };
    if script.is_empty() {
        return Ok(());
    }
    nft::apply(&table, &script).await?;
    if let Some(now) = &applied {
        for listener in stale_udp(now, wanted) {
            forget(listener).await;
        }
    }
    Ok(())
}

// Through the `conntrack` program, where the machine has it; else the entries time out.
async fn forget(listener: Listener) {
    if process::find("conntrack").is_none() {
        return;
    }
    let mut command = process::command("conntrack");
    command.args(["-D", "-f", "ipv4", "-p", "udp"]);
    match listener {
        Listener::Address(address, _, port) => command.args([
            "--orig-dst",
            &address.to_string(),
            "--orig-port-dst",
            &port.to_string(),
        ]),
        Listener::NodePort(_, port) => command.args(["--orig-port-dst", &port.to_string()]),
    };
    // It ends with 1 where there was nothing to forget.
    if let Err(error) = process::run(command, LIMIT, 64 << 10).await {
        tracing::debug!(%error, "conntrack");
    }
}
