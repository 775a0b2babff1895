//! The files every pod gets: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Name the pod's containers see.
pub(crate) fn hostname(pod: &Pod, host: &str) -> String {
    let Some(spec) = &pod.spec else {
        return String::new();
    };
    if let Some(name) = &spec.hostname_override {
        return name.clone();
    }
    if spec.host_network == Some(true) {
        return host.into();
    }
    let name = spec
        .hostname
        .clone()
        .unwrap_or_else(|| pod.metadata.name.clone().unwrap_or_default());
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_string()
}

/// Name with the subdomain, where the pod has one.
pub(crate) fn fqdn(pod: &Pod, hostname: &str, cluster_domain: &str) -> Option<String> {
    let subdomain = pod
        .spec
        .as_ref()?
        .subdomain
        .as_ref()
        .filter(|s| !s.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!(
        "{hostname}.{subdomain}.{namespace}.svc.{cluster_domain}"
    ))
}

/// `/etc/hosts`; `host` is the host's own file.
pub(crate) fn hosts(
    pod: &Pod,
    ip: &str,
    hostname: &str,
    cluster_domain: &str,
    host: &str,
) -> String {
    let Some(spec) = &pod.spec else {
        return String::new();
    };
    let mut text = if spec.host_network == Some(true) {
        format!("# Kubernetes-managed hosts file (host network).\n{host}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        match fqdn(pod, hostname, cluster_domain) {
            Some(fqdn) => text.push_str(&format!("{ip}\t{fqdn}\t{hostname}\n")),
            None => text.push_str(&format!("{ip}\t{hostname}\n")),
        }
        text
    };
    let aliases = spec.host_aliases.iter().flatten();
    let mut first = true;
    for alias in aliases {
        if first {
            text.push_str("\n# Entries added by HostAliases.\n");
            first = false;
        }
        text.push_str(&format!(
            "{}\t{}\n",
            alias.ip,
            alias.hostnames.clone().unwrap_or_default().join("\t")
        ));
    }
    text
}

/// `/etc/resolv.conf` by the pod's policy; `cluster` and `host` are the two texts to start from.
pub(crate) fn resolv_conf(spec: &PodSpec, cluster: &str, host: &str) -> String {
    let on_host = spec.host_network == Some(true);
    let base = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => "",
        "Default" => host,
        "ClusterFirst" if on_host => host,
        _ => cluster,
    };
    let mut config = Resolver::parse(base);
    if let Some(extra) = &spec.dns_config {
        for server in extra.nameservers.iter().flatten() {
            push_new(&mut config.servers, server);
        }
        for search in extra.searches.iter().flatten() {
            push_new(&mut config.searches, search);
        }
        for option in extra.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            config
                .options
                .retain(|have| have.split(':').next() != Some(name));
            config.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    config.text()
}

#[derive(Default)]
struct Resolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

fn push_new(list: &mut Vec<String>, item: &str) {
    if !list.iter().any(|have| have == item) {
        list.push(item.into());
    }
}

impl Resolver {
    fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => config.servers.extend(words.next().map(String::from)),
                Some("search") => config.searches = words.map(String::from).collect(),
                Some("options") => config.options.extend(words.map(String::from)),
                _ => {}
            }
        }
        config
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for server in self.servers.iter().take(3) {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(
            json!({ "metadata": { "name": "web-0", "namespace": "demo" }, "spec": spec }),
        )
        .expect("pod")
    }

    const CLUSTER: &str = "nameserver 10.0.0.10\nsearch demo.svc.cluster.local\noptions ndots:5\n";
    const HOST: &str = "# host\nnameserver 1.1.1.1\nsearch lan\n";

    fn resolved(spec: Value) -> String {
        resolv_conf(pod(spec).spec.as_ref().expect("spec"), CLUSTER, HOST)
    }

    #[test]
    fn resolver_by_policy() {
        assert_eq!(resolved(json!({ "containers": [] })), CLUSTER);
        assert_eq!(
            resolved(json!({ "containers": [], "dnsPolicy": "Default" })),
            "nameserver 1.1.1.1\nsearch lan\n"
        );
        assert_eq!(
            resolved(json!({ "containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst" })),
            "nameserver 1.1.1.1\nsearch lan\n"
        );
        assert_eq!(
            resolved(
                json!({ "containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet" })
            ),
            CLUSTER
        );
        let none = json!({ "containers": [], "dnsPolicy": "None", "dnsConfig": { "nameservers": ["9.9.9.9"], "searches": ["x"], "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }] } });
        assert_eq!(
            resolved(none),
            "nameserver 9.9.9.9\nsearch x\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn names_and_hosts() {
        let plain = pod(json!({ "containers": [] }));
        assert_eq!(hostname(&plain, "host"), "web-0");
        assert!(
            hosts(&plain, "10.1.0.2", "web-0", "cluster.local", "").ends_with("10.1.0.2\tweb-0\n")
        );
        let sub = pod(
            json!({ "containers": [], "hostname": "h", "subdomain": "s", "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }] }),
        );
        let text = hosts(&sub, "10.1.0.2", "h", "cluster.local", "");
        assert!(
            text.contains("10.1.0.2\th.s.demo.svc.cluster.local\th\n")
                && text.contains("1.2.3.4\ta\tb\n"),
            "{text}"
        );
    }
}
