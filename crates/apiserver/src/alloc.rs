//! Addresses and ports of services: each taken one is a record of its own, written and removed
//! in the transaction of its service, so that none is given twice and none is lost.

use crate::admission::{Change, mark};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, Op};

const ADDRESSES: &str = "towpath/clusterips";
const PORTS: &str = "towpath/nodeports";

fn take(table: &str, key: &str) -> Op {
    Op::Put {
        resource: table.into(),
        key: towpath_store::key("", key),
        expect: Expect::absent(),
        new: mark(),
    }
}

fn give_back(table: &str, key: &str) -> Op {
    Op::Delete {
        resource: table.into(),
        key: towpath_store::key("", key),
        expect: Expect::any(),
        last: None,
    }
}

fn kind(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

fn address(service: &Value) -> &str {
    service["spec"]["clusterIP"].as_str().unwrap_or_default()
}

fn has_address(service: &Value) -> bool {
    kind(service) != "ExternalName" && address(service) != "None"
}

fn has_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

fn port_key(port: &Value) -> Option<String> {
    let number = port["nodePort"].as_u64().filter(|n| *n > 0)?;
    Some(format!(
        "{number}-{}",
        port["protocol"].as_str().unwrap_or("TCP")
    ))
}

// Never by index: that would leave an empty place behind.
fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn ports(service: &Value) -> Vec<String> {
    service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(port_key)
        .collect()
}

/// Gives a service its address and ports; returns the records to write with it.
pub(crate) fn admit(change: &Change<'_>, new: &mut Value) -> Result<Vec<Op>, Failure> {
    if !new["spec"].is_object() {
        // Validation says what is missing.
        return Ok(Vec::new());
    }
    let mut ops = Vec::new();
    let name = new["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let fail = |error: FieldError| status::invalid("", "Service", &name, &[error]);
    if let Some(old) = change.old {
        carry_over(new, old);
    }
    let before = change
        .old
        .filter(|old| has_address(old))
        .map(address)
        .unwrap_or_default()
        .to_string();
    if has_address(new) {
        if address(new).is_empty() {
            let found = free_address(change, &name)
                .ok_or_else(|| status::internal("failed to allocate a serviceIP: range is full"))?;
            new["spec"]["clusterIP"] = found.to_string().into();
        }
        let wanted = address(new).to_string();
        if wanted != before {
            let (network, bits) = change.call.core.settings.service_cidr;
            let bad =
                |why: String| fail(FieldError::invalid("spec.clusterIPs", json!([wanted]), why));
            let ip: IpAddr = wanted
                .parse()
                .map_err(|_| bad("must be a valid IP address".into()))?;
            if !inside(network, bits, ip) {
                return Err(bad(format!(
                    "failed to allocate IP {wanted}: the provided network does not match the current range"
                )));
            }
            if change
                .state
                .get(ADDRESSES, &towpath_store::key("", &wanted))
                .is_some()
            {
                return Err(bad(format!(
                    "failed to allocate IP {wanted}: provided IP is already allocated"
                )));
            }
            ops.push(take(ADDRESSES, &wanted));
        }
        new["spec"]["clusterIPs"] = json!([wanted]);
        families(new);
    } else if address(new) == "None" {
        new["spec"]["clusterIPs"] = json!(["None"]);
        families(new);
    }
    if !before.is_empty() && (!has_address(new) || address(new) != before) {
        ops.push(give_back(ADDRESSES, &before));
    }
    node_ports(change, new, &mut ops, &fail)?;
    Ok(ops)
}

fn families(service: &mut Value) {
    // One without addresses and pods of its own may get endpoints of either family.
    let selects = service["spec"]["selector"]
        .as_object()
        .is_some_and(|selector| !selector.is_empty());
    if address(service) == "None" && !selects && service["spec"]["ipFamilyPolicy"].is_null() {
        service["spec"]["ipFamilyPolicy"] = "RequireDualStack".into();
        let given = service["spec"]["ipFamilies"].as_array();
        let first = given.and_then(|list| list.first()).cloned();
        service["spec"]["ipFamilies"] = match first.as_ref().and_then(Value::as_str) {
            Some("IPv6") => json!(["IPv6", "IPv4"]),
            _ => json!(["IPv4", "IPv6"]),
        };
    }
    if service["spec"]["ipFamilies"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    if service["spec"]["ipFamilyPolicy"].is_null() {
        service["spec"]["ipFamilyPolicy"] = "SingleStack".into();
    }
}

// Values that were given earlier and that the client left out.
fn carry_over(new: &mut Value, old: &Value) {
    let inside = |service: &Value| kind(service) != "ExternalName";
    if inside(new) && inside(old) {
        for key in ["clusterIP", "clusterIPs"] {
            let empty = match &new["spec"][key] {
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => true,
            };
            if empty && !old["spec"][key].is_null() {
                new["spec"][key] = old["spec"][key].clone();
            }
        }
    }
    drop_dependent(new, old);
    let known: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let keeps = has_ports(new);
    for port in ports_mut(new) {
        if !keeps {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        } else if port["nodePort"].as_u64().unwrap_or(0) == 0 {
            let same = known
                .iter()
                .find(|k| k["port"] == port["port"] && k["protocol"] == port["protocol"]);
            if let Some(number) = same.and_then(|k| k["nodePort"].as_u64()).filter(|n| *n > 0) {
                port["nodePort"] = number.into();
            }
        }
    }
}

// What only the old type needed goes with it, where the client has not changed it.
fn drop_dependent(new: &mut Value, old: &Value) {
    let mut gone = Vec::new();
    if kind(old) != "ExternalName" && kind(new) == "ExternalName" {
        gone.extend(["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
        let same = |key: &str| new["spec"][key] == old["spec"][key];
        if same("clusterIP") && same("clusterIPs") {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
    }
    if has_ports(old) && !has_ports(new) {
        gone.extend(["externalTrafficPolicy", "healthCheckNodePort"]);
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    let Some(spec) = new["spec"].as_object_mut() else {
        return;
    };
    for key in gone {
        if spec.get(key) == old["spec"].get(key) {
            spec.remove(key);
        }
    }
}

fn node_ports(
    change: &Change<'_>,
    new: &mut Value,
    ops: &mut Vec<Op>,
    fail: &dyn Fn(FieldError) -> Failure,
) -> Result<(), Failure> {
    let before = change.old.map(ports).unwrap_or_default();
    let mut now: Vec<String> = Vec::new();
    if has_ports(new) {
        let (low, high) = change.call.core.settings.node_ports;
        for (index, port) in ports_mut(new).enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_string();
            if port["nodePort"].as_u64().unwrap_or(0) == 0 {
                let found = free_port(change, &protocol, &now).ok_or_else(|| {
                    status::internal("failed to allocate a nodePort: range is full")
                })?;
                port["nodePort"] = found.into();
            }
            let number = port["nodePort"].as_u64().unwrap_or(0);
            let key = format!("{number}-{protocol}");
            let path = format!("spec.ports[{index}].nodePort");
            if !before.contains(&key) {
                if number < u64::from(low) || number > u64::from(high) {
                    let why = format!(
                        "provided port is not in the valid range. The range of valid ports is {low}-{high}"
                    );
                    return Err(fail(FieldError::invalid(path, number, why)));
                }
                if now.contains(&key)
                    || change
                        .state
                        .get(PORTS, &towpath_store::key("", &key))
                        .is_some()
                {
                    return Err(fail(FieldError::invalid(
                        path,
                        number,
                        "provided port is already allocated",
                    )));
                }
                ops.push(take(PORTS, &key));
            }
            now.push(key);
        }
    }
    ops.extend(
        before
            .iter()
            .filter(|key| !now.contains(key))
            .map(|key| give_back(PORTS, key)),
    );
    Ok(())
}

/// Records to remove with a service.
pub(crate) fn release(service: &Value) -> Vec<Op> {
    let mut ops = Vec::new();
    if has_address(service) && !address(service).is_empty() {
        ops.push(give_back(ADDRESSES, address(service)));
    }
    ops.extend(ports(service).iter().map(|key| give_back(PORTS, key)));
    ops
}

fn inside(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(network) & mask == u32::from(ip) & mask && u32::from(ip) & !mask != 0
        }
        _ => false,
    }
}

fn random(change: &Change<'_>) -> u32 {
    let mut bytes = [0u8; 4];
    change.call.core.random.fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

// A free address from the upper part of the range; the lower part is for fixed ones.
fn free_address(change: &Change<'_>, name: &str) -> Option<Ipv4Addr> {
    let (IpAddr::V4(network), bits) = change.call.core.settings.service_cidr else {
        return None;
    };
    let size = 1u32.checked_shl(32 - u32::from(bits)).unwrap_or(u32::MAX);
    let fixed = (size / 16).clamp(16.min(size / 2), 256);
    let base = u32::from(network) & (u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0));
    let is_free = |ip: &Ipv4Addr| {
        let key = towpath_store::key("", &ip.to_string());
        change.state.get(ADDRESSES, &key).is_none()
    };
    // The API's own service has the first address of the range, as clients know it by address.
    let target = change.target;
    let first = Ipv4Addr::from(base + 1);
    if target.namespace == "default" && *name == *"kubernetes" && is_free(&first) {
        return Some(first);
    }
    let span = size.saturating_sub(fixed + 1);
    if span == 0 {
        return None;
    }
    let start = random(change) % span;
    (0..span.min(1 << 16))
        .map(|step| Ipv4Addr::from(base + fixed + (start + step) % span))
        .find(is_free)
}

fn free_port(change: &Change<'_>, protocol: &str, taken: &[String]) -> Option<u32> {
    let (low, high) = change.call.core.settings.node_ports;
    let span = u32::from(high - low) + 1;
    let start = random(change) % span;
    (0..span)
        .map(|step| u32::from(low) + (start + step) % span)
        .find(|number| {
            let key = format!("{number}-{protocol}");
            let key_in_store: Arc<str> = towpath_store::key("", &key);
            !taken.contains(&key) && change.state.get(PORTS, &key_in_store).is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_range() {
        let network: IpAddr = "10.96.0.0".parse().expect("address");
        assert!(inside(network, 16, "10.96.4.1".parse().expect("address")));
        assert!(!inside(network, 16, "10.97.0.1".parse().expect("address")));
        assert!(!inside(network, 16, "10.96.0.0".parse().expect("address")));
        assert!(!inside(network, 16, "::1".parse().expect("address")));
    }
}
