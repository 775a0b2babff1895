//! What this machine lacks for the network, found out by trying it in a namespace that is
//! thrown away, so that the answer is the kernel's and nothing is changed.

use crate::config::NetConfig;
use crate::pods::link;
use crate::{nft, rules, sysctl};
use nix::sched::{CloneFlags, unshare};
use std::net::Ipv4Addr;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What: `nftables with NAT`, …
    pub what: String,
    /// Why the network needs it, and what was tried.
    pub reason: String,
    /// What makes it right.
    pub fix: String,
}

impl Problem {
    fn new(what: &str, reason: impl Into<String>, fix: &str) -> Self {
        Self {
            what: what.into(),
            reason: reason.into(),
            fix: fix.into(),
        }
    }
}

/// Everything that is missing; empty where the network can be set up. Blocks for some
/// milliseconds.
pub fn preflight() -> Vec<Problem> {
    if !nix::unistd::geteuid().is_root() {
        let reason = "links, routes and network namespaces can only be made by root";
        return vec![Problem::new("root", reason, "start Towpath as root")];
    }
    let mut problems = Vec::new();
    if towpath_stdx::process::find("nft").is_none() {
        problems.push(Problem::new(
            "program nft",
            "service addresses are translated by nftables, which is changed through nft",
            "apt-get install nftables",
        ));
    }
    let tried = std::thread::Builder::new()
        .name("net preflight".into())
        .spawn(attempt);
    match tried.map(std::thread::JoinHandle::join) {
        Ok(Ok(found)) => problems.extend(found),
        _ => problems.push(Problem::new(
            "threads",
            "no thread could be started to try the kernel's network features",
            "raise the limit on processes",
        )),
    }
    problems
}

fn attempt() -> Vec<Problem> {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        let reason = format!("each pod gets its own; making one failed: {error}");
        let fix = "use a kernel with CONFIG_NET_NS, and do not run inside a restricted container";
        return vec![Problem::new("network namespaces", reason, fix)];
    }
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(features()),
        Err(error) => vec![Problem::new(
            "async runtime",
            error.to_string(),
            "raise the limit on open files",
        )],
    }
}

async fn features() -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut config = NetConfig::new("test", "/nonexistent");
    config.instance = "pre".into();
    let bridge = config.bridge();
    let made = async {
        let handle = link::connect()?;
        let gateway = config.pod_cidr.gateway();
        let index = link::bridge(&handle, &bridge, gateway, config.pod_cidr.prefix(), 1500).await?;
        Ok::<_, crate::Error>((handle, index))
    };
    match made.await {
        Ok((handle, index)) => {
            let own = std::fs::File::open("/proc/thread-self/ns/net");
            if let Ok(own) = own {
                use std::os::fd::AsFd;
                let address = Ipv4Addr::new(10, 244, 0, 2);
                let host = config.veth(2);
                let pair = link::veth(&handle, &host, index, own.as_fd(), address, 1500);
                if let Err(error) = pair.await {
                    problems.push(Problem::new(
                        "veth links",
                        format!(
                            "each pod is wired with a pair; making one failed: {}",
                            error.chain()
                        ),
                        "load the module veth (CONFIG_VETH)",
                    ));
                }
            }
        }
        Err(error) => problems.push(Problem::new(
            "bridge links",
            format!(
                "pods are joined by a bridge; making one failed: {}",
                error.chain()
            ),
            "load the module bridge (CONFIG_BRIDGE)",
        )),
    }
    if let Err(error) = sysctl::write("net/ipv4/ip_forward", "1") {
        problems.push(Problem::new(
            "writable /proc/sys/net",
            format!(
                "the host forwards between pods; turning it on failed: {}",
                error.chain()
            ),
            "mount /proc/sys writable",
        ));
    }
    if towpath_stdx::process::find("nft").is_some() {
        let wanted = rules::example();
        let script = rules::replace(&config, None, &wanted);
        if let Err(error) = nft::apply(&config.table(), &script).await {
            problems.push(Problem::new(
                "nftables with NAT",
                format!("service addresses are translated; a trial table was refused: {}", error.chain()),
                "use a kernel with CONFIG_NF_TABLES_IPV4, NFT_NAT, NFT_MASQ, NFT_CT, NFT_NUMGEN, NFT_HASH, NFT_FIB_IPV4, NFT_REJECT_IPV4",
            ));
        }
    }
    problems
}
