//! What is scraped and how: the `scrape_configs` of a `prometheus.yml`, checked.
//!
//! The file is taken unchanged; what this server does not do is refused in words, never left out
//! silently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use towpath_query::promql::{parse_duration, quote};

use super::relabel::{self, Rule};
use super::written::{
    Authorization, BasicAuth, DnsDiscovery, File, FileDiscovery, Global, HttpDiscovery,
    KubernetesDiscovery, Names, Scrape, Static, Tls,
};
use crate::wire::negotiate::Escaping;
use crate::wire::{Protocol, Wishes};

/// Largest file, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Largest body of a scrape where nothing is said, unpacked. Upstream has no limit.
const BODY_BYTES: u64 = 256 << 20;

/// A configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not YAML, or has fields that are not known; the text names the line.
    #[error("read scrape configuration: {0}")]
    Syntax(String),
    /// It contradicts itself or asks for what is not done here.
    #[error("scrape configuration: {0}")]
    Meaning(String),
}

/// Bounds of one scrape; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body, unpacked.
    pub body_bytes: u64,
    /// Samples after relabelling.
    pub samples: u64,
    /// Targets of the job.
    pub targets: u64,
    /// Labels of a series.
    pub labels: u64,
    /// Bytes of a label's name.
    pub label_name_bytes: u64,
    /// Bytes of a label's value.
    pub label_value_bytes: u64,
    /// Dropped targets that are remembered.
    pub dropped_targets: u64,
}

/// How a target is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Http {
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) tls: Tls,
    pub(crate) follow_redirects: bool,
    pub(crate) headers: Vec<(String, String)>,
    /// Against this directory paths of files are read.
    pub(crate) directory: PathBuf,
    /// Only addresses that pods may reach are dialled: the job was written by users of the
    /// cluster, not by whoever runs it.
    pub(crate) guarded: bool,
}

/// Where targets come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// They are listed.
    Static(Vec<Static>),
    /// Files list them.
    File(FileDiscovery),
    /// A server lists them.
    Http(HttpDiscovery),
    /// Names resolve to them.
    Dns(DnsDiscovery),
    /// Objects of the cluster are them.
    Kubernetes(KubernetesDiscovery),
}

/// A scrape configuration, checked.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name, the label `job` of targets that say nothing else.
    pub name: String,
    /// Where targets come from.
    pub discovery: Vec<Discovery>,
    /// Between two scrapes, in milliseconds.
    pub interval_ms: i64,
    /// The most a scrape may take, in milliseconds.
    pub timeout_ms: i64,
    /// Path of the metrics.
    pub path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the query.
    pub params: BTreeMap<String, Vec<String>>,
    /// Labels of samples win over those of the target.
    pub honor_labels: bool,
    /// Times of samples count.
    pub honor_timestamps: bool,
    /// Series with times of their own end too when they are gone.
    pub track_timestamps_staleness: bool,
    /// Formats that are asked for, most wanted first.
    pub protocols: Vec<Protocol>,
    /// The format of answers that do not say.
    pub fallback: Option<Protocol>,
    /// What is read of histograms.
    pub wishes: Wishes,
    /// Packed answers are asked for.
    pub compression: bool,
    /// Bounds.
    pub limits: Limits,
    /// Rules for targets.
    pub relabel: Vec<Rule>,
    /// Rules for samples.
    pub metric_relabel: Vec<Rule>,
    /// Three more series say what the limits are.
    pub extra_metrics: bool,
    /// Which names are taken.
    pub names: Names,
    /// How names are asked for.
    pub escaping: Escaping,
    pub(crate) http: Http,
    /// The configuration as it was written, to see whether it changed.
    pub(crate) written: String,
}

/// Reads a file; paths in it are relative to `directory`.
///
/// # Errors
/// It cannot be used.
pub fn parse(text: &str, directory: &Path) -> Result<Vec<Job>, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigError::Syntax(format!("more than {MAX_BYTES} bytes")));
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let aliases = serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 };
    let options = serde_saphyr::options! { with_snippet: false, alias_limits: aliases };
    let file: File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::Syntax(error.to_string()))?;
    if file
        .scrape_config_files
        .is_some_and(|files| !files.is_empty())
    {
        let words = "scrape_config_files is not supported; put the jobs into scrape_configs";
        return Err(ConfigError::Meaning(words.to_owned()));
    }
    let mut names = BTreeSet::new();
    let mut jobs = Vec::new();
    for written in file.scrape_configs.unwrap_or_default() {
        if !names.insert(written.job_name.clone()) {
            let name = quote(&written.job_name);
            let words = format!("found multiple scrape configs with job name {name}");
            return Err(ConfigError::Meaning(words));
        }
        let name = quote(&written.job_name);
        jobs.push(
            job(written, &file.global, directory)
                .map_err(|why| ConfigError::Meaning(format!("{why} (job {name})")))?,
        );
    }
    Ok(jobs)
}

fn duration(text: Option<&String>, what: &str) -> Result<Option<i64>, String> {
    let Some(text) = text else { return Ok(None) };
    let ms = parse_duration(text).map_err(|error| format!("{what}: {error}"))?;
    Ok(Some(ms).filter(|ms| *ms > 0))
}

fn unsupported(written: &Scrape) -> Option<&'static str> {
    let proxy = written.proxy_url.is_some()
        || written.no_proxy.is_some()
        || written.proxy_from_environment == Some(true)
        || written.proxy_connect_header.is_some();
    let elsewhere = written.kubernetes_sd_configs.iter().any(|discovery| {
        discovery.api_server.is_some()
            || discovery.kubeconfig_file.is_some()
            || discovery.namespaces.own_namespace
    });
    let fields = written.kubernetes_sd_configs.iter().any(|discovery| {
        discovery.attach_metadata.namespace
            || discovery
                .selectors
                .iter()
                .any(|selector| selector.field.is_some())
    });
    if written.oauth2.is_some() {
        Some("oauth2 is not supported")
    } else if proxy {
        Some("proxies are not supported")
    } else if written.scrape_failure_log_file.is_some() {
        Some("scrape_failure_log_file is not supported")
    } else if elsewhere {
        Some("kubernetes_sd_configs finds targets in the own cluster only")
    } else if fields {
        Some("field selectors and metadata of namespaces are not supported")
    } else {
        None
    }
}

pub(crate) fn job(written: Scrape, global: &Global, directory: &Path) -> Result<Job, String> {
    if written.job_name.is_empty() {
        return Err("job_name is empty".to_owned());
    }
    if let Some(why) = unsupported(&written) {
        return Err(why.to_owned());
    }
    let nhcb = written.convert_classic_histograms_to_nhcb;
    if nhcb.unwrap_or(global.convert_classic_histograms_to_nhcb) {
        return Err("convert_classic_histograms_to_nhcb is not supported".to_owned());
    }
    if written.native_histogram_bucket_limit > 0 || written.native_histogram_min_bucket_factor > 0.0
    {
        return Err("limits of buckets of native histograms are not supported".to_owned());
    }
    if global.scrape_failure_log_file.is_some() {
        return Err("scrape_failure_log_file is not supported".to_owned());
    }
    let whole = duration(global.scrape_interval.as_ref(), "scrape_interval")?.unwrap_or(60_000);
    let own = duration(written.scrape_interval.as_ref(), "scrape_interval")?;
    let interval_ms = own.unwrap_or(whole);
    let general = duration(global.scrape_timeout.as_ref(), "scrape_timeout")?;
    let timeout = duration(written.scrape_timeout.as_ref(), "scrape_timeout")?;
    if timeout.is_some_and(|timeout| timeout > interval_ms) {
        return Err("scrape timeout greater than scrape interval".to_owned());
    }
    let timeout_ms = timeout.unwrap_or_else(|| general.unwrap_or(10_000).min(interval_ms));
    let native = written
        .scrape_native_histograms
        .or(global.scrape_native_histograms);
    let native_histograms = native.unwrap_or(false);
    let protocols = written
        .scrape_protocols
        .clone()
        .or_else(|| global.scrape_protocols.clone());
    let protocols = protocols.unwrap_or_else(|| match native_histograms {
        true => Protocol::NATIVE_FIRST.to_vec(),
        false => Protocol::DEFAULT.to_vec(),
    });
    if protocols.is_empty() {
        return Err("scrape_protocols cannot be empty".to_owned());
    }
    for (at, protocol) in protocols.iter().enumerate() {
        if protocols[..at].contains(protocol) {
            return Err(format!(
                "duplicated protocol in scrape_protocols, got {protocol:?}"
            ));
        }
    }
    let body_bytes = match written
        .body_size_limit
        .as_ref()
        .or(global.body_size_limit.as_ref())
    {
        Some(text) => bytes(text)?,
        None => 0,
    };
    let or = |own: u64, general: u64| if own == 0 { general } else { own };
    let limits = Limits {
        body_bytes: or(body_bytes, BODY_BYTES),
        samples: or(written.sample_limit, global.sample_limit),
        targets: or(written.target_limit, global.target_limit),
        labels: or(written.label_limit, global.label_limit),
        label_name_bytes: or(
            written.label_name_length_limit,
            global.label_name_length_limit,
        ),
        label_value_bytes: or(
            written.label_value_length_limit,
            global.label_value_length_limit,
        ),
        dropped_targets: or(written.keep_dropped_targets, global.keep_dropped_targets),
    };
    let own_names = written.metric_name_validation_scheme;
    let names = own_names
        .or(global.metric_name_validation_scheme)
        .unwrap_or_default();
    let escaping = written
        .metric_name_escaping_scheme
        .unwrap_or(match (own_names, names) {
            (None, _) if global.metric_name_escaping_scheme.is_some() => {
                global.metric_name_escaping_scheme.unwrap_or_default()
            }
            (_, Names::Legacy) => Escaping::Underscores,
            (_, Names::Utf8) => Escaping::AllowUtf8,
        });
    if escaping == Escaping::AllowUtf8 && names == Names::Legacy {
        let words = "utf8 metric names requested but validation scheme is not set to UTF8";
        return Err(words.to_owned());
    }
    let scheme = written.scheme.clone().unwrap_or_else(|| "http".to_owned());
    let classic = written.always_scrape_classic_histograms;
    Ok(Job {
        discovery: discovery(&written)?,
        interval_ms,
        timeout_ms,
        path: written
            .metrics_path
            .clone()
            .unwrap_or_else(|| "/metrics".to_owned()),
        scheme,
        params: written.params.clone(),
        honor_labels: written.honor_labels,
        honor_timestamps: written.honor_timestamps.unwrap_or(true),
        track_timestamps_staleness: written.track_timestamps_staleness,
        protocols,
        fallback: written.fallback_scrape_protocol,
        wishes: Wishes {
            native_histograms,
            classic_too: classic.unwrap_or(global.always_scrape_classic_histograms),
            hide_created: false,
        },
        compression: written.enable_compression.unwrap_or(true),
        limits,
        relabel: relabel::rules(&written.relabel_configs)?,
        metric_relabel: relabel::rules(&written.metric_relabel_configs)?,
        extra_metrics: written.extra_scrape_metrics.or(global.extra_scrape_metrics) == Some(true),
        names,
        escaping,
        http: http(&written, directory)?,
        name: written.job_name.clone(),
        written: format!("{written:?} {global:?}"),
    })
}

fn discovery(written: &Scrape) -> Result<Vec<Discovery>, String> {
    let mut out = Vec::new();
    if !written.static_configs.is_empty() {
        for target in written
            .static_configs
            .iter()
            .flat_map(|group| &group.targets)
        {
            if target.contains('/') {
                return Err(format!("{} is not a valid hostname", quote(target)));
            }
        }
        out.push(Discovery::Static(written.static_configs.clone()));
    }
    out.extend(written.file_sd_configs.iter().cloned().map(Discovery::File));
    out.extend(written.http_sd_configs.iter().cloned().map(Discovery::Http));
    for dns in &written.dns_sd_configs {
        let kind = dns.r#type.as_deref().unwrap_or("SRV").to_uppercase();
        if dns.names.is_empty() {
            return Err("DNS-SD config must contain at least one SRV record name".to_owned());
        }
        match kind.as_str() {
            "A" | "AAAA" if dns.port.is_none() => {
                return Err(format!(
                    "a port is required in DNS-SD configs for type {kind}"
                ));
            }
            "A" | "AAAA" => {}
            _ => return Err(format!("dns_sd_configs of type {kind} is not supported")),
        }
        out.push(Discovery::Dns(dns.clone()));
    }
    out.extend(
        written
            .kubernetes_sd_configs
            .iter()
            .cloned()
            .map(Discovery::Kubernetes),
    );
    Ok(out)
}

fn http(written: &Scrape, directory: &Path) -> Result<Http, String> {
    let tokens = [
        written.bearer_token.is_some() || written.bearer_token_file.is_some(),
        written.basic_auth.is_some(),
        written.authorization.is_some(),
    ];
    if tokens.iter().filter(|given| **given).count() > 1 {
        return Err(
            "at most one of basic_auth, oauth2 & authorization must be configured".to_owned(),
        );
    }
    let both = written.bearer_token.is_some() && written.bearer_token_file.is_some();
    if both {
        let words = "at most one of bearer_token & bearer_token_file must be configured";
        return Err(words.to_owned());
    }
    let authorization = match tokens[0] {
        true => Some(Authorization {
            r#type: None,
            credentials: written.bearer_token.clone(),
            credentials_file: written.bearer_token_file.clone(),
        }),
        false => written.authorization.clone(),
    };
    let basic = authorization.as_ref().and_then(|own| own.r#type.as_deref());
    if basic.is_some_and(|kind| kind.eq_ignore_ascii_case("basic")) {
        let words = "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
        return Err(words.to_owned());
    }
    let tls = written.tls_config.clone().unwrap_or_default();
    if tls.min_version.is_some() || tls.max_version.is_some() {
        return Err("min_version and max_version of tls_config are not supported".to_owned());
    }
    let certificate = tls.cert.is_some() || tls.cert_file.is_some();
    if certificate != (tls.key.is_some() || tls.key_file.is_some()) {
        let words = "exactly one of key or key_file must be configured when a client certificate \
                     is configured";
        return Err(words.to_owned());
    }
    let mut headers = Vec::new();
    for (name, values) in written.http_headers.iter().flatten() {
        if !values.files.is_empty() {
            return Err("files of http_headers are not supported".to_owned());
        }
        let all = values.values.iter().chain(&values.secrets);
        headers.extend(all.map(|value| (name.clone(), value.clone())));
    }
    Ok(Http {
        basic_auth: written.basic_auth.clone(),
        authorization,
        tls,
        follow_redirects: written.follow_redirects.unwrap_or(true),
        headers,
        directory: directory.to_owned(),
        guarded: false,
    })
}

/// A number of bytes such as `10MB` or `1KiB`, all of them powers of 1024, as upstream has it.
fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("not a valid size: {}", quote(text));
    if text == "0" {
        return Ok(0);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(invalid)?;
    let number: f64 = text[..end].parse().map_err(|_| invalid())?;
    let unit = text[end..].trim_end_matches("iB").trim_end_matches('B');
    let power = ["", "K", "M", "G", "T", "P", "E"]
        .iter()
        .position(|known| *known == unit);
    let scale = 1024f64.powi(i32::try_from(power.ok_or_else(invalid)?).unwrap_or(0));
    Ok((number * scale) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Job>, ConfigError> {
        parse(text, Path::new("."))
    }

    #[test]
    fn the_file_that_comes_with_prometheus() {
        let jobs = read(
            r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
alerting:
  alertmanagers:
    - static_configs:
        - targets: []
rule_files:
  - "first.yml"
scrape_configs:
  - job_name: "prometheus"
    static_configs:
      - targets: ["localhost:9090"]
        labels:
          app: "prometheus"
  - job_name: pods
    scrape_timeout: 5s
    body_size_limit: 2MB
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: true
"#,
        )
        .unwrap();
        assert_eq!((jobs[0].interval_ms, jobs[0].timeout_ms), (15_000, 10_000));
        assert_eq!(
            (jobs[1].timeout_ms, jobs[1].limits.body_bytes),
            (5_000, 2 << 20)
        );
        assert_eq!(jobs[1].relabel.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = read("scrape_configs:\n  - job_name: a\n    scrape_intervall: 5s\n");
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("scrape_intervall") && error.contains("line 3"),
            "{error}"
        );
        for (text, words) in [
            ("- job_name: a\n- job_name: a", "multiple scrape configs"),
            (
                "- job_name: a\n  scrape_timeout: 2m",
                "timeout greater than",
            ),
            ("- job_name: a\n  oauth2: {}", "oauth2 is not supported"),
            (
                "- job_name: a\n  static_configs: [{targets: ['http://x/']}]",
                "valid hostname",
            ),
            (
                "- job_name: a\n  relabel_configs: [{action: hashmod}]",
                "non-zero modulus",
            ),
            (
                "- job_name: a\n  relabel_configs: [{regex: '('}]",
                "target_label",
            ),
            ("- job_name: ''", "job_name is empty"),
        ] {
            let text = format!("scrape_configs:\n{text}\n");
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
