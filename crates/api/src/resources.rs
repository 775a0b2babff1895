//! Amounts of resources by name: what containers ask for and may use, and what a whole pod does.

use crate::quantity::Quantity;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Amounts by resource name (`cpu`, `memory`, …).
pub type Amounts = BTreeMap<String, Quantity>;

/// Which side of a container's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it is given for sure.
    Requests,
    /// What it may use at most.
    Limits,
}

impl Side {
    /// Name of the field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// Reads a map of amounts; what is no amount is left out (validation names it).
pub fn read(map: &Value) -> Amounts {
    let pairs = map.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), amount(value)?)))
        .collect()
}

/// One amount, which clients may also write as a number.
pub fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// The reverse of [`read`].
pub fn write(amounts: &Amounts) -> Value {
    let pairs = amounts.iter();
    let pairs = pairs.map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Adds up.
pub fn add(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        sum.entry(name.clone())
            .and_modify(|sum| *sum = sum.plus(*amount))
            .or_insert(*amount);
    }
}

/// Keeps the larger of each.
pub fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        most.entry(name.clone())
            .and_modify(|most| *most = (*most).max(*amount))
            .or_insert(*amount);
    }
}

/// One side of a container's resources.
pub fn of_container(container: &Value, side: Side) -> Amounts {
    read(&container["resources"][side.field()])
}

/// What a pod needs: the sum of its containers and sidecars, or what an init container needs
/// beside the sidecars started before it, whichever is more. Amounts of the pod's own
/// `resources` take the place of those sums.
pub fn of_pod(spec: &Value, side: Side) -> Amounts {
    let list = |name: &str| spec[name].as_array().into_iter().flatten();
    let mut sum = Amounts::new();
    for container in list("containers") {
        add(&mut sum, &of_container(container, side));
    }
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in list("initContainers") {
        let own = of_container(container, side);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut most, &sidecars);
        } else {
            let mut beside = own;
            add(&mut beside, &sidecars);
            raise(&mut most, &beside);
        }
    }
    raise(&mut sum, &most);
    for (name, amount) in read(&spec["resources"][side.field()]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            sum.insert(name, amount);
        }
    }
    sum
}

/// The same with the overhead of the pod's runtime class.
pub fn of_pod_with_overhead(spec: &Value, side: Side) -> Amounts {
    let mut sum = of_pod(spec, side);
    let overhead = read(&spec["overhead"]);
    match side {
        Side::Requests => add(&mut sum, &overhead),
        // Without a limit there is none to raise.
        Side::Limits => {
            for (name, amount) in &overhead {
                if let Some(limit) = sum.get_mut(name).filter(|limit| limit.sign() > 0) {
                    *limit = limit.plus(*amount);
                }
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cpu(spec: &Value) -> String {
        of_pod(spec, Side::Requests)["cpu"].to_string()
    }

    #[test]
    fn init_containers_and_sidecars() {
        let of = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = of("200m");
        sidecar["restartPolicy"] = "Always".into();
        let plain = json!({"containers": [of("100m"), of("1")]});
        assert_eq!(cpu(&plain), "1100m");
        let init = json!({"containers": [of("100m")], "initContainers": [of("2"), of("1")]});
        assert_eq!(cpu(&init), "2");
        let beside =
            json!({"containers": [of("100m")], "initContainers": [sidecar.clone(), of("1")]});
        assert_eq!(cpu(&beside), "1200m");
        let after = json!({"containers": [of("100m")], "initContainers": [of("100m"), sidecar]});
        assert_eq!(cpu(&after), "300m");
        let whole = json!({"containers": [of("100m")], "resources": {"requests": {"cpu": "3"}}});
        assert_eq!(cpu(&whole), "3");
    }

    #[test]
    fn overhead_raises_limits_that_exist() {
        let spec = json!({"containers": [{"resources": {"limits": {"cpu": "1"}}}],
            "overhead": {"cpu": "250m", "memory": "1Gi"}});
        let limits = of_pod_with_overhead(&spec, Side::Limits);
        assert_eq!(write(&limits), json!({"cpu": "1250m"}));
        let requests = of_pod_with_overhead(&spec, Side::Requests);
        assert_eq!(write(&requests), json!({"cpu": "250m", "memory": "1Gi"}));
    }
}
