//! The network of one instance: pod network, service routing, DNS and HTTP ingress.
//!
//! * [`NetConfig`]: settings, and the names that links, table and records carry.
//! * `pods`: a namespace, veth pair and address per sandbox; needs no API.
//! * `model`: Services, EndpointSlices and Ingresses as this crate sees them, fed by watches.
//! * `rules`: the model as one nftables table, changed by differences.
//! * `dns`: cluster names out of the model, everything else from the host's resolvers.
//! * `ingress`: HTTP by host and path to ready endpoints.
//!
//! The kernel does the routing: what is set up here keeps working while the process is away,
//! and is adopted when it is back. [`cleanup`] removes all of it.
//!
//! IPv4 only. No network policy yet.

mod cidr;
mod cleanup;
mod config;
mod dns;
mod error;
mod ingress;
mod model;
mod nft;
mod objects;
mod pods;
mod preflight;
mod rules;
mod services;
mod sysctl;

pub use cidr::{Cidr, InvalidCidr};
pub use cleanup::cleanup;
pub use config::NetConfig;
pub use error::Error;
pub use preflight::{Problem, preflight};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use towpath_kit::traits::PodNetwork;

/// The network of one instance.
pub struct Net {
    config: NetConfig,
    pods: Arc<pods::Pods>,
}

impl Net {
    /// Sets up what does not depend on any object: bridge, routes, the table's frame. Adopts
    /// what an earlier run left.
    pub async fn new(config: NetConfig) -> Result<Self, Error> {
        let pods = Arc::new(pods::Pods::start(config.clone()).await?);
        Ok(Self { config, pods })
    }

    /// Networks for sandboxes; usable at once, without any service.
    pub fn pod_network(&self) -> Arc<dyn PodNetwork> {
        self.pods.clone()
    }

    /// Address of the host on the pod network.
    pub fn gateway(&self) -> IpAddr {
        self.pods.gateway()
    }

    /// Where the HTTP ingress listens, where it does.
    pub fn ingress_addr(&self) -> Option<SocketAddr> {
        self.config.ingress_addr
    }

    /// Service routing, DNS and ingress, fed by watches of this client.
    pub fn services(&self, client: kube::Client) -> Vec<towpath_daemon::Service> {
        services::services(&self.config, client)
    }
}
