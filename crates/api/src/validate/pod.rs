//! Rules of pods and pod templates.

use super::check::{Check, entries, list, missing, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::HashSet;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Volume fields that are sources; exactly one is given.
fn sources(volume: &Value) -> Vec<&String> {
    entries(volume)
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, _)| key)
        .collect()
}

pub(super) fn pod(new: &Value, old: Option<&Value>, check: &mut Check) {
    spec(&new["spec"], "spec", check);
    if old.is_none() && !list(&new["spec"]["ephemeralContainers"]).is_empty() {
        let why = "cannot be set on create";
        check.add(FieldError::forbidden("spec.ephemeralContainers", why));
    }
    if let Some(old) = old {
        super::pod_update::update(&new["spec"], &old["spec"], check);
    }
}

pub(super) fn template(template: &Value, path: &str, check: &mut Check) {
    check.labels(&format!("{path}.labels"), &template["metadata"]["labels"]);
    spec(&template["spec"], &format!("{path}.spec"), check);
}

pub(super) fn spec(spec: &Value, path: &str, check: &mut Check) {
    let at = |name: &str| format!("{path}.{name}");
    let volumes = volumes(&spec["volumes"], &at("volumes"), check);
    let mut seen = HashSet::new();
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        check.add(FieldError::required(at("containers"), ""));
    }
    for (kind, containers) in [
        ("containers", containers),
        ("initContainers", list(&spec["initContainers"])),
    ] {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{}[{index}]", at(kind));
            let init = kind == "initContainers";
            self::container(container, &path, &volumes, init, check);
            let name = text(&container["name"]);
            if !name.is_empty() && !seen.insert(name.to_string()) {
                check.add(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
    }
    ephemeral(spec, &at("ephemeralContainers"), &volumes, check);
    host_ports(containers, &at("containers"), check);
    check.labels(&at("nodeSelector"), &spec["nodeSelector"]);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        check.invalid(
            &at("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for (name, rule) in [
        (
            "serviceAccountName",
            names::dns1123_subdomain as fn(&str) -> Vec<String>,
        ),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
    ] {
        let value = text(&spec[name]);
        if !value.is_empty() {
            check.names(&at(name), value, rule(value));
        }
    }
    tolerations(&spec["tolerations"], &at("tolerations"), check);
    for (index, constraint) in list(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let path = format!("{}[{index}]", at("topologySpreadConstraints"));
        check.required(
            &format!("{path}.topologyKey"),
            &constraint["topologyKey"],
            "can not be empty",
        );
        if let Some(skew) = constraint["maxSkew"].as_i64().filter(|skew| *skew <= 0) {
            check.invalid(
                &format!("{path}.maxSkew"),
                skew,
                "must be greater than zero",
            );
        }
    }
    host_aliases(&spec["hostAliases"], &at("hostAliases"), check);
    sysctls(
        &spec["securityContext"]["sysctls"],
        &at("securityContext.sysctls"),
        check,
    );
    if text(&spec["dnsPolicy"]) == "None" && spec["dnsConfig"].is_null() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        check.add(FieldError::required(at("dnsConfig"), why));
    } else if text(&spec["dnsPolicy"]) == "None"
        && list(&spec["dnsConfig"]["nameservers"]).is_empty()
    {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        check.add(FieldError::required(
            format!("{}.nameservers", at("dnsConfig")),
            why,
        ));
    }
}

fn sysctls(sysctls: &Value, path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, sysctl) in list(sysctls).iter().enumerate() {
        let (name, at) = (text(&sysctl["name"]), format!("{path}[{index}].name"));
        let wrong = names::sysctl_name(name);
        if name.is_empty() {
            check.add(FieldError::required(at, ""));
        } else if !wrong.is_empty() {
            check.names(&at, name, wrong);
        } else if !seen.insert(name) {
            check.add(FieldError::duplicate(at, name));
        }
    }
}

fn host_aliases(aliases: &Value, path: &str, check: &mut Check) {
    for (index, alias) in list(aliases).iter().enumerate() {
        let ip = text(&alias["ip"]);
        if ip.parse::<std::net::IpAddr>().is_err() {
            check.invalid(
                &format!("{path}[{index}].ip"),
                ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        for (at, host) in list(&alias["hostnames"]).iter().enumerate() {
            check.names(
                &format!("{path}[{index}].hostnames[{at}]"),
                text(host),
                names::dns1123_subdomain(text(host)),
            );
        }
    }
}

fn volumes(volumes: &Value, path: &str, check: &mut Check) -> HashSet<String> {
    let mut names = HashSet::new();
    for (index, volume) in list(volumes).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&volume["name"]);
        let at = format!("{path}.name");
        if name.is_empty() {
            check.add(FieldError::required(at, ""));
        } else {
            check.names(&at, name, names::dns1123_label(name));
            if !names.insert(name.to_string()) {
                check.add(FieldError::duplicate(at, name));
            }
        }
        let sources = sources(volume);
        match sources.as_slice() {
            [] => check.add(FieldError::required(
                path.clone(),
                "must specify a volume type",
            )),
            [_] => {}
            [_, rest @ ..] => {
                for source in rest {
                    check.add(FieldError::forbidden(
                        format!("{path}.{source}"),
                        "may not specify more than 1 volume type",
                    ));
                }
            }
        }
        source(volume, &path, check);
    }
    names
}

/// Fields a source cannot do without, and file modes.
fn source(volume: &Value, path: &str, check: &mut Check) {
    for (source, field) in [
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
        ("hostPath", "path"),
        ("nfs", "server"),
        ("nfs", "path"),
        ("csi", "driver"),
        ("image", "reference"),
    ] {
        if !volume[source].is_null() {
            check.required(
                &format!("{path}.{source}.{field}"),
                &volume[source][field],
                "",
            );
        }
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        let at = format!("{path}.{source}");
        mode(
            &volume[source]["defaultMode"],
            &format!("{at}.defaultMode"),
            check,
        );
        for (index, item) in list(&volume[source]["items"]).iter().enumerate() {
            let at = format!("{at}.items[{index}]");
            if source != "downwardAPI" {
                check.required(&format!("{at}.key"), &item["key"], "");
            }
            if check.required(&format!("{at}.path"), &item["path"], "") {
                relative(text(&item["path"]), &format!("{at}.path"), check);
            }
            mode(&item["mode"], &format!("{at}.mode"), check);
        }
    }
    let share = text(&volume["nfs"]["path"]);
    if !volume["nfs"].is_null() && !share.starts_with('/') {
        check.invalid(
            &format!("{path}.nfs.path"),
            share,
            "must be an absolute path",
        );
    }
    let host = text(&volume["hostPath"]["path"]);
    if host.split('/').any(|part| part == "..") {
        check.invalid(
            &format!("{path}.hostPath.path"),
            host,
            "must not contain '..'",
        );
    }
}

fn mode(value: &Value, path: &str, check: &mut Check) {
    if let Some(mode) = value.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        check.invalid(
            path,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn relative(value: &str, path: &str, check: &mut Check) {
    if value.starts_with('/') {
        check.invalid(path, value, "must be a relative path");
    }
    if value.split('/').any(|part| part == "..") {
        check.invalid(path, value, "must not contain '..'");
    }
}

fn container(
    container: &Value,
    path: &str,
    volumes: &HashSet<String>,
    init: bool,
    check: &mut Check,
) {
    let at = |name: &str| format!("{path}.{name}");
    let name = text(&container["name"]);
    if name.is_empty() {
        check.add(FieldError::required(at("name"), ""));
    } else {
        check.names(&at("name"), name, names::dns1123_label(name));
    }
    let image = text(&container["image"]);
    if image.is_empty() {
        check.add(FieldError::required(at("image"), ""));
    } else if image.trim() != image {
        check.invalid(
            &at("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    ports(&container["ports"], &at("ports"), check);
    environment(container, path, check);
    mounts(
        &container["volumeMounts"],
        &at("volumeMounts"),
        volumes,
        check,
    );
    resources(&container["resources"], &at("resources"), check);
    let sidecar = text(&container["restartPolicy"]) == "Always";
    if init && !sidecar {
        for name in [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            if !container[name].is_null() {
                check.add(FieldError::forbidden(
                    at(name),
                    "may not be set for init containers without restartPolicy=Always",
                ));
            }
        }
        return;
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe(&container[name], &at(name), name != "readinessProbe", check);
    }
    for hook in ["postStart", "preStop"] {
        let value = &container["lifecycle"][hook];
        if !value.is_null() {
            handler(value, &format!("{}.{hook}", at("lifecycle")), check);
        }
    }
}

fn ports(ports: &Value, path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, port) in list(ports).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                check.add(FieldError::duplicate(at("name"), name));
            }
            check.names(&at("name"), name, wrong);
        }
        if port["containerPort"].as_i64().unwrap_or(0) == 0 {
            check.add(FieldError::required(at("containerPort"), ""));
        } else {
            check.port(&at("containerPort"), &port["containerPort"]);
        }
        if port["hostPort"].as_i64().unwrap_or(0) != 0 {
            check.port(&at("hostPort"), &port["hostPort"]);
        }
        // Other protocols are found by the closed list.
        if missing(&port["protocol"]) {
            check.one_of(&at("protocol"), &json!("TCP"), &PROTOCOLS);
        }
    }
}

fn host_ports(containers: &[Value], path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (at, port) in list(&container["ports"]).iter().enumerate() {
            let number = port["hostPort"].as_i64().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!(
                "{}/{}/{number}",
                text(&port["protocol"]),
                text(&port["hostIP"])
            );
            if !seen.insert(key.clone()) {
                check.add(FieldError::duplicate(
                    format!("{path}[{index}].ports[{at}].hostPort"),
                    key,
                ));
            }
        }
    }
}

fn environment(container: &Value, path: &str, check: &mut Check) {
    for (index, variable) in list(&container["env"]).iter().enumerate() {
        let at = format!("{path}.env[{index}]");
        let name = text(&variable["name"]);
        if name.is_empty() {
            check.add(FieldError::required(format!("{at}.name"), ""));
        } else {
            check.names(&format!("{at}.name"), name, names::env_name(name));
        }
        let from = &variable["valueFrom"];
        let Some(from_map) = from.as_object() else {
            continue;
        };
        let at = format!("{at}.valueFrom");
        if !text(&variable["value"]).is_empty() {
            check.invalid(&at, "", "may not be specified when `value` is not empty");
        }
        match from_map.len() {
            0 => check.invalid(&at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"),
            1 => {}
            _ => check.invalid(&at, "", "may not have more than one field specified at a time"),
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if !from[reference].is_null() {
                check.required(
                    &format!("{at}.{reference}.name"),
                    &from[reference]["name"],
                    "",
                );
                check.required(
                    &format!("{at}.{reference}.key"),
                    &from[reference]["key"],
                    "",
                );
            }
        }
        if !from["fieldRef"].is_null() {
            field_reference(&from["fieldRef"], &format!("{at}.fieldRef"), check);
        }
        if !from["resourceFieldRef"].is_null() {
            check.required(
                &format!("{at}.resourceFieldRef.resource"),
                &from["resourceFieldRef"]["resource"],
                "",
            );
        }
    }
    for (index, source) in list(&container["envFrom"]).iter().enumerate() {
        let at = format!("{path}.envFrom[{index}]");
        let given: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|name| !source[*name].is_null())
            .collect();
        match given.as_slice() {
            [] => check.invalid(
                &at,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            [name] => {
                check.required(&format!("{at}.{name}.name"), &source[*name]["name"], "");
            }
            _ => check.invalid(
                &at,
                "",
                "may not have more than one field specified at a time",
            ),
        }
    }
}

/// What of itself a pod can be told in its environment.
const ENVIRONMENT: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn field_reference(reference: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.fieldPath");
    if !check.required(&at, &reference["fieldPath"], "") {
        return;
    }
    let field = text(&reference["fieldPath"]);
    let elsewhere = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
    ];
    if let Some((base, _)) = field
        .strip_suffix("']")
        .and_then(|field| field.split_once("['"))
    {
        if !matches!(base, "metadata.annotations" | "metadata.labels") {
            let why = format!(
                "error converting fieldPath: field label does not support subscript: {field}"
            );
            check.invalid(&at, field, why);
        }
    } else if elsewhere.contains(&field) {
        check.add(FieldError::unsupported(at, field, &ENVIRONMENT));
    } else if !ENVIRONMENT.contains(&field) && field != "spec.host" {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        check.invalid(&at, field, why);
    }
}

/// Containers for debugging: named unlike all others, about one of them, and nothing that the
/// pod could come to rely on.
fn ephemeral(spec: &Value, path: &str, volumes: &HashSet<String>, check: &mut Check) {
    let mut seen: HashSet<&str> = list(&spec["containers"])
        .iter()
        .chain(list(&spec["initContainers"]))
        .map(|container| text(&container["name"]))
        .collect();
    let others = seen.clone();
    for (index, container) in list(&spec["ephemeralContainers"]).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&container["name"]);
        let mut bare = container.clone();
        let none = "cannot be set for an Ephemeral Container";
        for part in [
            "ports",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            let empty = match &container[part] {
                Value::Null => true,
                Value::Object(map) => part == "resources" && map.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => false,
            };
            if !empty {
                check.add(FieldError::forbidden(format!("{path}.{part}"), none));
            }
            if let Some(bare) = bare.as_object_mut() {
                bare.shift_remove(part);
            }
        }
        self::container(&bare, &path, volumes, false, check);
        if !seen.insert(name) {
            check.add(FieldError::duplicate(format!("{path}.name"), name));
        }
        let target = text(&container["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            let at = format!("{path}.targetContainerName");
            check.add(FieldError::not_found(at, target));
        }
        for (at, mount) in list(&container["volumeMounts"]).iter().enumerate() {
            for key in ["subPath", "subPathExpr"] {
                if !text(&mount[key]).is_empty() {
                    let path = format!("{path}.volumeMounts[{at}].{key}");
                    check.add(FieldError::forbidden(path, none));
                }
            }
        }
    }
}

fn mounts(mounts: &Value, path: &str, volumes: &HashSet<String>, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, mount) in list(mounts).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let (name, place) = (text(&mount["name"]), text(&mount["mountPath"]));
        check.required(&at("name"), &mount["name"], "");
        if !volumes.contains(name) {
            check.add(FieldError::not_found(at("name"), name));
        }
        check.required(&at("mountPath"), &mount["mountPath"], "");
        if !seen.insert(place) {
            check.invalid(&at("mountPath"), place, "must be unique");
        }
        for key in ["subPath", "subPathExpr"] {
            let value = text(&mount[key]);
            if !value.is_empty() {
                relative(value, &format!("{path}.{key}"), check);
            }
        }
        if !text(&mount["subPath"]).is_empty() && !text(&mount["subPathExpr"]).is_empty() {
            let value = text(&mount["subPathExpr"]);
            check.invalid(
                &at("subPathExpr"),
                value,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
    }
}

/// Requests within limits; extended resources equal.
pub(super) fn resources(resources: &Value, path: &str, check: &mut Check) {
    check.amounts(&format!("{path}.limits"), &resources["limits"]);
    check.amounts(&format!("{path}.requests"), &resources["requests"]);
    for (name, request) in entries(&resources["requests"]) {
        let read = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
        let Some(request_amount) = read(request) else {
            continue;
        };
        let limit = &resources["limits"][name.as_str()];
        let Some(limit_amount) = read(limit) else {
            continue;
        };
        let overcommits = !name.contains('/') && !name.starts_with("hugepages-");
        let at = format!("{path}.requests");
        if overcommits && request_amount > limit_amount {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            check.invalid(&at, request.clone(), why);
        } else if !overcommits && request_amount != limit_amount {
            check.invalid(
                &at,
                request.clone(),
                format!("must be equal to {name} limit of {}", text(limit)),
            );
        }
    }
}

fn probe(probe: &Value, path: &str, only_one_success: bool, check: &mut Check) {
    if probe.is_null() {
        return;
    }
    handler(probe, path, check);
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        check.not_negative(&format!("{path}.{name}"), &probe[name]);
    }
    check.positive(
        &format!("{path}.terminationGracePeriodSeconds"),
        &probe["terminationGracePeriodSeconds"],
    );
    if only_one_success
        && let Some(count) = probe["successThreshold"]
            .as_i64()
            .filter(|count| *count != 1)
    {
        check.invalid(&format!("{path}.successThreshold"), count, "must be 1");
    }
}

fn handler(handler: &Value, path: &str, check: &mut Check) {
    let given: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"]
        .into_iter()
        .filter(|name| !handler[*name].is_null())
        .collect();
    let [first, rest @ ..] = given.as_slice() else {
        check.add(FieldError::required(path, "must specify a handler type"));
        return;
    };
    for name in rest {
        check.add(FieldError::forbidden(
            format!("{path}.{name}"),
            "may not specify more than 1 handler type",
        ));
    }
    let (at, action) = (format!("{path}.{first}"), &handler[*first]);
    match *first {
        "exec" => {
            check.required(&format!("{at}.command"), &action["command"], "");
        }
        "httpGet" => {
            check.required(&format!("{at}.path"), &action["path"], "");
            check.port_or_name(&format!("{at}.port"), &action["port"]);
        }
        "tcpSocket" => check.port_or_name(&format!("{at}.port"), &action["port"]),
        "grpc" => check.port(&format!("{at}.port"), &action["port"]),
        _ => {}
    }
}

pub(super) fn tolerations(tolerations: &Value, path: &str, check: &mut Check) {
    for (index, toleration) in list(tolerations).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let (key, value) = (text(&toleration["key"]), text(&toleration["value"]));
        let operator = text(&toleration["operator"]);
        if !key.is_empty() {
            check.names(&at("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            check.invalid(&at("operator"), operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if !toleration["tolerationSeconds"].is_null() && text(&toleration["effect"]) != "NoExecute"
        {
            let effect = text(&toleration["effect"]);
            check.invalid(
                &at("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        if operator == "Exists" && !value.is_empty() {
            check.invalid(
                &at("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            );
        }
    }
}
