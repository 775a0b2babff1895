//! Counts questions under the names of CoreDNS.

use std::time::Duration;
use towpath_daemon::metrics::{self, LATENCY};

/// Counts what one server answers.
pub(crate) struct Meters {
    server: String,
    domain: String,
}

impl Meters {
    pub(crate) fn new(port: u16, domain: &str) -> Self {
        Self {
            server: format!("dns://:{port}"),
            domain: format!("{}.", domain.trim_end_matches('.')),
        }
    }

    /// A question that was answered, or dropped.
    pub(crate) fn count(&self, question: &[u8], tcp: bool, answer: Option<&[u8]>, took: Duration) {
        let Some(answer) = answer else { return };
        // An answer with authority is about the cluster's own domain.
        let own = answer.get(2).is_some_and(|flags| flags & 4 != 0);
        let zone = if own { &self.domain } else { "." };
        let base = [
            ("server", self.server.as_str()),
            ("zone", zone),
            ("view", ""),
        ];
        let proto = if tcp { "tcp" } else { "udp" };
        let with = |more: &[(&'static str, &'static str)]| {
            let mut labels: Vec<(&'static str, &str)> = base.to_vec();
            labels.extend(more.iter().copied());
            labels
        };
        let asked = [("proto", proto), ("family", "1"), ("type", kind(question))];
        metrics::counter(
            "coredns_dns_requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            &with(&asked),
        )
        .inc();
        let code = answer.get(3).map_or("", |flags| rcode(flags & 15));
        metrics::counter(
            "coredns_dns_responses_total",
            "Counter of response status codes.",
            &with(&[("rcode", code), ("plugin", "")]),
        )
        .inc();
        metrics::histogram(
            "coredns_dns_request_duration_seconds",
            "Histogram of the time (in seconds) each request took per zone.",
            LATENCY,
            &base,
        )
        .observe(took);
    }
}

// Type of the first question; rare ones are counted together, as CoreDNS does.
fn kind(message: &[u8]) -> &'static str {
    let mut at = 12;
    while let Some(length) = message.get(at).map(|n| usize::from(*n)) {
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    match (message.get(at), message.get(at + 1)) {
        (Some(0), Some(1)) => "A",
        (Some(0), Some(2)) => "NS",
        (Some(0), Some(5)) => "CNAME",
        (Some(0), Some(6)) => "SOA",
        (Some(0), Some(12)) => "PTR",
        (Some(0), Some(15)) => "MX",
        (Some(0), Some(16)) => "TXT",
        (Some(0), Some(28)) => "AAAA",
        (Some(0), Some(33)) => "SRV",
        (Some(0), Some(65)) => "HTTPS",
        _ => "other",
    }
}

fn rcode(code: u8) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn the_type_of_a_question() {
        let mut message = vec![0; 12];
        message.extend(b"\x03web\x04shop\x00\x00\x1c\x00\x01");
        assert_eq!(kind(&message), "AAAA");
        assert_eq!(kind(&message[..14]), "other");
        assert_eq!(kind(&[255; 40]), "other");
    }
}
