//! Defaults that depend on other fields, by definition.

use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Applies what belongs to one definition; fields below are visited afterwards.
pub(super) fn apply(definition: &str, object: &mut Object) {
    match definition {
        "api.core.v1.Pod" => pod(object),
        "api.core.v1.PodSpec" => pod_spec(object),
        "api.core.v1.Container" | "api.core.v1.EphemeralContainer" => {
            pull_policy(object, "image", "imagePullPolicy");
        }
        "api.core.v1.ImageVolumeSource" => pull_policy(object, "reference", "pullPolicy"),
        "api.core.v1.Volume" if object.keys().all(|key| key == "name") => {
            object.insert("emptyDir".into(), json!({}));
        }
        "api.core.v1.Service" => service(object),
        "api.core.v1.Secret" => secret(object),
        "api.core.v1.Namespace" => namespace(object),
        "api.core.v1.ReplicationController" => replication_controller(object),
        "api.core.v1.NodeStatus" => {
            if !object.contains_key("allocatable")
                && let Some(capacity) = object.get("capacity").cloned()
            {
                object.insert("allocatable".into(), capacity);
            }
        }
        "api.core.v1.LimitRangeItem" => limit_range_item(object),
        "api.apps.v1.DeploymentStrategy" | "api.apps.v1.DaemonSetUpdateStrategy"
            if text(object, "type").is_none_or(|kind| kind == "RollingUpdate") =>
        {
            object.entry("rollingUpdate").or_insert_with(|| json!({}));
        }
        "api.apps.v1.StatefulSetUpdateStrategy" if text(object, "type").is_none() => {
            object.insert("type".into(), "RollingUpdate".into());
            object.entry("rollingUpdate").or_insert_with(|| json!({}));
        }
        "api.apps.v1.StatefulSetSpec" => claim_templates(object),
        "api.batch.v1.Job" => job(object),
        "api.apps.v1.DaemonSet" => annotate(object, TEMPLATE_GENERATION, "0"),
        "api.core.v1.NodeSpec" => pod_ranges(object),
        "api.core.v1.PodStatus" => pod_addresses(object),
        "api.autoscaling.v2.HorizontalPodAutoscalerSpec" => autoscaler(object),
        "api.autoscaling.v1.HorizontalPodAutoscaler" => autoscaler_v1(object),
        "api.resource.v1.ExactDeviceRequest" | "api.resource.v1.DeviceSubRequest" => {
            set_missing(object, "allocationMode", "ExactCount");
            if text(object, "allocationMode") == Some("ExactCount") {
                set_missing(object, "count", 1);
            }
        }
        "api.networking.v1.NetworkPolicySpec" => network_policy(object),
        "api.rbac.v1.Subject" => {
            let person = matches!(text(object, "kind"), Some("User" | "Group"));
            if person && text(object, "apiGroup").is_none() {
                object.insert("apiGroup".into(), RBAC.into());
            }
        }
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" => {
            definition_object(object)
        }
        _ => {}
    }
}

/// A field's text; empty counts as missing.
fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object
        .get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn set_missing(object: &mut Object, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.into(), value.into());
    }
}

fn pull_policy(object: &mut Object, image: &str, policy: &str) {
    if text(object, policy).is_none() {
        let latest = text(object, image).is_some_and(|image| tag(image) == "latest");
        object.insert(
            policy.into(),
            if latest { "Always" } else { "IfNotPresent" }.into(),
        );
    }
}

/// The tag of an image reference; `latest` where it has neither tag nor digest.
fn tag(image: &str) -> &str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, false), |(name, _)| (name, true));
    match name
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
    {
        Some((_, tag)) => tag,
        None if digest => "",
        None => "latest",
    }
}

fn pod(object: &mut Object) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    set_missing(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(resources) = container
        .get_mut("resources")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

fn host_ports(container: &mut Value) {
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if port["hostPort"].as_i64().unwrap_or(0) == 0 && port["containerPort"].is_number() {
            port["hostPort"] = port["containerPort"].clone();
        }
    }
}

/// The old name of the service account field follows the new one.
fn pod_spec(spec: &mut Object) {
    let name = text(spec, "serviceAccountName")
        .or_else(|| text(spec, "serviceAccount"))
        .map(str::to_string);
    if let Some(name) = name {
        spec.insert("serviceAccountName".into(), name.as_str().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

fn service(object: &mut Object) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if text(spec, "sessionAffinity") == Some("ClientIP") {
        let seconds = spec
            .get("sessionAffinityConfig")
            .map(|config| &config["clientIP"]["timeoutSeconds"]);
        if !seconds.is_some_and(Value::is_number) {
            spec.insert(
                "sessionAffinityConfig".into(),
                json!({"clientIP": {"timeoutSeconds": 10800}}),
            );
        }
    } else {
        spec.shift_remove("sessionAffinityConfig");
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let target = &port["targetPort"];
        if (target.is_null() || *target == 0 || *target == "") && port["port"].is_number() {
            port["targetPort"] = port["port"].clone();
        }
    }
    let kind = text(spec, "type").unwrap_or("ClusterIP").to_string();
    let outside = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && outside) {
        set_missing(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "LoadBalancer" | "NodePort" | "ClusterIP") {
        set_missing(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_missing(spec, "allocateLoadBalancerNodePorts", true);
        let ingress = object
            .get_mut("status")
            .and_then(|status| status.get_mut("loadBalancer"));
        let ingress = ingress.and_then(|balancer| balancer.get_mut("ingress"));
        for address in ingress
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            if text(address, "ip").is_some() {
                set_missing(address, "ipMode", "VIP");
            }
        }
    }
}

/// Plain text entries are a way to write, not to store.
fn secret(object: &mut Object) {
    use base64::Engine;
    let Some(Value::Object(plain)) = object.shift_remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = object.entry("data").or_insert_with(|| json!({}));
    if !data.is_object() {
        *data = json!({});
    }
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        data[key] = base64::engine::general_purpose::STANDARD
            .encode(text)
            .into();
    }
}

fn namespace(object: &mut Object) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(name) = text(metadata, "name").map(str::to_string) else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_object() {
        labels["kubernetes.io/metadata.name"] = name.into();
    }
}

fn template_labels(object: &mut Object, path: &[&str]) {
    let labels = path.iter().try_fold(None::<&Value>, |at, key| match at {
        None => object.get(*key).map(Some),
        Some(value) => value.get(*key).map(Some),
    });
    let Some(Some(labels)) = labels.filter(|labels| labels.is_some_and(Value::is_object)) else {
        return;
    };
    let labels = labels.clone();
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if metadata["labels"].as_object().is_none_or(Map::is_empty) && metadata.is_object() {
        metadata["labels"] = labels;
    }
}

fn replication_controller(object: &mut Object) {
    template_labels(object, &["spec", "template", "metadata", "labels"]);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let labels = spec
        .get("template")
        .map(|template| template["metadata"]["labels"].clone());
    if let Some(labels) = labels.filter(Value::is_object)
        && spec
            .get("selector")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty)
    {
        spec.insert("selector".into(), labels);
    }
}

fn limit_range_item(item: &mut Object) {
    if text(item, "type") != Some("Container") {
        return;
    }
    let list = |item: &Object, key: &str| {
        item.get(key)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut default = list(item, "default");
    for (key, value) in list(item, "max") {
        default.entry(key).or_insert(value);
    }
    let mut request = list(item, "defaultRequest");
    for (key, value) in default
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .chain(list(item, "min"))
    {
        request.entry(key).or_insert(value);
    }
    for (key, map) in [("default", default), ("defaultRequest", request)] {
        if !map.is_empty() {
            item.insert(key.into(), Value::Object(map));
        }
    }
}

fn claim_templates(spec: &mut Object) {
    for claim in spec
        .get_mut("volumeClaimTemplates")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(claim) = claim.as_object_mut() {
            claim.insert("apiVersion".into(), "v1".into());
            claim.insert("kind".into(), "PersistentVolumeClaim".into());
        }
    }
}

/// Only jobs themselves are filled in; the template of a CronJob is not, until it becomes one.
fn job(object: &mut Object) {
    template_labels(object, &["spec", "template", "metadata", "labels"]);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let missing = |key: &str| spec.get(key).is_none_or(Value::is_null);
    if missing("completions") && missing("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    let limit = if spec.contains_key("backoffLimitPerIndex") {
        i32::MAX
    } else {
        6
    };
    set_missing(spec, "backoffLimit", limit);
    let replacement = if spec.contains_key("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    set_missing(spec, "podReplacementPolicy", replacement);
    set_missing(spec, "parallelism", 1);
    set_missing(spec, "completionMode", "NonIndexed");
    set_missing(spec, "suspend", false);
    set_missing(spec, "manualSelector", false);
}

/// A field that was removed lives on as an annotation of daemon sets.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn annotate(object: &mut Object, key: &str, value: &str) {
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        return;
    }
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    if metadata["annotations"][key].is_null() {
        metadata["annotations"][key] = value.into();
    }
}

/// The first address and the list of them say the same.
fn pod_addresses(status: &mut Object) {
    let list = status.get("podIPs").and_then(Value::as_array);
    let first = list
        .and_then(|list| list.first()?["ip"].as_str())
        .map(str::to_string);
    match (first, text(status, "podIP").map(str::to_string)) {
        (Some(first), one) if one.as_ref() != Some(&first) => {
            status.insert("podIP".into(), first.into());
        }
        (None, Some(one)) => {
            status.insert("podIPs".into(), json!([{"ip": one}]));
        }
        _ => {}
    }
}

/// One address range and the list of them say the same.
fn pod_ranges(spec: &mut Object) {
    if let Some(range) = text(spec, "podCIDR").map(str::to_string) {
        set_missing(spec, "podCIDRs", json!([range]));
    }
}

/// Without other metrics, which travel in an annotation, the target is a share of the CPU.
fn autoscaler_v1(object: &mut Object) {
    let other = object.get("metadata").is_some_and(|metadata| {
        metadata["annotations"]
            .get("autoscaling.alpha.kubernetes.io/metrics")
            .is_some()
    });
    if !other && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        set_missing(spec, "targetCPUUtilizationPercentage", 80);
    }
}

fn autoscaler(spec: &mut Object) {
    if spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec.insert(
            "metrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]});
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    for (name, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        let rules = behavior.entry(name).or_insert_with(|| json!({}));
        if let (Some(rules), Value::Object(defaults)) = (rules.as_object_mut(), defaults) {
            for (key, value) in defaults {
                rules.entry(key).or_insert(value);
            }
        }
    }
}

fn network_policy(spec: &mut Object) {
    let list = |key: &str| {
        spec.get(key)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    if !list("policyTypes") {
        let types = if list("egress") {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}

fn definition_object(object: &mut Object) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let stored = spec
        .get("versions")
        .and_then(Value::as_array)
        .and_then(|versions| {
            versions.iter().find(|version| version["storage"] == true)?["name"]
                .as_str()
                .map(str::to_string)
        });
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut)
        && let Some(kind) = text(names, "kind").map(str::to_string)
    {
        if text(names, "singular").is_none() {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if text(names, "listKind").is_none() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
    }
    let status = object.entry("status").or_insert_with(|| json!({}));
    if status["storedVersions"]
        .as_array()
        .is_none_or(Vec::is_empty)
        && status.is_object()
        && let Some(stored) = stored
    {
        status["storedVersions"] = json!([stored]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags() {
        for (image, tag) in [
            ("a", "latest"),
            ("a:1", "1"),
            ("h:5000/a", "latest"),
            ("h:5000/a:x", "x"),
            ("a@sha256:00", ""),
            ("a:1@sha256:00", "1"),
        ] {
            assert_eq!(super::tag(image), tag, "{image}");
        }
    }
}
