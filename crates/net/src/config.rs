//! What an instance is told, and the names derived from it.
//!
//! Every link, table and record carries the instance's tag, so that instances with different
//! blocks run side by side on one machine and each removes only its own.

use crate::cidr::Cidr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Settings of the network of one instance.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Name of the instance; anything, folded to a tag of six characters.
    pub instance: String,
    /// Directory of this crate alone (`<data>/net`).
    pub data_dir: PathBuf,
    /// Addresses of sandboxes; the first is the gateway's.
    pub pod_cidr: Cidr,
    /// ClusterIPs.
    pub service_cidr: Cidr,
    /// Ports of Services of type NodePort.
    pub node_ports: RangeInclusive<u16>,
    /// Where the HTTP ingress listens; `None` turns it off.
    pub ingress_addr: Option<SocketAddr>,
    /// `cluster.local`.
    pub cluster_dns_domain: String,
}

impl NetConfig {
    /// Usual settings for an instance that keeps its files in `data_dir`.
    pub fn new(instance: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        // The literals are valid blocks.
        let block = |text: &str| text.parse().expect("a literal block parses");
        Self {
            instance: instance.into(),
            data_dir: data_dir.into(),
            pod_cidr: block("10.244.0.0/16"),
            service_cidr: block("10.96.0.0/16"),
            node_ports: 30000..=32767,
            ingress_addr: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            cluster_dns_domain: "cluster.local".into(),
        }
    }

    /// Six characters that stand for the instance in names the kernel bounds to 15 bytes.
    pub fn tag(&self) -> String {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if (1..=6).contains(&self.instance.len()) && self.instance.bytes().all(plain) {
            return self.instance.clone();
        }
        // FNV-1a: only has to tell the instances of one machine apart.
        let hash = self
            .instance
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        format!("{:06x}", (hash ^ (hash >> 24) ^ (hash >> 48)) & 0xff_ffff)
    }

    /// Name of the bridge.
    pub fn bridge(&self) -> String {
        format!("towp-{}", self.tag())
    }

    /// Name of the host's end of the veth pair of address number `index`.
    pub fn veth(&self, index: u32) -> String {
        format!("tp{}-{index:x}", self.tag())
    }

    /// What the names of all such ends start with.
    pub fn veth_prefix(&self) -> String {
        format!("tp{}-", self.tag())
    }

    /// Name of the nftables table (family `ip`).
    pub fn table(&self) -> String {
        format!("towpath_{}", self.tag())
    }

    /// Directory of the namespace files.
    pub fn netns_dir(&self) -> PathBuf {
        self.data_dir.join("netns")
    }

    /// Directory of the address records.
    pub fn address_dir(&self) -> PathBuf {
        self.data_dir.join("addresses")
    }

    /// ClusterIP of the DNS service: number ten of the block, as everyone expects.
    pub fn dns_cluster_ip(&self) -> std::net::Ipv4Addr {
        self.service_cidr
            .host(10)
            .unwrap_or_else(|| self.service_cidr.gateway())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let long = NetConfig::new("/var/lib/towpath-one", "/nowhere");
        let other = NetConfig::new("/var/lib/towpath-two", "/nowhere");
        assert_ne!(long.tag(), other.tag());
        assert_eq!(NetConfig::new("dev", "/nowhere").bridge(), "towp-dev");
        for config in [&long, &other] {
            assert!(config.bridge().len() <= 15);
            assert!(config.veth(0xff_fffe).len() <= 15);
        }
    }
}
