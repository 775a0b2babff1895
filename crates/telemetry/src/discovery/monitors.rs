//! `ServiceMonitor`, `PodMonitor` and `Probe` of `monitoring.coreos.com/v1` become jobs, with the
//! names and the labels that prometheus-operator gives them.
//!
//! What asks for something that is not done here makes no job: it is said, and nothing is scraped
//! in another way than was asked. Credentials come from Secrets of the monitor's own namespace.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::scrape::config::{self, Job};
use crate::scrape::relabel::{Action, Written};
use crate::scrape::written::{
    Attach, Authorization, BasicAuth, Global, KubernetesDiscovery, Namespaces, Role, Scrape,
    Static, Tls,
};
use crate::wire::Protocol;

macro_rules! monitor {
    ($name:ident, $plural:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Default, Deserialize)]
        pub struct $name {
            /// Its name and place.
            pub metadata: ObjectMeta,
            /// As it was written.
            #[serde(default)]
            pub spec: Json,
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                stringify!($name).into()
            }

            fn group(_: &()) -> Cow<'_, str> {
                GROUP.into()
            }

            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

const GROUP: &str = "monitoring.coreos.com";

monitor!(
    ServiceMonitor,
    "servicemonitors",
    "Targets behind services."
);
monitor!(PodMonitor, "podmonitors", "Targets in pods.");
monitor!(Probe, "probes", "Addresses that another program looks at.");

/// The definitions of these kinds, without schemas of their own.
pub fn definitions() -> Vec<Json> {
    let kinds = [
        ("ServiceMonitor", "servicemonitors", "smon"),
        ("PodMonitor", "podmonitors", "pmon"),
        ("Probe", "probes", "prb"),
    ];
    let definition = |(kind, plural, short): (&str, &str, &str)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": kind,
                    "listKind": format!("{kind}List"),
                    "plural": plural,
                    "singular": kind.to_lowercase(),
                    "shortNames": [short],
                    "categories": ["prometheus-operator"],
                },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {"spec": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                        }},
                    }},
                }],
            },
        })
    };
    kinds.into_iter().map(definition).collect()
}

/// A value in a Secret or a ConfigMap of the monitor's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Of a ConfigMap, not of a Secret.
    pub config_map: bool,
    /// Namespace.
    pub namespace: String,
    /// Object.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// What references stand for.
pub type Values = BTreeMap<Reference, String>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KeyOf {
    name: String,
    key: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Either {
    secret: Option<KeyOf>,
    config_map: Option<KeyOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TlsOf {
    ca: Either,
    cert: Either,
    key_secret: Option<KeyOf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BasicAuthOf {
    username: Option<KeyOf>,
    password: Option<KeyOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AuthorizationOf {
    r#type: Option<String>,
    credentials: Option<KeyOf>,
}

/// What every kind of endpoint may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    port: Option<String>,
    target_port: Option<Json>,
    port_number: Option<i64>,
    path: Option<String>,
    scheme: Option<String>,
    params: BTreeMap<String, Vec<String>>,
    interval: Option<String>,
    scrape_timeout: Option<String>,
    honor_labels: bool,
    honor_timestamps: Option<bool>,
    track_timestamps_staleness: bool,
    relabelings: Vec<RelabelOf>,
    metric_relabelings: Vec<RelabelOf>,
    basic_auth: Option<BasicAuthOf>,
    authorization: Option<AuthorizationOf>,
    bearer_token_secret: Option<KeyOf>,
    bearer_token_file: Option<String>,
    tls_config: Option<TlsOf>,
    oauth2: Option<Json>,
    proxy_url: Option<String>,
    follow_redirects: Option<bool>,
    filter_running: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct RelabelOf {
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    target_label: Option<String>,
    regex: Option<String>,
    modulus: Option<u64>,
    replacement: Option<String>,
    action: Option<Action>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NamespaceSelector {
    any: bool,
    match_names: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

/// What the kinds have in common.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Common {
    job_label: Option<String>,
    target_labels: Vec<String>,
    pod_target_labels: Vec<String>,
    endpoints: Vec<Endpoint>,
    pod_metrics_endpoints: Vec<Endpoint>,
    selector: LabelSelector,
    namespace_selector: NamespaceSelector,
    sample_limit: u64,
    target_limit: u64,
    label_limit: u64,
    label_name_length_limit: u64,
    label_value_length_limit: u64,
    keep_dropped_targets: u64,
    body_size_limit: Option<String>,
    attach_metadata: Attach,
    scrape_protocols: Option<Vec<Protocol>>,
    fallback_scrape_protocol: Option<Protocol>,
    scrape_native_histograms: Option<bool>,
    scrape_classic_histograms: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProbeSpec {
    job_name: Option<String>,
    prober: Prober,
    module: Option<String>,
    targets: ProbeTargets,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Prober {
    url: String,
    scheme: Option<String>,
    path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProbeTargets {
    static_config: Option<StaticTargets>,
    ingress: Option<IngressTargets>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StaticTargets {
    r#static: Vec<String>,
    labels: BTreeMap<String, String>,
    relabeling_configs: Vec<RelabelOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IngressTargets {
    selector: LabelSelector,
    namespace_selector: NamespaceSelector,
    relabeling_configs: Vec<RelabelOf>,
}

/// The values in Secrets and ConfigMaps that a monitor needs.
pub fn references(meta: &ObjectMeta, spec: &Json) -> BTreeSet<Reference> {
    let namespace = meta.namespace.clone().unwrap_or_default();
    let common: Common = serde_json::from_value(spec.clone()).unwrap_or_default();
    let whole: Endpoint = serde_json::from_value(spec.clone()).unwrap_or_default();
    let endpoints = common.endpoints.iter().chain(&common.pod_metrics_endpoints);
    let mut out = BTreeSet::new();
    for endpoint in endpoints.chain([&whole]) {
        let tls = endpoint.tls_config.clone().unwrap_or_default();
        let basic = endpoint.basic_auth.clone().unwrap_or_default();
        let token = endpoint
            .authorization
            .clone()
            .and_then(|own| own.credentials);
        let secrets = [
            basic.username,
            basic.password,
            token,
            endpoint.bearer_token_secret.clone(),
            tls.key_secret,
            tls.ca.secret,
            tls.cert.secret,
        ];
        let maps = [tls.ca.config_map, tls.cert.config_map];
        let named = |own: &KeyOf| !own.name.is_empty();
        for (config_map, own) in secrets
            .into_iter()
            .map(|own| (false, own))
            .chain(maps.into_iter().map(|own| (true, own)))
        {
            if let Some(KeyOf { name, key }) = own.filter(named) {
                let namespace = namespace.clone();
                out.insert(Reference {
                    config_map,
                    namespace,
                    name,
                    key,
                });
            }
        }
    }
    out
}

/// Makes one job of one endpoint.
struct Making<'a> {
    namespace: String,
    values: &'a Values,
}

impl Making<'_> {
    fn value(&self, own: Option<&KeyOf>, config_map: bool) -> Result<Option<String>, String> {
        let Some(own) = own.filter(|own| !own.name.is_empty()) else {
            return Ok(None);
        };
        let reference = Reference {
            config_map,
            namespace: self.namespace.clone(),
            name: own.name.clone(),
            key: own.key.clone(),
        };
        let missing = || {
            let what = if config_map { "config map" } else { "secret" };
            format!(
                "{what} {}/{} has no key {}",
                self.namespace, own.name, own.key
            )
        };
        self.values
            .get(&reference)
            .cloned()
            .map(Some)
            .ok_or_else(missing)
    }

    fn either(&self, own: &Either) -> Result<Option<String>, String> {
        match self.value(own.secret.as_ref(), false)? {
            Some(text) => Ok(Some(text)),
            None => self.value(own.config_map.as_ref(), true),
        }
    }

    fn base(&self, common: &Common, endpoint: &Endpoint) -> Result<Scrape, String> {
        let tls = endpoint.tls_config.clone().unwrap_or_default();
        let files = [
            &endpoint.bearer_token_file,
            &tls.ca_file,
            &tls.cert_file,
            &tls.key_file,
        ];
        if files
            .iter()
            .any(|file| file.as_ref().is_some_and(|file| !file.is_empty()))
        {
            return Err("files of the server cannot be read by a monitor; use a Secret".to_owned());
        }
        if endpoint.oauth2.is_some() || endpoint.proxy_url.is_some() {
            return Err("oauth2 and proxyUrl are not supported".to_owned());
        }
        let secret = |own: Option<&KeyOf>| self.value(own, false);
        let basic_auth = match &endpoint.basic_auth {
            Some(own) => Some(BasicAuth {
                username: secret(own.username.as_ref())?.unwrap_or_default(),
                password: secret(own.password.as_ref())?.unwrap_or_default(),
                ..BasicAuth::default()
            }),
            None => None,
        };
        let authorization = match &endpoint.authorization {
            Some(own) => Some(Authorization {
                r#type: own.r#type.clone(),
                credentials: secret(own.credentials.as_ref())?,
                credentials_file: None,
            }),
            None => None,
        };
        Ok(Scrape {
            honor_labels: endpoint.honor_labels,
            honor_timestamps: endpoint.honor_timestamps,
            track_timestamps_staleness: endpoint.track_timestamps_staleness,
            params: endpoint.params.clone(),
            scrape_interval: endpoint.interval.clone().filter(|text| !text.is_empty()),
            scrape_timeout: endpoint
                .scrape_timeout
                .clone()
                .filter(|text| !text.is_empty()),
            scrape_protocols: common.scrape_protocols.clone(),
            fallback_scrape_protocol: common.fallback_scrape_protocol,
            scrape_native_histograms: common.scrape_native_histograms,
            always_scrape_classic_histograms: common.scrape_classic_histograms,
            metrics_path: endpoint.path.clone().filter(|text| !text.is_empty()),
            scheme: endpoint.scheme.clone().map(|scheme| scheme.to_lowercase()),
            body_size_limit: common
                .body_size_limit
                .clone()
                .filter(|text| !text.is_empty()),
            sample_limit: common.sample_limit,
            target_limit: common.target_limit,
            label_limit: common.label_limit,
            label_name_length_limit: common.label_name_length_limit,
            label_value_length_limit: common.label_value_length_limit,
            keep_dropped_targets: common.keep_dropped_targets,
            basic_auth,
            authorization,
            bearer_token: secret(endpoint.bearer_token_secret.as_ref())?,
            tls_config: Some(Tls {
                ca: self.either(&tls.ca)?,
                cert: self.either(&tls.cert)?,
                key: secret(tls.key_secret.as_ref())?,
                server_name: tls.server_name.clone(),
                insecure_skip_verify: tls.insecure_skip_verify,
                ..Tls::default()
            }),
            follow_redirects: endpoint.follow_redirects,
            metric_relabel_configs: rules(&endpoint.metric_relabelings),
            ..Scrape::default()
        })
    }

    fn finish(&self, written: Scrape) -> Result<Job, String> {
        let global = Global::default();
        let mut job = config::job(written, &global, std::path::Path::new("/"))?;
        // Who writes monitors is not who runs this server.
        job.http.guarded = true;
        Ok(job)
    }

    fn namespaces(&self, own: &NamespaceSelector) -> Namespaces {
        let names = match (own.any, own.match_names.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![self.namespace.clone()],
            (false, false) => own.match_names.clone(),
        };
        Namespaces {
            own_namespace: false,
            names,
        }
    }
}

fn rules(own: &[RelabelOf]) -> Vec<Written> {
    let rule = |own: &RelabelOf| Written {
        source_labels: own.source_labels.clone(),
        separator: own.separator.clone(),
        regex: own.regex.clone(),
        modulus: own.modulus,
        target_label: own.target_label.clone(),
        replacement: own.replacement.clone(),
        action: own.action.unwrap_or_default(),
    };
    own.iter().map(rule).collect()
}

fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

fn picks(action: Action, source: &[&str], regex: &str) -> Written {
    Written {
        action,
        source_labels: Some(source.iter().map(|name| (*name).to_owned()).collect()),
        regex: Some(regex.to_owned()),
        ..Written::default()
    }
}

fn copies(source: &str, target: &str) -> Written {
    Written {
        source_labels: Some(vec![source.to_owned()]),
        target_label: Some(target.to_owned()),
        ..Written::default()
    }
}

/// Copies what is not empty.
fn copies_some(source: &str, target: &str, regex: &str) -> Written {
    Written {
        separator: Some(";".to_owned()),
        regex: Some(regex.to_owned()),
        replacement: Some("${1}".to_owned()),
        ..copies(source, target)
    }
}

fn sets(target: &str, value: &str) -> Written {
    Written {
        target_label: Some(target.to_owned()),
        replacement: Some(value.to_owned()),
        ..Written::default()
    }
}

/// A selector of labels as rules over what discovery tells of an object.
fn selection(selector: &LabelSelector, role: &str) -> Result<Vec<Written>, String> {
    let mut out = Vec::new();
    let label = |name: &str| {
        let name = plain(name);
        let prefix = format!("__meta_kubernetes_{role}_label");
        (
            format!("{prefix}_{name}"),
            format!("{prefix}present_{name}"),
        )
    };
    for (name, value) in &selector.match_labels {
        let (value_of, present) = label(name);
        let regex = format!("({});true", regex::escape(value));
        out.push(picks(Action::Keep, &[&value_of, &present], &regex));
    }
    for own in &selector.match_expressions {
        let (value_of, present) = label(&own.key);
        let values: Vec<String> = own
            .values
            .iter()
            .map(|value| regex::escape(value))
            .collect();
        let regex = format!("({});true", values.join("|"));
        out.push(match own.operator.as_str() {
            "In" => picks(Action::Keep, &[&value_of, &present], &regex),
            "NotIn" => picks(Action::Drop, &[&value_of, &present], &regex),
            "Exists" => picks(Action::Keep, &[&present], "true"),
            "DoesNotExist" => picks(Action::Drop, &[&present], "true"),
            other => return Err(format!("operator {other} is none of a label selector")),
        });
    }
    Ok(out)
}

/// Keeps targets of the wanted port.
fn port(endpoint: &Endpoint, named: &str) -> Option<Written> {
    let name = endpoint.port.as_deref().filter(|port| !port.is_empty());
    let keep = |source: &str, regex: String| Some(picks(Action::Keep, &[source], &regex));
    if let Some(name) = name {
        return keep(named, regex::escape(name));
    }
    match (&endpoint.target_port, endpoint.port_number) {
        (Some(Json::String(name)), _) if !name.is_empty() => keep(
            "__meta_kubernetes_pod_container_port_name",
            regex::escape(name),
        ),
        (Some(Json::Number(number)), _) => keep(
            "__meta_kubernetes_pod_container_port_number",
            number.to_string(),
        ),
        (_, Some(number)) => keep(
            "__meta_kubernetes_pod_container_port_number",
            number.to_string(),
        ),
        _ => None,
    }
}

fn discovery(role: Role, namespaces: Namespaces, attach_metadata: Attach) -> KubernetesDiscovery {
    KubernetesDiscovery {
        role,
        namespaces,
        selectors: Vec::new(),
        attach_metadata,
        api_server: None,
        kubeconfig_file: None,
    }
}

fn running(endpoint: &Endpoint) -> Option<Written> {
    let wanted = endpoint.filter_running.unwrap_or(true);
    wanted.then(|| {
        picks(
            Action::Drop,
            &["__meta_kubernetes_pod_phase"],
            "(Failed|Succeeded)",
        )
    })
}

/// Jobs of a monitor, one per endpoint, each with what is wrong with it where something is.
pub type Jobs = Vec<Result<Job, String>>;

/// The jobs of a `ServiceMonitor`.
pub fn service_monitor(monitor: &ServiceMonitor, values: &Values) -> Jobs {
    let spec: Common = match serde_json::from_value(monitor.spec.clone()) {
        Ok(spec) => spec,
        Err(error) => return vec![Err(error.to_string())],
    };
    let namespace = monitor.namespace().unwrap_or_default();
    let making = Making { namespace, values };
    let jobs = spec.endpoints.iter().enumerate().map(|(at, endpoint)| {
        let mut written = making.base(&spec, endpoint)?;
        written.job_name = format!(
            "serviceMonitor/{}/{}/{at}",
            making.namespace,
            monitor.name_any()
        );
        let namespaces = making.namespaces(&spec.namespace_selector);
        written.kubernetes_sd_configs =
            vec![discovery(Role::Endpoints, namespaces, spec.attach_metadata)];
        let mut rules = vec![copies("job", "__tmp_prometheus_job_name")];
        rules.extend(selection(&spec.selector, "service")?);
        rules.extend(port(endpoint, "__meta_kubernetes_endpoint_port_name"));
        for (kind, label) in [("Node", "node"), ("Pod", "pod")] {
            let prefix = "__meta_kubernetes_endpoint_address_target";
            rules.push(Written {
                source_labels: Some(vec![format!("{prefix}_kind"), format!("{prefix}_name")]),
                ..copies_some("", label, &format!("{kind};(.*)"))
            });
        }
        for (source, target) in [
            ("namespace", "namespace"),
            ("service_name", "service"),
            ("pod_name", "pod"),
            ("pod_container_name", "container"),
        ] {
            rules.push(copies(&format!("__meta_kubernetes_{source}"), target));
        }
        rules.extend(running(endpoint));
        labels(&mut rules, &spec.target_labels, "service");
        labels(&mut rules, &spec.pod_target_labels, "pod");
        rules.push(copies_some("__meta_kubernetes_service_name", "job", "(.*)"));
        if let Some(label) = spec.job_label.as_deref().filter(|label| !label.is_empty()) {
            let source = format!("__meta_kubernetes_service_label_{}", plain(label));
            rules.push(copies_some(&source, "job", "(.+)"));
        }
        named_port(&mut rules, endpoint);
        rules.extend(self::rules(&endpoint.relabelings));
        written.relabel_configs = rules;
        making.finish(written)
    });
    jobs.collect()
}

/// The jobs of a `PodMonitor`.
pub fn pod_monitor(monitor: &PodMonitor, values: &Values) -> Jobs {
    let spec: Common = match serde_json::from_value(monitor.spec.clone()) {
        Ok(spec) => spec,
        Err(error) => return vec![Err(error.to_string())],
    };
    let namespace = monitor.namespace().unwrap_or_default();
    let making = Making { namespace, values };
    let jobs = spec
        .pod_metrics_endpoints
        .iter()
        .enumerate()
        .map(|(at, endpoint)| {
            let mut written = making.base(&spec, endpoint)?;
            let name = monitor.name_any();
            written.job_name = format!("podMonitor/{}/{name}/{at}", making.namespace);
            let namespaces = making.namespaces(&spec.namespace_selector);
            written.kubernetes_sd_configs =
                vec![discovery(Role::Pod, namespaces, spec.attach_metadata)];
            let mut rules = vec![copies("job", "__tmp_prometheus_job_name")];
            rules.extend(running(endpoint));
            rules.extend(selection(&spec.selector, "pod")?);
            rules.extend(port(endpoint, "__meta_kubernetes_pod_container_port_name"));
            for (source, target) in [
                ("namespace", "namespace"),
                ("pod_container_name", "container"),
                ("pod_name", "pod"),
            ] {
                rules.push(copies(&format!("__meta_kubernetes_{source}"), target));
            }
            labels(&mut rules, &spec.pod_target_labels, "pod");
            rules.push(sets("job", &format!("{}/{name}", making.namespace)));
            if let Some(label) = spec.job_label.as_deref().filter(|label| !label.is_empty()) {
                let source = format!("__meta_kubernetes_pod_label_{}", plain(label));
                rules.push(copies_some(&source, "job", "(.+)"));
            }
            named_port(&mut rules, endpoint);
            rules.extend(self::rules(&endpoint.relabelings));
            written.relabel_configs = rules;
            making.finish(written)
        });
    jobs.collect()
}

fn labels(rules: &mut Vec<Written>, names: &[String], role: &str) {
    for name in names {
        let name = plain(name);
        let source = format!("__meta_kubernetes_{role}_label_{name}");
        rules.push(copies_some(&source, &name, "(.+)"));
    }
}

fn named_port(rules: &mut Vec<Written>, endpoint: &Endpoint) {
    let target = match &endpoint.target_port {
        Some(Json::String(name)) => Some(name.clone()),
        Some(Json::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let name = endpoint
        .port
        .clone()
        .filter(|port| !port.is_empty())
        .or(target);
    if let Some(name) = name {
        rules.push(sets("endpoint", &name));
    }
}

/// The job of a `Probe`.
pub fn probe(probe: &Probe, values: &Values) -> Jobs {
    let parse = || -> Result<(Common, Endpoint, ProbeSpec), serde_json::Error> {
        let spec = &probe.spec;
        Ok((
            serde_json::from_value(spec.clone())?,
            serde_json::from_value(spec.clone())?,
            serde_json::from_value(spec.clone())?,
        ))
    };
    let (common, endpoint, spec) = match parse() {
        Ok(parts) => parts,
        Err(error) => return vec![Err(error.to_string())],
    };
    let namespace = probe.namespace().unwrap_or_default();
    let making = Making { namespace, values };
    vec![probe_job(probe, &making, &common, &endpoint, spec)]
}

fn probe_job(
    probe: &Probe,
    making: &Making<'_>,
    common: &Common,
    endpoint: &Endpoint,
    spec: ProbeSpec,
) -> Result<Job, String> {
    let mut written = making.base(common, endpoint)?;
    let namespace = &making.namespace;
    written.job_name = format!("probe/{namespace}/{}", probe.name_any());
    if spec.prober.url.is_empty() {
        return Err("prober.url is empty".to_owned());
    }
    written.metrics_path = Some(
        spec.prober
            .path
            .clone()
            .unwrap_or_else(|| "/probe".to_owned()),
    );
    written.scheme = spec
        .prober
        .scheme
        .clone()
        .map(|scheme| scheme.to_lowercase());
    if let Some(module) = spec.module.filter(|module| !module.is_empty()) {
        written.params.insert("module".to_owned(), vec![module]);
    }
    let mut rules = vec![copies("job", "__tmp_prometheus_job_name")];
    if let Some(name) = spec.job_name.filter(|name| !name.is_empty()) {
        rules.push(sets("job", &name));
    }
    match (spec.targets.static_config, spec.targets.ingress) {
        (Some(own), _) => {
            let mut labels = own.labels;
            labels
                .entry("namespace".to_owned())
                .or_insert_with(|| namespace.clone());
            written.static_configs = vec![Static {
                targets: Vec::new(),
                labels,
            }];
            // Addresses that are asked for may be whole URLs, which those of targets are not.
            written.static_configs[0].targets = own.r#static;
            rules.push(copies("__address__", "__param_target"));
            rules.push(copies("__param_target", "instance"));
            rules.push(sets("__address__", &spec.prober.url));
            rules.extend(self::rules(&own.relabeling_configs));
        }
        (None, Some(own)) => {
            let namespaces = making.namespaces(&own.namespace_selector);
            written.kubernetes_sd_configs =
                vec![discovery(Role::Ingress, namespaces, Attach::default())];
            rules.extend(selection(&own.selector, "ingress")?);
            let parts = ["__meta_kubernetes_ingress_scheme", "__address__"];
            let path = "__meta_kubernetes_ingress_path";
            rules.push(Written {
                source_labels: Some(parts.into_iter().chain([path]).map(str::to_owned).collect()),
                separator: Some(";".to_owned()),
                regex: Some("(.+);(.+);(.+)".to_owned()),
                target_label: Some("__param_target".to_owned()),
                replacement: Some("${1}://${2}${3}".to_owned()),
                ..Written::default()
            });
            rules.push(copies("__meta_kubernetes_namespace", "namespace"));
            rules.push(copies("__meta_kubernetes_ingress_name", "ingress"));
            rules.push(copies("__param_target", "instance"));
            rules.push(sets("__address__", &spec.prober.url));
            rules.extend(self::rules(&own.relabeling_configs));
        }
        (None, None) => return Err("targets is empty".to_owned()),
    }
    written.relabel_configs = rules;
    let lists = std::mem::take(&mut written.static_configs);
    let mut job = making.finish(written)?;
    if !lists.is_empty() {
        job.discovery.push(config::Discovery::Static(lists));
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::relabel::Set;
    use crate::scrape::target::{Found, target};

    fn set(pairs: &[(&str, &str)]) -> Set {
        let name = |name: &str| match name.starts_with("__") || name.is_empty() {
            true => name.to_owned(),
            false => format!("__meta_kubernetes_{name}"),
        };
        pairs
            .iter()
            .map(|(own, value)| (name(own), (*value).to_owned()))
            .collect()
    }

    fn meta(namespace: &str, name: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        }
    }

    fn only(jobs: Jobs) -> Job {
        let mut jobs: Vec<Job> = jobs.into_iter().map(|job| job.unwrap()).collect();
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    fn labels(job: &Job, own: &Set) -> Option<String> {
        match target(job, own, &Set::new()) {
            Found::Target(target) => Some(format!("{} {}", target.url, target.labels)),
            Found::Dropped(_) => None,
            Found::Faulty(why) => panic!("{why}"),
        }
    }

    #[test]
    fn service_monitors() {
        let monitor = ServiceMonitor {
            metadata: meta("mon", "web"),
            spec: json!({
                "jobLabel": "app.kubernetes.io/name",
                "targetLabels": ["tier"],
                "selector": {
                    "matchLabels": {"app": "web"},
                    "matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}],
                },
                "namespaceSelector": {"matchNames": ["shop"]},
                "endpoints": [{
                    "port": "metrics", "path": "/m", "interval": "30s",
                    "authorization": {"credentials": {"name": "s", "key": "k"}},
                    "relabelings": [{"targetLabel": "added", "replacement": "yes"}],
                }],
            }),
        };
        let references = references(&monitor.metadata, &monitor.spec);
        assert_eq!(references.len(), 1);
        let missing = service_monitor(&monitor, &Values::new())
            .remove(0)
            .unwrap_err();
        assert_eq!(missing, "secret mon/s has no key k");
        let values = references
            .into_iter()
            .map(|own| (own, "t0ken".to_owned()))
            .collect();
        let job = only(service_monitor(&monitor, &values));
        assert_eq!(job.name, "serviceMonitor/mon/web/0");
        assert_eq!((job.interval_ms, job.http.guarded), (30_000, true));
        let found = [
            ("__address__", "10.0.0.1:9"),
            ("namespace", "shop"),
            ("service_name", "front"),
            ("service_label_app", "web"),
            ("service_labelpresent_app", "true"),
            ("service_label_tier", "gold"),
            ("service_label_app_kubernetes_io_name", "frontend"),
            ("endpoint_port_name", "metrics"),
            ("endpoint_address_target_kind", "Pod"),
            ("endpoint_address_target_name", "front-1"),
            ("pod_name", "front-1"),
            ("pod_phase", "Running"),
        ];
        assert_eq!(
            labels(&job, &set(&found)).unwrap(),
            "http://10.0.0.1:9/m {added=\"yes\", endpoint=\"metrics\", instance=\"10.0.0.1:9\", \
             job=\"frontend\", namespace=\"shop\", pod=\"front-1\", service=\"front\", \
             tier=\"gold\"}"
        );
        for (name, value) in [
            ("service_label_app", "other"),
            ("service_labelpresent_skip", "true"),
            ("endpoint_port_name", "http"),
            ("pod_phase", "Failed"),
        ] {
            let mut other = set(&found);
            other.insert(format!("__meta_kubernetes_{name}"), value.to_owned());
            assert_eq!(labels(&job, &other), None, "{name}");
        }
    }

    #[test]
    fn pod_monitors() {
        let monitor = PodMonitor {
            metadata: meta("shop", "pods"),
            spec: json!({"podMetricsEndpoints": [{"portNumber": 8080}], "selector": {}}),
        };
        let job = only(pod_monitor(&monitor, &Values::new()));
        let found = [
            ("__address__", "10.0.0.1:8080"),
            ("namespace", "shop"),
            ("pod_name", "p"),
            ("pod_container_name", "c"),
            ("pod_container_port_number", "8080"),
        ];
        assert_eq!(
            labels(&job, &set(&found)).unwrap(),
            "http://10.0.0.1:8080/metrics {container=\"c\", instance=\"10.0.0.1:8080\", \
             job=\"shop/pods\", namespace=\"shop\", pod=\"p\"}"
        );
    }

    #[test]
    fn probes() {
        let own = Probe {
            metadata: meta("shop", "site"),
            spec: json!({
                "jobName": "sites", "module": "http_2xx",
                "prober": {"url": "blackbox.mon.svc:9115"},
                "targets": {"staticConfig": {"static": ["https://a.b/c"], "labels": {"env": "p"}}},
            }),
        };
        let job = only(probe(&own, &Values::new()));
        let config::Discovery::Static(lists) = &job.discovery[0] else {
            panic!("a list")
        };
        let group = &crate::discovery::outside::listed("static", lists)[0];
        let Found::Target(target) = target(&job, &group.targets[0], &group.labels) else {
            panic!("a target")
        };
        assert_eq!(
            format!("{} {}", target.url, target.labels),
            "http://blackbox.mon.svc:9115/probe?module=http_2xx&target=https%3A%2F%2Fa.b%2Fc \
             {env=\"p\", instance=\"https://a.b/c\", job=\"sites\", namespace=\"shop\"}"
        );
    }

    #[test]
    fn files_of_the_server_stay_closed() {
        let monitor = ServiceMonitor {
            metadata: meta("a", "b"),
            spec: json!({"endpoints": [{"bearerTokenFile": "/etc/shadow"}], "selector": {}}),
        };
        let why = service_monitor(&monitor, &Values::new())
            .remove(0)
            .unwrap_err();
        assert!(why.contains("use a Secret"), "{why}");
    }
}
