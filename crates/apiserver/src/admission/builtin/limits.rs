//! LimitRanger: defaults and bounds of what containers, pods and claims ask for, from the
//! LimitRanges of their namespace.

use crate::admission::{Change, Operation};
use crate::record;
use serde_json::Value;
use towpath_api::quantity::Quantity;
use towpath_api::resources::{self, Amounts, Side};
use towpath_api::status::Failure;

const TABLE: &str = "limitranges";
const SET: &str = "kubernetes.io/limit-ranger";

fn items(change: &Change<'_>) -> Vec<Value> {
    let ranges = change.state.range(TABLE, &change.target.namespace, None);
    let limits = ranges.flat_map(|rec| match record::decode(rec)["spec"]["limits"].take() {
        Value::Array(limits) => limits,
        _ => Vec::new(),
    });
    limits.collect()
}

fn is_going(change: &Change<'_>) -> bool {
    let old = change.old;
    old.is_some_and(|old| !old["metadata"]["deletionTimestamp"].is_null())
}

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) {
    let resizes = change.operation == Operation::Update && change.is_part("", "pods", "resize");
    if !change.creates("", "pods") && !resizes || is_going(change) {
        return;
    }
    let ranges = change.state.range(TABLE, &change.target.namespace, None);
    for range in ranges {
        let range = record::decode(range);
        let limits = range["spec"]["limits"].as_array().into_iter().flatten();
        let (mut requests, mut most) = (Amounts::new(), Amounts::new());
        for item in limits.filter(|item| item["type"] == "Container") {
            requests.extend(resources::read(&item["defaultRequest"]));
            most.extend(resources::read(&item["default"]));
        }
        fill(pod, &requests, &most);
    }
}

// What was set is said in an annotation, as upstream does.
fn fill(pod: &mut Value, requests: &Amounts, limits: &Amounts) {
    let mut said = Vec::new();
    for (list, title) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        let found = pod.pointer_mut(&format!("/spec/{list}"));
        for container in found.and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_string();
            for (side, defaults, word) in [
                (Side::Requests, requests, "request"),
                (Side::Limits, limits, "limit"),
            ] {
                let set = fill_side(container, side, defaults);
                if !set.is_empty() {
                    said.push(format!("{} {word} for {title} {name}", set.join(", ")));
                }
            }
        }
    }
    if !said.is_empty() {
        pod["metadata"]["annotations"][SET] =
            format!("LimitRanger plugin set: {}", said.join("; ")).into();
    }
}

fn fill_side(container: &mut Value, side: Side, defaults: &Amounts) -> Vec<String> {
    let mut set = Vec::new();
    if !container.is_object() {
        return set;
    }
    for (name, amount) in defaults {
        if container["resources"][side.field()][name.as_str()].is_null() {
            container["resources"][side.field()][name.as_str()] = amount.to_string().into();
            set.push(name.clone());
        }
    }
    set
}

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let resizes = change.operation == Operation::Update && change.is_part("", "pods", "resize");
    let pod = change.creates("", "pods") || resizes;
    let claim = change.is_of("", "persistentvolumeclaims");
    if !pod && !claim || is_going(change) {
        return Ok(());
    }
    let mut broken = Vec::new();
    for item in items(change) {
        let kind = item["type"].as_str().unwrap_or_default();
        match kind {
            "Container" if pod => {
                let lists = ["containers", "initContainers"].iter();
                let all =
                    lists.flat_map(|list| new["spec"][*list].as_array().into_iter().flatten());
                for container in all {
                    let requests = resources::of_container(container, Side::Requests);
                    let limits = resources::of_container(container, Side::Limits);
                    check(&item, &requests, &limits, &mut broken);
                }
            }
            "Pod" if pod => {
                let requests = resources::of_pod(&new["spec"], Side::Requests);
                let limits = resources::of_pod(&new["spec"], Side::Limits);
                check(&item, &requests, &limits, &mut broken);
            }
            "PersistentVolumeClaim" if claim => {
                let asked = resources::read(&new["spec"]["resources"]["requests"]);
                for (name, bound) in resources::read(&item["min"]) {
                    broken.extend(minimum(kind, &name, bound, &asked, &Amounts::new()));
                }
                for (name, bound) in resources::read(&item["max"]) {
                    broken.extend(maximum_request(kind, &name, bound, &asked));
                }
            }
            _ => {}
        }
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    match broken.as_slice() {
        [] => Ok(()),
        [one] => Err(change.forbidden(name, one)),
        many => Err(change.forbidden(name, &format!("[{}]", many.join(", ")))),
    }
}

fn check(item: &Value, requests: &Amounts, limits: &Amounts, broken: &mut Vec<String>) {
    let kind = item["type"].as_str().unwrap_or_default();
    for (name, bound) in resources::read(&item["min"]) {
        broken.extend(minimum(kind, &name, bound, requests, limits));
    }
    for (name, bound) in resources::read(&item["max"]) {
        broken.extend(maximum(kind, &name, bound, requests, limits));
    }
    for (name, bound) in resources::read(&item["maxLimitRequestRatio"]) {
        broken.extend(ratio(kind, &name, bound, requests, limits));
    }
}

fn minimum(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let begin = format!("minimum {name} usage per {kind} is {bound}");
    let Some(request) = requests.get(name) else {
        return Some(format!("{begin}.  No request is specified"));
    };
    if *request < bound {
        return Some(format!("{begin}, but request is {request}"));
    }
    let limit = limits.get(name).filter(|limit| **limit < bound)?;
    Some(format!("{begin}, but limit is {limit}"))
}

fn maximum_request(kind: &str, name: &str, bound: Quantity, requests: &Amounts) -> Option<String> {
    let begin = format!("maximum {name} usage per {kind} is {bound}");
    let Some(request) = requests.get(name) else {
        return Some(format!("{begin}.  No request is specified"));
    };
    (*request > bound).then(|| format!("{begin}, but request is {request}"))
}

fn maximum(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let begin = format!("maximum {name} usage per {kind} is {bound}");
    let Some(limit) = limits.get(name) else {
        return Some(format!("{begin}.  No limit is specified"));
    };
    if *limit > bound {
        return Some(format!("{begin}, but limit is {limit}"));
    }
    let request = requests.get(name).filter(|request| **request > bound)?;
    Some(format!("{begin}, but request is {request}"))
}

fn ratio(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let begin = format!("{name} max limit to request ratio per {kind} is {bound}");
    let of = |amounts: &Amounts| {
        amounts
            .get(name)
            .filter(|a| a.sign() != 0)
            .map(Quantity::milli)
    };
    let Some(request) = of(requests) else {
        return Some(format!(
            "{begin}, but no request is specified or request is 0"
        ));
    };
    let Some(limit) = of(limits) else {
        return Some(format!("{begin}, but no limit is specified or limit is 0"));
    };
    let found = limit as f64 / request as f64;
    (found * 1000.0 > bound.milli() as f64)
        .then(|| format!("{begin}, but provided ratio is {found:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn broken(item: Value, resources: Value) -> Vec<String> {
        let container = json!({"resources": resources});
        let mut broken = Vec::new();
        check(
            &item,
            &resources::of_container(&container, Side::Requests),
            &resources::of_container(&container, Side::Limits),
            &mut broken,
        );
        broken
    }

    #[test]
    fn bounds_and_ratios() {
        let item = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"memory": "1Gi"},
            "maxLimitRequestRatio": {"cpu": "2"}});
        assert_eq!(
            broken(
                item.clone(),
                json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}})
            ),
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum memory usage per Container is 1Gi.  No limit is specified",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"
            ]
        );
        let fine = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "1Gi"}});
        assert!(broken(item, fine).is_empty());
    }

    #[test]
    fn defaults_are_set_and_said() {
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
        let requests = resources::read(&json!({"cpu": "100m", "memory": "64Mi"}));
        let limits = resources::read(&json!({"cpu": "2", "memory": "128Mi"}));
        fill(&mut pod, &requests, &limits);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][SET],
            "LimitRanger plugin set: cpu, memory request for container c; memory limit for container c"
        );
    }
}
