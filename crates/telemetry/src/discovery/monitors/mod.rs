//! `ServiceMonitor`, `PodMonitor` and `Probe` of `monitoring.coreos.com/v1` become jobs, with the
//! names and the labels that prometheus-operator gives them.
//!
//! What asks for something that is not done here makes no job: it is said, and nothing is scraped
//! in another way than was asked. Credentials come from Secrets of the monitor's own namespace.

mod probe;
mod rules;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::Value as Json;

use crate::scrape::config::{self, Job};
use crate::scrape::relabel::Written;
use crate::scrape::written::{Authorization, BasicAuth, Global, Namespaces, Role, Scrape, Tls};

use crate::discovery::plain;
use crate::operator::{PodMonitor, Probe, ServiceMonitor};
pub use probe::probe;
use rules::{
    copies, copies_some, discovery, labels, named_port, port, rules, running, selection, sets,
};
use spec::{Common, Either, Endpoint, KeyOf, NamespaceSelector};

/// How often is scraped what does not say how often, as prometheus-operator does it.
const INTERVAL: &str = "30s";

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
        let mut global = Global::default();
        global.scrape_interval = Some(INTERVAL.into());
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

#[cfg(test)]
mod tests;
