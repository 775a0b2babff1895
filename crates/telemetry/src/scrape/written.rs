//! A `prometheus.yml` as people write it. What is not known here is an error with its line.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::relabel;
use crate::wire::Protocol;
use crate::wire::negotiate::Escaping;

/// A file; the parts that are no business of collection are taken as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) global: Global,
    pub(crate) scrape_configs: Option<Vec<Scrape>>,
    pub(crate) scrape_config_files: Option<Vec<String>>,
    #[serde(rename = "rule_files")]
    _rule_files: Option<Vec<String>>,
    #[serde(rename = "runtime")]
    _runtime: Option<serde_json::Value>,
    #[serde(rename = "alerting")]
    _alerting: Option<serde_json::Value>,
    #[serde(rename = "storage")]
    _storage: Option<serde_json::Value>,
    #[serde(rename = "tracing")]
    _tracing: Option<serde_json::Value>,
    #[serde(rename = "remote_write")]
    _remote_write: Option<serde_json::Value>,
    #[serde(rename = "remote_read")]
    _remote_read: Option<serde_json::Value>,
    #[serde(rename = "otlp")]
    _otlp: Option<serde_json::Value>,
}

/// What holds for every job that does not say otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Global {
    pub(crate) scrape_interval: Option<String>,
    pub(crate) scrape_timeout: Option<String>,
    pub(crate) scrape_protocols: Option<Vec<Protocol>>,
    #[serde(rename = "evaluation_interval")]
    _evaluation_interval: Option<String>,
    #[serde(rename = "rule_query_offset")]
    _rule_query_offset: Option<String>,
    #[serde(rename = "query_log_file")]
    _query_log_file: Option<String>,
    #[serde(rename = "external_labels")]
    _external_labels: Option<BTreeMap<String, String>>,
    pub(crate) scrape_failure_log_file: Option<String>,
    pub(crate) body_size_limit: Option<String>,
    pub(crate) sample_limit: u64,
    pub(crate) target_limit: u64,
    pub(crate) label_limit: u64,
    pub(crate) label_name_length_limit: u64,
    pub(crate) label_value_length_limit: u64,
    pub(crate) keep_dropped_targets: u64,
    pub(crate) metric_name_validation_scheme: Option<Names>,
    pub(crate) metric_name_escaping_scheme: Option<Escaping>,
    pub(crate) scrape_native_histograms: Option<bool>,
    pub(crate) convert_classic_histograms_to_nhcb: bool,
    pub(crate) always_scrape_classic_histograms: bool,
    pub(crate) extra_scrape_metrics: Option<bool>,
}

/// Which names metrics and labels may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Any text.
    #[default]
    Utf8,
    /// Letters, digits, underscores, in metrics colons.
    Legacy,
}

/// One entry of `scrape_configs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Scrape {
    pub(crate) job_name: String,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: Option<bool>,
    pub(crate) track_timestamps_staleness: bool,
    pub(crate) params: BTreeMap<String, Vec<String>>,
    pub(crate) scrape_interval: Option<String>,
    pub(crate) scrape_timeout: Option<String>,
    pub(crate) scrape_protocols: Option<Vec<Protocol>>,
    pub(crate) fallback_scrape_protocol: Option<Protocol>,
    pub(crate) scrape_native_histograms: Option<bool>,
    pub(crate) always_scrape_classic_histograms: Option<bool>,
    pub(crate) convert_classic_histograms_to_nhcb: Option<bool>,
    pub(crate) scrape_failure_log_file: Option<String>,
    pub(crate) metrics_path: Option<String>,
    pub(crate) scheme: Option<String>,
    pub(crate) enable_compression: Option<bool>,
    pub(crate) body_size_limit: Option<String>,
    pub(crate) sample_limit: u64,
    pub(crate) target_limit: u64,
    pub(crate) label_limit: u64,
    pub(crate) label_name_length_limit: u64,
    pub(crate) label_value_length_limit: u64,
    pub(crate) native_histogram_bucket_limit: u64,
    pub(crate) native_histogram_min_bucket_factor: f64,
    pub(crate) keep_dropped_targets: u64,
    pub(crate) metric_name_validation_scheme: Option<Names>,
    pub(crate) metric_name_escaping_scheme: Option<Escaping>,
    pub(crate) extra_scrape_metrics: Option<bool>,
    pub(crate) relabel_configs: Vec<relabel::Written>,
    pub(crate) metric_relabel_configs: Vec<relabel::Written>,

    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) oauth2: Option<serde_json::Value>,
    pub(crate) bearer_token: Option<String>,
    pub(crate) bearer_token_file: Option<String>,
    pub(crate) tls_config: Option<Tls>,
    pub(crate) follow_redirects: Option<bool>,
    pub(crate) enable_http2: Option<bool>,
    pub(crate) proxy_url: Option<String>,
    pub(crate) no_proxy: Option<String>,
    pub(crate) proxy_from_environment: Option<bool>,
    pub(crate) proxy_connect_header: Option<serde_json::Value>,
    pub(crate) http_headers: Option<BTreeMap<String, HeaderValues>>,

    pub(crate) static_configs: Vec<Static>,
    pub(crate) file_sd_configs: Vec<FileDiscovery>,
    pub(crate) http_sd_configs: Vec<HttpDiscovery>,
    pub(crate) dns_sd_configs: Vec<DnsDiscovery>,
    pub(crate) kubernetes_sd_configs: Vec<KubernetesDiscovery>,
}

/// `basic_auth`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BasicAuth {
    pub(crate) username: String,
    pub(crate) username_file: Option<String>,
    pub(crate) password: String,
    pub(crate) password_file: Option<String>,
}

/// `authorization`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Authorization {
    pub(crate) r#type: Option<String>,
    pub(crate) credentials: Option<String>,
    pub(crate) credentials_file: Option<String>,
}

/// `tls_config`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) ca: Option<String>,
    pub(crate) ca_file: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) min_version: Option<String>,
    pub(crate) max_version: Option<String>,
}

/// One header of `http_headers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HeaderValues {
    pub(crate) values: Vec<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) files: Vec<String>,
}

/// One entry of `static_configs`, of a file and of an answer of `http_sd`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Static {
    /// Addresses.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
}

/// `file_sd_configs`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileDiscovery {
    /// Paths; in the last part of one a `*` may stand.
    pub files: Vec<String>,
    /// How often they are looked at beside the moments when they change.
    pub refresh_interval: Option<String>,
}

/// `http_sd_configs`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpDiscovery {
    /// What is asked.
    pub url: String,
    /// How often.
    pub refresh_interval: Option<String>,
}

/// `dns_sd_configs`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsDiscovery {
    /// Names that are asked for.
    pub names: Vec<String>,
    /// `SRV` unless said otherwise, `A`, `AAAA`, `MX`, `NS`.
    pub r#type: Option<String>,
    /// Port of addresses.
    pub port: Option<u16>,
    /// How often.
    pub refresh_interval: Option<String>,
}

/// What kind of object targets are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nodes.
    Node,
    /// Ports of pods.
    Pod,
    /// Ports of services.
    Service,
    /// Addresses of endpoints.
    Endpoints,
    /// Addresses of endpoint slices.
    EndpointSlice,
    /// Paths of ingresses.
    Ingress,
}

/// `kubernetes_sd_configs`, of the cluster that this server belongs to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesDiscovery {
    /// What kind of object.
    pub role: Role,
    /// In which namespaces; in all unless said.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// Which objects.
    #[serde(default)]
    pub selectors: Vec<Selector>,
    /// What is told beside the object itself.
    #[serde(default)]
    pub attach_metadata: Attach,
    /// Another cluster; refused.
    #[serde(default)]
    pub api_server: Option<String>,
    /// Another cluster; refused.
    #[serde(default)]
    pub kubeconfig_file: Option<String>,
}

/// Namespaces by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// The one of this server; there is none.
    pub own_namespace: bool,
    /// Their names.
    pub names: Vec<String>,
}

/// Which objects of a role.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Of this role.
    pub role: Role,
    /// By labels.
    #[serde(default)]
    pub label: Option<String>,
    /// By fields; refused.
    #[serde(default)]
    pub field: Option<String>,
}

/// What is told beside the object itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attach {
    /// Labels and annotations of the node.
    pub node: bool,
    /// Labels and annotations of the namespace; refused.
    pub namespace: bool,
}
