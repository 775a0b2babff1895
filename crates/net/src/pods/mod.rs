//! The pod network: a namespace, a veth pair and an address per sandbox, on one bridge.
//!
//! State is the kernel's links and mounts plus one address record per sandbox. Nothing else is
//! kept, so a restarted server finds everything again: `attach` of a known id repairs what is
//! missing and leaves alone what is there.

mod addresses;
pub(crate) mod link;
pub(crate) mod namespace;

use crate::config::NetConfig;
use crate::error::Error;
use crate::{nft, rules, sysctl};
use addresses::Addresses;
use async_trait::async_trait;
use futures::TryStreamExt;
use parking_lot::Mutex;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkAttribute;
use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towpath_kit::traits::{NetworkError, PodAddress, PodNetwork};

/// One instance's pod network.
pub(crate) struct Pods {
    config: NetConfig,
    netns_dir: PathBuf,
    gateway: Ipv4Addr,
    bridge_index: u32,
    mtu: u32,
    handle: Handle,
    addresses: Mutex<Addresses>,
    /// One lock per sandbox that is being worked on: attach and detach of one id take turns,
    /// those of different ids do not wait for each other.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Whether a sandbox id can be a file name.
pub(crate) fn valid_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && !id.starts_with('.')
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Pods {
    /// Makes (or finds again) bridge, routes, kernel settings and the table's frame.
    pub(crate) async fn start(config: NetConfig) -> Result<Self, Error> {
        let bridge = config.bridge();
        let gateway = config.pod_cidr.gateway();
        let netns_dir = config.netns_dir();
        std::fs::create_dir_all(&netns_dir).map_err(Error::file("make", &netns_dir))?;
        let addresses = Addresses::load(&config.address_dir(), config.pod_cidr)?;
        let handle = link::connect()?;
        let mtu = uplink_mtu(&handle).await;
        let prefix = config.pod_cidr.prefix();
        let bridge_index = link::bridge(&handle, &bridge, gateway, prefix, mtu).await?;
        sysctl::acquire(&bridge)?;
        // Pods are routed in and out of the same link; telling them of a shorter way would send
        // their traffic past the translation of service addresses, and would use up what the
        // kernel allows in ICMP errors, so that a refusal would be silence.
        sysctl::write(&format!("net/ipv4/conf/{bridge}/send_redirects"), "0")?;
        // Lets a connection to 127.0.0.1:<node port> leave through the bridge; the table drops
        // what comes in from it for 127.0.0.0/8.
        sysctl::write(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1")?;
        // Connections of the host to ClusterIPs need a route before they are translated.
        link::route(&handle, config.service_cidr, bridge_index, gateway).await?;
        if !nft::exists(&config.table()).await? {
            nft::apply(&config.table(), &rules::frame(&config, None)).await?;
        }
        Ok(Self {
            netns_dir,
            gateway,
            bridge_index,
            mtu,
            handle,
            addresses: Mutex::new(addresses),
            busy: Mutex::default(),
            config,
        })
    }

    async fn exclusive(&self, id: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = self.busy.lock().entry(id.to_string()).or_default().clone();
        lock.lock_owned().await
    }

    fn relax(&self, id: &str, guard: tokio::sync::OwnedMutexGuard<()>) {
        drop(guard);
        let mut busy = self.busy.lock();
        if busy
            .get(id)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            busy.remove(id);
        }
    }

    async fn make(&self, id: &str) -> Result<PodAddress, Error> {
        if !valid_id(id) {
            return Err(Error::Id(id.to_string()));
        }
        let (index, address) = self.addresses.lock().take(id)?;
        let netns = self.netns_dir.join(id);
        let attached = PodAddress {
            ip: IpAddr::V4(address),
            netns: netns.clone(),
        };
        let host = self.config.veth(index);
        if namespace::is_pinned(&netns) {
            let complete = within(netns.clone(), move |handle| async move {
                link::is_complete(&handle, address).await
            });
            if complete.await? && link::index(&self.handle, &host).await?.is_some() {
                return Ok(attached);
            }
        } else {
            namespace::create(netns.clone()).await?;
        }
        let file = File::open(&netns).map_err(Error::file("open", &netns))?;
        link::veth(
            &self.handle,
            &host,
            self.bridge_index,
            file.as_fd(),
            address,
            self.mtu,
        )
        .await?;
        let gateway = self.gateway;
        within(netns, move |handle| async move {
            settings()?;
            link::inside(&handle, address, gateway).await
        })
        .await?;
        Ok(attached)
    }

    async fn unmake(&self, id: &str) -> Result<(), Error> {
        if !valid_id(id) {
            return Err(Error::Id(id.to_string()));
        }
        let known = self.addresses.lock().get(id);
        if let Some((index, _)) = known {
            link::remove(&self.handle, &self.config.veth(index)).await?;
        }
        namespace::remove(&self.netns_dir.join(id))?;
        self.addresses.lock().release(id)
    }
}

// Settings of a sandbox's own namespace; they end with it.
fn settings() -> Result<(), Error> {
    // Non-root servers may listen on 80, and `ping` needs no capability, as users of other
    // container runtimes are used to.
    sysctl::write("net/ipv4/ip_unprivileged_port_start", "0")?;
    sysctl::write("net/ipv4/ping_group_range", "0\t2147483647")?;
    sysctl::write("net/ipv4/conf/eth0/accept_redirects", "0")?;
    // No IPv6 on the pod network: without this every name look-up and start waits for it.
    match sysctl::write("net/ipv6/conf/eth0/disable_ipv6", "1") {
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

// Runs netlink requests inside a sandbox's namespace.
async fn within<T, F, Fut>(netns: PathBuf, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(Handle) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, Error>>,
{
    namespace::inside(netns, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Error::Netlink)?;
        runtime.block_on(async { work(link::connect()?).await })
    })
    .await
}

// Pods must not send larger packets than the way out takes: path discovery is often blocked.
async fn uplink_mtu(handle: &Handle) -> u32 {
    const USUAL: u32 = 1500;
    let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let Some(uplink) = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| name.to_string())
    }) else {
        return USUAL;
    };
    let mut found = handle.link().get().match_name(uplink).execute();
    let Ok(Some(link)) = found.try_next().await else {
        return USUAL;
    };
    let mtu = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
    mtu.filter(|mtu| (576..=9000).contains(mtu))
        .unwrap_or(USUAL)
}

fn offered(error: Error) -> NetworkError {
    match error {
        Error::Exhausted(block) => NetworkError::Exhausted(block),
        other => NetworkError::Kernel {
            what: "pod network".into(),
            cause: other.chain(),
        },
    }
}

#[async_trait]
impl PodNetwork for Pods {
    async fn attach(&self, id: &str) -> Result<PodAddress, NetworkError> {
        let guard = self.exclusive(id).await;
        let result = self.make(id).await;
        self.relax(id, guard);
        result.map_err(offered)
    }

    async fn detach(&self, id: &str) -> Result<(), NetworkError> {
        let guard = self.exclusive(id).await;
        let result = self.unmake(id).await;
        self.relax(id, guard);
        result.map_err(offered)
    }

    fn sandboxes(&self) -> Vec<String> {
        // The address is taken first and given back last.
        self.addresses.lock().ids()
    }

    fn resolv_conf(&self, namespace: &str) -> String {
        let domain = &self.config.cluster_dns_domain;
        let own = match namespace {
            "" => String::new(),
            namespace => format!("{namespace}.svc.{domain} "),
        };
        format!(
            "search {own}svc.{domain} {domain}\nnameserver {}\noptions ndots:5\n",
            self.gateway
        )
    }

    fn gateway(&self) -> IpAddr {
        IpAddr::V4(self.gateway)
    }

    fn netns_dir(&self) -> &Path {
        &self.netns_dir
    }
}
