//! A container's environment: services that exist, `envFrom`, `env` with its sources, in the
//! order and with the precedence of upstream.

use crate::expand::expand;
use crate::{quantity, resources};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret, Service,
};
use std::sync::Arc;

/// Objects that values come from.
pub(crate) trait Sources {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
}

/// What a field reference may name beyond the object.
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) pod_ip: &'a str,
    pub(crate) host_ip: &'a str,
    pub(crate) node: &'a str,
    /// Whole machine: processors in thousandths, memory bytes.
    pub(crate) machine: (i64, i64),
}

/// The environment in order; later entries win. An error keeps the container waiting.
pub(crate) fn build(
    container: &Container,
    facts: &Facts<'_>,
    sources: &dyn Sources,
    services: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut env: Vec<(String, String)> = services.to_vec();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(namespace, &reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        set(&mut env, format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secret(namespace, &reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        set(
                            &mut env,
                            format!("{prefix}{key}"),
                            String::from_utf8_lossy(&value.0).into_owned(),
                        );
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(from)) => match from_source(from, namespace, container, facts, sources)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => {
                let lookup = |name: &str| get(&env, name);
                expand(value, &lookup)
            }
            (None, None) => String::new(),
        };
        set(&mut env, var.name.clone(), value);
    }
    Ok(env)
}

pub(crate) fn get(env: &[(String, String)], name: &str) -> Option<String> {
    env.iter()
        .rev()
        .find(|(have, _)| have == name)
        .map(|(_, value)| value.clone())
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    env.retain(|(have, _)| *have != name);
    env.push((name, value));
}

fn from_source(
    from: &EnvVarSource,
    namespace: &str,
    container: &Container,
    facts: &Facts<'_>,
    sources: &dyn Sources,
) -> Result<Option<String>, String> {
    if let Some(field) = &from.field_ref {
        return field_value(&field.field_path, facts).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return resource_value(resource, container, facts).map(Some);
    }
    let missing = |optional: Option<bool>, what: String| {
        if optional == Some(true) {
            Ok(None)
        } else {
            Err(what)
        }
    };
    if let Some(key) = &from.config_map_key_ref {
        let Some(map) = sources.config_map(namespace, &key.name) else {
            return missing(key.optional, format!("configmap {:?} not found", key.name));
        };
        return match map.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(value.clone())),
            None => missing(
                key.optional,
                format!(
                    "couldn't find key {} in ConfigMap {namespace}/{}",
                    key.key, key.name
                ),
            ),
        };
    }
    if let Some(key) = &from.secret_key_ref {
        let Some(secret) = sources.secret(namespace, &key.name) else {
            return missing(key.optional, format!("secret {:?} not found", key.name));
        };
        return match secret.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => missing(
                key.optional,
                format!(
                    "couldn't find key {} in Secret {namespace}/{}",
                    key.key, key.name
                ),
            ),
        };
    }
    Err("environment variable has a source of an unsupported kind".into())
}

/// Value of a field path of the downward API.
pub(crate) fn field_value(path: &str, facts: &Facts<'_>) -> Result<String, String> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    if let Some((field, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match field {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("field {path:?} is not supported")),
        };
        return Ok(map
            .as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let map_text = |map: &Option<std::collections::BTreeMap<String, String>>| {
        let lines = map
            .iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => map_text(&meta.labels),
        "metadata.annotations" => map_text(&meta.annotations),
        "spec.nodeName" => facts.node.to_string(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_else(|| "default".into()),
        "status.podIP" | "status.podIPs" => facts.pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        _ => return Err(format!("field {path:?} is not supported")),
    })
}

/// Value of a resource reference: `limits.cpu` and so on, in units of its divisor.
pub(crate) fn resource_value(
    field: &ResourceFieldSelector,
    container: &Container,
    facts: &Facts<'_>,
) -> Result<String, String> {
    let (of, name) = field
        .resource
        .split_once('.')
        .ok_or_else(|| format!("resource {:?} is not supported", field.resource))?;
    let amount = match of {
        "limits" => resources::limit(&container.resources, name),
        "requests" => resources::request(&container.resources, name),
        _ => return Err(format!("resource {:?} is not supported", field.resource)),
    };
    let divisor = field
        .divisor
        .as_ref()
        .and_then(quantity::milli)
        .filter(|d| *d > 0);
    // An absent limit means the machine's own size.
    let milli = match (amount.as_ref().and_then(quantity::milli), of, name) {
        (Some(milli), _, _) => milli,
        (None, "limits", "cpu") => facts.machine.0,
        (None, "limits", "memory") => facts.machine.1.saturating_mul(1000),
        (None, _, _) => 0,
    };
    let divisor = divisor.unwrap_or(1000);
    Ok(((milli + divisor - 1) / divisor).to_string())
}

/// Variables of services, as containers find them when they start.
pub(crate) fn services(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for service in services {
        let (name, in_namespace) = (
            service.metadata.name.as_deref().unwrap_or(""),
            service.metadata.namespace.as_deref(),
        );
        let master = in_namespace == Some("default") && name == "kubernetes";
        if !master && (!links || in_namespace != Some(namespace)) {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec
            .cluster_ip
            .as_deref()
            .filter(|ip| !ip.is_empty() && *ip != "None")
        else {
            continue;
        };
        let upper = name.to_uppercase().replace(['-', '.'], "_");
        let ports = spec.ports.clone().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        env.push((format!("{upper}_SERVICE_HOST"), ip.to_string()));
        env.push((format!("{upper}_SERVICE_PORT"), first.port.to_string()));
        for port in &ports {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                env.push((
                    format!(
                        "{upper}_SERVICE_PORT_{}",
                        name.to_uppercase().replace('-', "_")
                    ),
                    port.port.to_string(),
                ));
            }
        }
        let url = |protocol: &str, port: i32| format!("{protocol}://{ip}:{port}");
        let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".into());
        env.push((
            format!("{upper}_PORT"),
            url(&protocol(&first.protocol).to_lowercase(), first.port),
        ));
        for port in &ports {
            let protocol = protocol(&port.protocol);
            let prefix = format!("{upper}_PORT_{}_{protocol}", port.port);
            env.push((prefix.clone(), url(&protocol.to_lowercase(), port.port)));
            env.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
            env.push((format!("{prefix}_PORT"), port.port.to_string()));
            env.push((format!("{prefix}_ADDR"), ip.to_string()));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Maps;

    impl Sources for Maps {
        fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
            let map = json!({ "metadata": {}, "data": { "k": "v", "A": "from" } });
            (name == "cm").then(|| Arc::new(serde_json::from_value(map).expect("map")))
        }

        fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
            let secret = json!({ "metadata": {}, "data": { "s": "c2VjcmV0" } });
            (name == "sec").then(|| Arc::new(serde_json::from_value(secret).expect("secret")))
        }
    }

    fn built(container: serde_json::Value) -> Result<Vec<(String, String)>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { "app": "x" } }, "spec": { "containers": [container] }
        }))
        .expect("pod");
        let facts = Facts {
            pod: &pod,
            pod_ip: "10.0.0.1",
            host_ip: "10.9.0.1",
            node: "node",
            machine: (2000, 4 << 30),
        };
        build(
            &pod.spec.as_ref().expect("spec").containers[0],
            &facts,
            &Maps,
            &[("SVC".into(), "1".into())],
        )
    }

    #[test]
    fn sources_and_precedence() {
        let env = built(json!({ "name": "c",
            "envFrom": [{ "configMapRef": { "name": "cm" }, "prefix": "P_" }, { "secretRef": { "name": "sec" } }],
            "resources": { "limits": { "memory": "64Mi" } },
            "env": [
                { "name": "A", "value": "own" }, { "name": "B", "value": "$(A)-$(SVC)-$(NONE)" },
                { "name": "C", "valueFrom": { "configMapKeyRef": { "name": "cm", "key": "k" } } },
                { "name": "D", "valueFrom": { "secretKeyRef": { "name": "sec", "key": "s" } } },
                { "name": "E", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                { "name": "F", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
                { "name": "G", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                { "name": "H", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
                { "name": "I", "valueFrom": { "configMapKeyRef": { "name": "gone", "key": "k", "optional": true } } },
            ],
        }))
        .expect("environment");
        for (name, value) in [
            ("SVC", "1"),
            ("P_k", "v"),
            ("s", "secret"),
            ("A", "own"),
            ("B", "own-1-$(NONE)"),
            ("C", "v"),
            ("D", "secret"),
            ("E", "10.0.0.1"),
            ("F", "64"),
            ("G", "2"),
            ("H", "x"),
        ] {
            assert_eq!(get(&env, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(get(&env, "I"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = built(json!({ "name": "c", "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "sec", "key": "zz" } } }] })).expect_err("missing");
        assert_eq!(error, "couldn't find key zz in Secret n/sec");
        let error =
            built(json!({ "name": "c", "envFrom": [{ "configMapRef": { "name": "gone" } }] }))
                .expect_err("missing");
        assert_eq!(error, "configmap \"gone\" not found");
    }

    #[test]
    fn services_are_variables() {
        let service = |namespace: &str, name: &str| {
            let value = json!({ "metadata": { "name": name, "namespace": namespace }, "spec": { "clusterIP": "10.0.0.5", "ports": [{ "name": "http", "port": 80 }] } });
            Arc::new(serde_json::from_value::<Service>(value).expect("service"))
        };
        let env = services(
            &[
                service("n", "my-db"),
                service("default", "kubernetes"),
                service("other", "x"),
            ],
            "n",
            true,
        );
        assert_eq!(get(&env, "MY_DB_SERVICE_HOST").as_deref(), Some("10.0.0.5"));
        assert_eq!(get(&env, "MY_DB_SERVICE_PORT_HTTP").as_deref(), Some("80"));
        assert_eq!(
            get(&env, "MY_DB_PORT_80_TCP").as_deref(),
            Some("tcp://10.0.0.5:80")
        );
        assert!(
            get(&env, "KUBERNETES_SERVICE_HOST").is_some() && get(&env, "X_SERVICE_HOST").is_none()
        );
    }
}
