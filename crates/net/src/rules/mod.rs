//! Service routing as nftables rules. [`frame`] is what every instance has; [`plan`] turns the
//! difference between two sets of services into one script. All pure text.

mod plan;
pub(crate) mod sync;

pub(crate) use plan::{Balance, Listener, Protocol, ServicePort, Wanted, plan, replace, stale_udp};

use crate::config::NetConfig;
use std::fmt::Write;

/// The table without any service. `dns_port`: where the DNS server listens on the gateway when
/// port 53 there belongs to someone else.
///
/// Way of a packet: `guard` before anything; `services` on the way in (from pods and outside)
/// and out (from the host) translates the destination once per connection; `leave` gives
/// packets that could not find their way back a source that can; `refuse` answers at once what
/// is addressed to a service that has no endpoint.
pub(crate) fn frame(config: &NetConfig, dns_port: Option<u16>) -> String {
    let table = config.table();
    let bridge = config.bridge();
    let pods = config.pod_cidr;
    let services = config.service_cidr;
    let gateway = config.pod_cidr.gateway();
    let mut text = format!(
        r#"add table ip {table}
add map ip {table} cluster_ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
add map ip {table} node_ports {{ type inet_proto . inet_service : verdict; }}
add set ip {table} endpoints {{ type ipv4_addr . ipv4_addr; }}
add chain ip {table} guard {{ type filter hook prerouting priority -350; policy accept; }}
add chain ip {table} services
add chain ip {table} enter {{ type nat hook prerouting priority -100; policy accept; }}
add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}
add chain ip {table} leave {{ type nat hook postrouting priority 100; policy accept; }}
add chain ip {table} refuse_forward {{ type filter hook forward priority 0; policy accept; }}
add chain ip {table} refuse_output {{ type filter hook output priority 0; policy accept; }}
flush chain ip {table} guard
flush chain ip {table} services
flush chain ip {table} enter
flush chain ip {table} output
flush chain ip {table} leave
flush chain ip {table} refuse_forward
flush chain ip {table} refuse_output
add rule ip {table} guard iifname "{bridge}" ip daddr 127.0.0.0/8 drop
add rule ip {table} services ip daddr . meta l4proto . th dport vmap @cluster_ips
add rule ip {table} services fib daddr type local meta l4proto . th dport vmap @node_ports
add rule ip {table} enter jump services
add rule ip {table} output jump services
add rule ip {table} leave ip saddr . ip daddr @endpoints masquerade
add rule ip {table} leave oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
add rule ip {table} leave ip saddr {pods} ip daddr != {pods} oifname != "{bridge}" masquerade
add rule ip {table} refuse_forward ip daddr {services} reject
add rule ip {table} refuse_output ip daddr {services} reject
"#
    );
    if let Some(port) = dns_port {
        for hook in ["enter", "output"] {
            for protocol in ["udp", "tcp"] {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "insert rule ip {table} {hook} ip daddr {gateway} {protocol} dport 53 dnat to {gateway}:{port}"
                );
            }
        }
    }
    text
}

/// Services that use every expression the real ones use, for a trial.
pub(crate) fn example() -> Wanted {
    let [one, two, three] = [1, 2, 3].map(|last| std::net::Ipv4Addr::new(10, 96, 0, last));
    let some = |balance| ServicePort {
        balance,
        endpoints: [(two, 80), (three, 8080)].into(),
    };
    let address = Listener::Address(one, Protocol::Tcp, 80);
    let node = Listener::NodePort(Protocol::Udp, 30000);
    [
        (address, some(Balance::Random)),
        (node, some(Balance::Client)),
    ]
    .into()
}
