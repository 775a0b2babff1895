//! Probes: targets that somebody else asks.

use kube::ResourceExt;

use super::rules::{copies, discovery, rules, selection, sets};
use super::spec::{Common, Endpoint, ProbeSpec};
use super::{Jobs, Making, Probe, Values};
use crate::scrape::config::{self, Job};
use crate::scrape::relabel::Written;
use crate::scrape::written::{Attach, Role, Static};

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
