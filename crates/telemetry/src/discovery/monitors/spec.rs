//! What monitors may say, as far as it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::scrape::relabel::Action;
use crate::scrape::written::Attach;
use crate::wire::Protocol;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct KeyOf {
    pub(super) name: String,
    pub(super) key: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Either {
    pub(super) secret: Option<KeyOf>,
    pub(super) config_map: Option<KeyOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TlsOf {
    pub(super) ca: Either,
    pub(super) cert: Either,
    pub(super) key_secret: Option<KeyOf>,
    pub(super) server_name: Option<String>,
    pub(super) insecure_skip_verify: bool,
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BasicAuthOf {
    pub(super) username: Option<KeyOf>,
    pub(super) password: Option<KeyOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthorizationOf {
    pub(super) r#type: Option<String>,
    pub(super) credentials: Option<KeyOf>,
}

/// What every kind of endpoint may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) port: Option<String>,
    pub(super) target_port: Option<Json>,
    pub(super) port_number: Option<i64>,
    pub(super) path: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) params: BTreeMap<String, Vec<String>>,
    pub(super) interval: Option<String>,
    pub(super) scrape_timeout: Option<String>,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: Option<bool>,
    pub(super) track_timestamps_staleness: bool,
    pub(super) relabelings: Vec<RelabelOf>,
    pub(super) metric_relabelings: Vec<RelabelOf>,
    pub(super) basic_auth: Option<BasicAuthOf>,
    pub(super) authorization: Option<AuthorizationOf>,
    pub(super) bearer_token_secret: Option<KeyOf>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<TlsOf>,
    pub(super) oauth2: Option<Json>,
    pub(super) proxy_url: Option<String>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) filter_running: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RelabelOf {
    pub(super) source_labels: Option<Vec<String>>,
    pub(super) separator: Option<String>,
    pub(super) target_label: Option<String>,
    pub(super) regex: Option<String>,
    pub(super) modulus: Option<u64>,
    pub(super) replacement: Option<String>,
    pub(super) action: Option<Action>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NamespaceSelector {
    pub(super) any: bool,
    pub(super) match_names: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LabelSelector {
    pub(super) match_labels: BTreeMap<String, String>,
    pub(super) match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Expression {
    pub(super) key: String,
    pub(super) operator: String,
    pub(super) values: Vec<String>,
}

/// What the kinds have in common.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Common {
    pub(super) job_label: Option<String>,
    pub(super) target_labels: Vec<String>,
    pub(super) pod_target_labels: Vec<String>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) pod_metrics_endpoints: Vec<Endpoint>,
    pub(super) selector: LabelSelector,
    pub(super) namespace_selector: NamespaceSelector,
    pub(super) sample_limit: u64,
    pub(super) target_limit: u64,
    pub(super) label_limit: u64,
    pub(super) label_name_length_limit: u64,
    pub(super) label_value_length_limit: u64,
    pub(super) keep_dropped_targets: u64,
    pub(super) body_size_limit: Option<String>,
    pub(super) attach_metadata: Attach,
    pub(super) scrape_protocols: Option<Vec<Protocol>>,
    pub(super) fallback_scrape_protocol: Option<Protocol>,
    pub(super) scrape_native_histograms: Option<bool>,
    pub(super) scrape_classic_histograms: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProbeSpec {
    pub(super) job_name: Option<String>,
    pub(super) prober: Prober,
    pub(super) module: Option<String>,
    pub(super) targets: ProbeTargets,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Prober {
    pub(super) url: String,
    pub(super) scheme: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProbeTargets {
    pub(super) static_config: Option<StaticTargets>,
    pub(super) ingress: Option<IngressTargets>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct StaticTargets {
    pub(super) r#static: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) relabeling_configs: Vec<RelabelOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct IngressTargets {
    pub(super) selector: LabelSelector,
    pub(super) namespace_selector: NamespaceSelector,
    pub(super) relabeling_configs: Vec<RelabelOf>,
}
