//! From wanted services to the script that changes what is there into what is wanted.
//!
//! One chain per service port, named by its address or node port, holds one rule that picks an
//! endpoint. An endpoint that comes or goes therefore costs one chain's rule and two set
//! elements, however many services there are.

use crate::config::NetConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Where connections arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Listener {
    /// ClusterIP (or external address) and port.
    Address(Ipv4Addr, Protocol, u16),
    /// Any address of the host.
    NodePort(Protocol, u16),
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// From the Kubernetes word; absent means TCP.
    pub(crate) fn parse(word: Option<&str>) -> Option<Self> {
        match word.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// Where connections go.
pub(crate) type Endpoint = (Ipv4Addr, u16);

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Anew for every connection.
    #[default]
    Random,
    /// By the client's address (session affinity `ClientIP`).
    Client,
}

/// One port of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) balance: Balance,
    pub(crate) endpoints: BTreeSet<Endpoint>,
}

/// All of them.
pub(crate) type Wanted = BTreeMap<Listener, ServicePort>;

fn chain(listener: &Listener) -> String {
    match listener {
        Listener::Address(address, protocol, port) => {
            let text = address.to_string().replace('.', "_");
            format!("ip_{text}_{}_{port}", protocol.name())
        }
        Listener::NodePort(protocol, port) => format!("node_{}_{port}", protocol.name()),
    }
}

fn element(listener: &Listener) -> (&'static str, String) {
    match listener {
        Listener::Address(address, protocol, port) => (
            "cluster_ips",
            format!("{address} . {} . {port}", protocol.name()),
        ),
        Listener::NodePort(protocol, port) => {
            ("node_ports", format!("{} . {port}", protocol.name()))
        }
    }
}

fn rule(listener: &Listener, service: &ServicePort) -> String {
    let (Listener::Address(_, protocol, _) | Listener::NodePort(protocol, _)) = listener;
    // `dnat` with a port needs to know that the packet has one.
    let protocol = format!("meta l4proto {}", protocol.name());
    let mut endpoints = service.endpoints.iter();
    if let (Some((address, port)), None) = (endpoints.next(), endpoints.next()) {
        return format!("{protocol} dnat to {address}:{port}");
    }
    let count = service.endpoints.len();
    let pick = match service.balance {
        Balance::Random => format!("numgen random mod {count}"),
        Balance::Client => format!("jhash ip saddr mod {count} seed 0x746f7770"),
    };
    let choices: Vec<String> = (0..)
        .zip(&service.endpoints)
        .map(|(number, (address, port))| format!("{number} : {address} . {port}"))
        .collect();
    format!(
        "{protocol} dnat ip addr . port to {pick} map {{ {} }}",
        choices.join(", ")
    )
}

/// The script from `now` to `wanted`; empty where they are the same. Services without endpoints
/// have no rule: the frame refuses what is addressed to them.
pub(crate) fn plan(table: &str, now: &Wanted, wanted: &Wanted) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    macro_rules! line { ($($arg:tt)*) => { let _ = writeln!(text, $($arg)*); } }
    let served = |all: &Wanted, listener: &Listener| {
        all.get(listener)
            .is_some_and(|service| !service.endpoints.is_empty())
    };
    for (listener, service) in wanted {
        if service.endpoints.is_empty() || now.get(listener) == Some(service) {
            continue;
        }
        let (name, (map, key)) = (chain(listener), element(listener));
        line!("add chain ip {table} {name}");
        line!("flush chain ip {table} {name}");
        line!("add rule ip {table} {name} {}", rule(listener, service));
        if !served(now, listener) {
            line!("add element ip {table} {map} {{ {key} : goto {name} }}");
        }
    }
    for listener in now.keys() {
        if served(now, listener) && !served(wanted, listener) {
            let (name, (map, key)) = (chain(listener), element(listener));
            line!("delete element ip {table} {map} {{ {key} : goto {name} }}");
            line!("flush chain ip {table} {name}");
            line!("delete chain ip {table} {name}");
        }
    }
    let addresses = |all: &Wanted| -> BTreeSet<Ipv4Addr> {
        all.values()
            .flat_map(|service| &service.endpoints)
            .map(|(address, _)| *address)
            .collect()
    };
    let (before, after) = (addresses(now), addresses(wanted));
    for (verb, set) in [
        ("add", after.difference(&before)),
        ("delete", before.difference(&after)),
    ] {
        let pairs: Vec<String> = set
            .map(|address| format!("{address} . {address}"))
            .collect();
        if !pairs.is_empty() {
            line!(
                "{verb} element ip {table} endpoints {{ {} }}",
                pairs.join(", ")
            );
        }
    }
    text
}

/// UDP listeners that lost an endpoint. Without a connection's end, the kernel would go on
/// sending a client that keeps its port to where the endpoint was.
pub(crate) fn stale_udp(now: &Wanted, wanted: &Wanted) -> Vec<Listener> {
    let udp = |listener: &Listener| match listener {
        Listener::Address(_, protocol, _) | Listener::NodePort(protocol, _) => {
            *protocol == Protocol::Udp
        }
    };
    now.iter()
        .filter(|(listener, _)| udp(listener))
        .filter(|(listener, before)| {
            let after = wanted.get(listener).map(|service| &service.endpoints);
            before
                .endpoints
                .iter()
                .any(|one| after.is_none_or(|after| !after.contains(one)))
        })
        .map(|(listener, _)| *listener)
        .collect()
}

/// The script that makes the table anew, whatever is in it. One transaction: connections see
/// the old table or the new one.
pub(crate) fn replace(config: &NetConfig, dns_port: Option<u16>, wanted: &Wanted) -> String {
    let table = config.table();
    format!(
        "add table ip {table}\ndelete table ip {table}\n{}{}",
        super::frame(config, dns_port),
        plan(&table, &Wanted::new(), wanted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(listener: Listener, endpoints: &[Endpoint]) -> Wanted {
        let endpoints = endpoints.iter().copied().collect();
        [(
            listener,
            ServicePort {
                balance: Balance::Random,
                endpoints,
            },
        )]
        .into()
    }

    #[test]
    fn a_change_costs_what_changed() {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let web = Listener::Address(ip(1), Protocol::Tcp, 80);
        let (two, three) = ((ip(2), 8080), (ip(3), 8080));
        assert_eq!(plan("t", &one(web, &[two]), &one(web, &[two])), "");
        assert_eq!(plan("t", &Wanted::new(), &one(web, &[])), "");
        assert_eq!(
            plan("t", &one(web, &[two]), &one(web, &[two, three])),
            "add chain ip t ip_10_0_0_1_tcp_80\n\
             flush chain ip t ip_10_0_0_1_tcp_80\n\
             add rule ip t ip_10_0_0_1_tcp_80 meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.0.0.2 . 8080, 1 : 10.0.0.3 . 8080 }\n\
             add element ip t endpoints { 10.0.0.3 . 10.0.0.3 }\n"
        );
        assert_eq!(
            plan("t", &one(web, &[two]), &Wanted::new()),
            "delete element ip t cluster_ips { 10.0.0.1 . tcp . 80 : goto ip_10_0_0_1_tcp_80 }\n\
             flush chain ip t ip_10_0_0_1_tcp_80\n\
             delete chain ip t ip_10_0_0_1_tcp_80\n\
             delete element ip t endpoints { 10.0.0.2 . 10.0.0.2 }\n"
        );
    }

    #[test]
    fn udp_listeners_that_lost_an_endpoint_are_named() {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let udp = Listener::NodePort(Protocol::Udp, 30053);
        let tcp = Listener::NodePort(Protocol::Tcp, 30053);
        let (two, three) = ((ip(2), 53), (ip(3), 53));
        assert_eq!(stale_udp(&one(udp, &[two]), &one(udp, &[two, three])), []);
        assert_eq!(stale_udp(&one(udp, &[two]), &one(udp, &[three])), [udp]);
        assert_eq!(stale_udp(&one(udp, &[two]), &Wanted::new()), [udp]);
        assert_eq!(stale_udp(&one(tcp, &[two]), &Wanted::new()), []);
    }
}
