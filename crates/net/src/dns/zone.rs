//! What a cluster name stands for: a pure function of the model.
//!
//! Follows the DNS specification of Kubernetes, schema version 1.1.0. A name that exists
//! without a record of the wanted type is told from a name that does not exist: resolvers treat
//! them differently in their search lists.

use crate::cidr::Cidr;
use crate::model::{Kind, Model, Port, ServiceView};
use crate::rules::Protocol;
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::Ipv4Addr;
use std::str::FromStr;
use towpath_kit::cache::Key;

/// Seconds an answer may be kept.
pub(crate) const TTL: u32 = 5;

/// The names that are ours.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// `cluster.local` as labels.
    domain: Vec<String>,
    pods: Cidr,
    services: Cidr,
}

/// What is known about a name.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Not in our zones: ask elsewhere.
    Elsewhere,
    /// No such name.
    Missing,
    /// The name exists, without such a record where empty.
    Records(Vec<Record>, Vec<Record>),
    /// The name is another name for this one.
    Alias(Box<Record>, Name),
}

impl Zone {
    /// Zones of an instance.
    pub(crate) fn new(domain: &str, pods: Cidr, services: Cidr) -> Self {
        let domain = domain
            .trim_matches('.')
            .split('.')
            .map(str::to_ascii_lowercase)
            .collect();
        Self {
            domain,
            pods,
            services,
        }
    }

    fn name(&self, labels: &[&str]) -> Option<Name> {
        let all = labels
            .iter()
            .copied()
            .chain(self.domain.iter().map(String::as_str));
        let mut name = Name::from_labels(all.map(str::as_bytes)).ok()?;
        name.set_fqdn(true);
        Some(name)
    }

    /// The zone's start of authority: says how long a negative answer may be kept.
    pub(crate) fn authority(&self) -> Option<Record> {
        let zone = self.name(&[])?;
        let (server, mail) = (self.name(&["ns", "dns"])?, self.name(&["hostmaster"])?);
        let soa = SOA::new(server, mail, 1, 7200, 1800, 86400, TTL);
        Some(Record::from_rdata(zone, TTL, RData::SOA(soa)))
    }

    /// Looks a name up.
    pub(crate) fn look_up(&self, model: &Model, name: &Name, wanted: RecordType) -> Answer {
        let labels: Vec<String> = name
            .iter()
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let question = Question {
            zone: self,
            model,
            name,
            wanted,
        };
        if let Some(rest) = self.below(&labels) {
            return question.cluster(rest);
        }
        match labels.as_slice() {
            [d, c, b, a, "in-addr", "arpa"] => {
                let text = format!("{a}.{b}.{c}.{d}");
                match text.parse::<Ipv4Addr>() {
                    Ok(ip) if self.pods.contains(ip) || self.services.contains(ip) => {
                        question.reverse(ip)
                    }
                    _ => Answer::Elsewhere,
                }
            }
            _ => Answer::Elsewhere,
        }
    }

    fn below<'a, 'b>(&self, labels: &'a [&'b str]) -> Option<&'a [&'b str]> {
        let cut = labels.len().checked_sub(self.domain.len())?;
        labels[cut..]
            .iter()
            .zip(&self.domain)
            .all(|(a, b)| a == b)
            .then(|| &labels[..cut])
    }
}

struct Question<'a> {
    zone: &'a Zone,
    model: &'a Model,
    name: &'a Name,
    wanted: RecordType,
}

/// An endpoint's own label: its host name, else its address with dashes.
fn endpoint_label(hostname: Option<&str>, address: Ipv4Addr) -> String {
    hostname.map_or_else(
        || address.to_string().replace('.', "-"),
        str::to_ascii_lowercase,
    )
}

impl Question<'_> {
    fn exists(&self) -> Answer {
        Answer::Records(Vec::new(), Vec::new())
    }

    fn exists_if(&self, there: bool) -> Answer {
        if there {
            self.exists()
        } else {
            Answer::Missing
        }
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    fn addresses(&self, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Answer {
        if !matches!(self.wanted, RecordType::A | RecordType::ANY) {
            return self.exists();
        }
        let records = addresses
            .into_iter()
            .map(|address| self.record(RData::A(A(address))));
        Answer::Records(records.collect(), Vec::new())
    }

    fn cluster(&self, labels: &[&str]) -> Answer {
        match labels {
            [] if self.wanted == RecordType::SOA => {
                Answer::Records(self.zone.authority().into_iter().collect(), Vec::new())
            }
            [] | ["svc"] | ["pod"] => self.exists(),
            ["dns-version"] if self.wanted == RecordType::TXT => {
                let text = RData::TXT(TXT::new(vec!["1.1.0".into()]));
                Answer::Records(vec![self.record(text)], Vec::new())
            }
            ["dns-version"] => self.exists(),
            [namespace, "svc" | "pod"] => self.exists_if(self.model.has_namespace(namespace)),
            [dashed, namespace, "pod"] => self.pod(dashed, namespace),
            [.., service, namespace, "svc"] => {
                let key = Key::new(*namespace, *service);
                let Some(view) = self.model.service(&key) else {
                    return Answer::Missing;
                };
                match &labels[..labels.len() - 3] {
                    [] => self.service(&key, view),
                    [protocol] if protocol.starts_with('_') => {
                        self.exists_if(view.ports.iter().any(|port| is_protocol(port, protocol)))
                    }
                    [port, protocol] => self.port(&key, view, port, protocol),
                    [host] => self.host(&key, view, host),
                    _ => Answer::Missing,
                }
            }
            _ => Answer::Missing,
        }
    }

    fn pod(&self, dashed: &str, namespace: &str) -> Answer {
        match dashed.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(address) if self.model.has_namespace(namespace) => self.addresses([address]),
            _ => Answer::Missing,
        }
    }

    fn service(&self, key: &Key, view: &ServiceView) -> Answer {
        match &view.kind {
            Kind::Pending => self.exists(),
            Kind::Addresses(addresses) => self.addresses(addresses.iter().copied()),
            Kind::Headless => {
                let mut found: Vec<_> = self
                    .endpoints(key, view)
                    .map(|(_, address)| address)
                    .collect();
                found.sort_unstable();
                found.dedup();
                // Headless without a ready endpoint: the name exists, with no address yet.
                self.addresses(found)
            }
            Kind::External(target) => match Name::from_str(target.trim_end_matches('.')) {
                Ok(mut target) => {
                    target.set_fqdn(true);
                    let alias = self.record(RData::CNAME(CNAME(target.clone())));
                    Answer::Alias(Box::new(alias), target)
                }
                Err(_) => self.exists(),
            },
        }
    }

    fn endpoints<'a>(
        &'a self,
        key: &'a Key,
        view: &'a ServiceView,
    ) -> impl Iterator<Item = (Option<&'a str>, Ipv4Addr)> + 'a {
        self.model
            .slices(key)
            .flat_map(|slice| &slice.endpoints)
            .filter(|one| one.ready || view.publish_not_ready)
            .map(|one| (one.hostname.as_deref(), one.address))
    }

    fn host(&self, key: &Key, view: &ServiceView, host: &str) -> Answer {
        let found: Vec<Ipv4Addr> = self
            .endpoints(key, view)
            .filter(|(hostname, address)| endpoint_label(*hostname, *address) == host)
            .map(|(_, address)| address)
            .collect();
        if found.is_empty() {
            Answer::Missing
        } else {
            self.addresses(found)
        }
    }

    fn port(&self, key: &Key, view: &ServiceView, port: &str, protocol: &str) -> Answer {
        let Some(name) = port.strip_prefix('_') else {
            return Answer::Missing;
        };
        let found = view
            .ports
            .iter()
            .find(|one| one.name == name && is_protocol(one, protocol));
        let Some(found) = found else {
            return Answer::Missing;
        };
        if !matches!(self.wanted, RecordType::SRV | RecordType::ANY) {
            return self.exists();
        }
        let own = [key.name.as_str(), key.namespace.as_str(), "svc"];
        let mut targets: Vec<(Option<Name>, u16, Vec<Ipv4Addr>)> = Vec::new();
        match &view.kind {
            Kind::Addresses(all) => targets.push((self.zone.name(&own), found.port, all.clone())),
            Kind::Headless => {
                for slice in self.model.slices(key) {
                    let number = slice
                        .ports
                        .iter()
                        .find(|(name, of, _)| *name == found.name && *of == found.protocol)
                        .map_or(found.port, |(_, _, number)| *number);
                    for one in slice
                        .endpoints
                        .iter()
                        .filter(|e| e.ready || view.publish_not_ready)
                    {
                        let label = endpoint_label(one.hostname.as_deref(), one.address);
                        let target = self.zone.name(&[&[label.as_str()], &own[..]].concat());
                        targets.push((target, number, vec![one.address]));
                    }
                }
            }
            Kind::Pending | Kind::External(_) => {}
        }
        let (mut answers, mut more) = (Vec::new(), Vec::new());
        for (target, number, addresses) in targets {
            let Some(target) = target else { continue };
            answers.push(self.record(RData::SRV(SRV::new(0, 100, number, target.clone()))));
            more.extend(
                addresses
                    .into_iter()
                    .map(|address| Record::from_rdata(target.clone(), TTL, RData::A(A(address)))),
            );
        }
        Answer::Records(answers, more)
    }

    fn reverse(&self, ip: Ipv4Addr) -> Answer {
        let mut names = Vec::new();
        for (key, view) in self.model.services() {
            let own = [key.name.as_str(), key.namespace.as_str(), "svc"];
            match &view.kind {
                Kind::Addresses(all) if all.contains(&ip) => names.extend(self.zone.name(&own)),
                Kind::Headless => {
                    for (hostname, address) in self.endpoints(key, view) {
                        if address == ip {
                            let label = endpoint_label(hostname, address);
                            names.extend(self.zone.name(&[&[label.as_str()], &own[..]].concat()));
                        }
                    }
                }
                _ => {}
            }
        }
        if names.is_empty() {
            return Answer::Missing;
        }
        if !matches!(self.wanted, RecordType::PTR | RecordType::ANY) {
            return self.exists();
        }
        let records = names
            .into_iter()
            .map(|name| self.record(RData::PTR(PTR(name))));
        Answer::Records(records.collect(), Vec::new())
    }
}

fn is_protocol(port: &Port, label: &str) -> bool {
    let protocol = match label {
        "_tcp" => Protocol::Tcp,
        "_udp" => Protocol::Udp,
        "_sctp" => Protocol::Sctp,
        _ => return false,
    };
    port.protocol == protocol
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointView, SliceView};

    fn zone() -> Zone {
        let block = |text: &str| text.parse().expect("block");
        Zone::new(
            "cluster.local",
            block("10.244.0.0/16"),
            block("10.96.0.0/16"),
        )
    }

    fn model() -> Model {
        let mut model = Model::default();
        let port = |name: &str| Port {
            name: name.into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        };
        let view = |kind| ServiceView {
            kind,
            ports: vec![port("http")],
            ..Default::default()
        };
        model.set_namespace("demo", true);
        let web = Kind::Addresses(vec![Ipv4Addr::new(10, 96, 0, 20)]);
        model.set_service(&Key::new("demo", "web"), Some(view(web)));
        model.set_service(&Key::new("demo", "db"), Some(view(Kind::Headless)));
        model.set_service(&Key::new("demo", "empty"), Some(view(Kind::Headless)));
        model.set_service(
            &Key::new("demo", "out"),
            Some(view(Kind::External("example.com".into()))),
        );
        let endpoint = |last, ready, hostname: Option<&str>| EndpointView {
            address: Ipv4Addr::new(10, 244, 0, last),
            ready,
            serving: ready,
            hostname: hostname.map(Into::into),
        };
        let slice = SliceView {
            service: Key::new("demo", "db"),
            ports: vec![("http".into(), Protocol::Tcp, 5432)],
            endpoints: vec![
                endpoint(5, true, Some("db-0")),
                endpoint(6, true, None),
                endpoint(7, false, Some("db-2")),
            ],
        };
        model.set_slice(&Key::new("demo", "db-x"), Some(slice));
        model
    }

    fn ask(name: &str, wanted: RecordType) -> String {
        let name = Name::from_ascii(name).expect("name");
        match zone().look_up(&model(), &name, wanted) {
            Answer::Elsewhere => "elsewhere".into(),
            Answer::Missing => "nxdomain".into(),
            Answer::Alias(_, target) => format!("alias {target}"),
            Answer::Records(records, _) if records.is_empty() => "nodata".into(),
            Answer::Records(records, more) => {
                let text = |record: &Record| record.data.to_string();
                let mut all: Vec<_> = records.iter().map(text).collect();
                all.extend(
                    more.iter()
                        .map(|record| format!("+{} {}", record.name, record.data)),
                );
                all.join(", ")
            }
        }
    }

    #[test]
    fn names_answer_as_the_specification_says() {
        use RecordType::{A, AAAA, PTR, SRV};
        for (name, wanted, expected) in [
            ("web.demo.svc.cluster.local.", A, "10.96.0.20"),
            ("WEB.Demo.svc.Cluster.local.", A, "10.96.0.20"),
            ("web.demo.svc.cluster.local.", AAAA, "nodata"),
            ("db.demo.svc.cluster.local.", A, "10.244.0.5, 10.244.0.6"),
            ("db-0.db.demo.svc.cluster.local.", A, "10.244.0.5"),
            ("10-244-0-6.db.demo.svc.cluster.local.", A, "10.244.0.6"),
            ("db-2.db.demo.svc.cluster.local.", A, "nxdomain"),
            ("empty.demo.svc.cluster.local.", A, "nodata"),
            ("out.demo.svc.cluster.local.", A, "alias example.com."),
            ("nothing.demo.svc.cluster.local.", A, "nxdomain"),
            ("demo.svc.cluster.local.", A, "nodata"),
            ("nowhere.svc.cluster.local.", A, "nxdomain"),
            ("svc.cluster.local.", A, "nodata"),
            ("cluster.local.", A, "nodata"),
            ("example.com.demo.svc.cluster.local.", A, "nxdomain"),
            ("10-244-0-9.demo.pod.cluster.local.", A, "10.244.0.9"),
            ("nonsense.demo.pod.cluster.local.", A, "nxdomain"),
            (
                "_http._tcp.web.demo.svc.cluster.local.",
                SRV,
                "0 100 80 web.demo.svc.cluster.local., +web.demo.svc.cluster.local. 10.96.0.20",
            ),
            ("_http._udp.web.demo.svc.cluster.local.", SRV, "nxdomain"),
            ("_tcp.web.demo.svc.cluster.local.", SRV, "nodata"),
            ("_http._tcp.web.demo.svc.cluster.local.", A, "nodata"),
            (
                "5.0.244.10.in-addr.arpa.",
                PTR,
                "db-0.db.demo.svc.cluster.local.",
            ),
            (
                "20.0.96.10.in-addr.arpa.",
                PTR,
                "web.demo.svc.cluster.local.",
            ),
            ("99.0.96.10.in-addr.arpa.", PTR, "nxdomain"),
            ("4.4.8.8.in-addr.arpa.", PTR, "elsewhere"),
            ("example.com.", A, "elsewhere"),
            ("notcluster.local.", A, "elsewhere"),
        ] {
            assert_eq!(ask(name, wanted), expected, "{name} {wanted}");
        }
        let headless = ask("_http._tcp.db.demo.svc.cluster.local.", SRV);
        assert!(headless.contains("5432 db-0.db.demo"), "{headless}");
        assert!(headless.contains("5432 10-244-0-6.db.demo"), "{headless}");
    }
}
