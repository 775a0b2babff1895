//! Services with pods to what their endpoints say.

use super::{legacy, slices};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::sync::Arc;

fn service(spec: Value) -> Service {
    let mut full = json!({"clusterIP": "10.43.0.9", "selector": {"app": "w"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]});
    for (key, value) in spec.as_object().expect("object") {
        full[key] = value.clone();
    }
    serde_json::from_value(
        json!({"metadata": {"name": "w", "namespace": "n", "uid": "s"}, "spec": full}),
    )
    .expect("service")
}

fn pod(name: &str, ip: &str, ready: bool, port: i32, extra: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "w"}},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                   "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    for (section, fields) in extra.as_object().expect("object") {
        for (key, field) in fields.as_object().expect("object") {
            value[section][key] = field.clone();
        }
    }
    Arc::new(serde_json::from_value(value).expect("pod"))
}

// `address ready/serving/terminating host` per endpoint, after `family port,port`.
fn told(slices: &[EndpointSlice]) -> Vec<String> {
    let mut lines = Vec::new();
    for slice in slices {
        let ports: Vec<_> = slice
            .ports
            .iter()
            .flatten()
            .map(|p| p.port.unwrap_or(0).to_string())
            .collect();
        lines.push(format!("{} {}", slice.address_type, ports.join(",")));
        for e in slice.endpoints.iter().flatten() {
            let c = e.conditions.clone().expect("conditions");
            let flag = |f: Option<bool>| if f == Some(true) { '1' } else { '0' };
            let host = e.hostname.as_deref().unwrap_or("-");
            lines.push(format!(
                "  {} {}{}{} {host}",
                e.addresses[0],
                flag(c.ready),
                flag(c.serving),
                flag(c.terminating)
            ));
        }
    }
    lines
}

#[test]
fn readiness_and_termination_are_told_apart() {
    let pods = [
        pod("a", "10.0.0.1", true, 8080, json!({})),
        pod("b", "10.0.0.2", false, 8080, json!({})),
        pod(
            "c",
            "10.0.0.3",
            true,
            8080,
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ),
        pod(
            "d",
            "10.0.0.4",
            true,
            8080,
            json!({"status": {"phase": "Succeeded"}}),
        ),
        pod("e", "", false, 8080, json!({})),
    ];
    let plan = slices::plan(&service(json!({})), &pods, &[]);
    assert_eq!(
        told(&plan.create),
        [
            "IPv4 8080",
            "  10.0.0.1 110 -",
            "  10.0.0.2 000 -",
            "  10.0.0.3 011 -"
        ]
    );
    let published = slices::plan(
        &service(json!({"publishNotReadyAddresses": true})),
        &pods,
        &[],
    );
    assert_eq!(
        told(&published.create),
        [
            "IPv4 8080",
            "  10.0.0.1 110 -",
            "  10.0.0.2 100 -",
            "  10.0.0.3 111 -"
        ]
    );
    let older = legacy::wanted(&service(json!({})), &pods);
    let subsets = older.subsets.expect("subsets");
    assert_eq!(subsets.len(), 1);
    assert_eq!(subsets[0].addresses.as_ref().map(Vec::len), Some(1));
    assert_eq!(
        subsets[0].not_ready_addresses.as_ref().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_named_port_may_differ_per_pod() {
    let pods = [
        pod("a", "10.0.0.1", true, 8080, json!({})),
        pod("b", "10.0.0.2", true, 9090, json!({})),
    ];
    let plan = slices::plan(&service(json!({})), &pods, &[]);
    assert_eq!(
        told(&plan.create),
        [
            "IPv4 8080",
            "  10.0.0.1 110 -",
            "IPv4 9090",
            "  10.0.0.2 110 -"
        ]
    );
}

#[test]
fn headless_pods_with_a_matching_subdomain_have_names() {
    let pods = [
        pod(
            "a",
            "10.0.0.1",
            true,
            1,
            json!({"spec": {"hostname": "w-0", "subdomain": "w"}}),
        ),
        pod(
            "b",
            "10.0.0.2",
            true,
            1,
            json!({"spec": {"hostname": "x", "subdomain": "other"}}),
        ),
    ];
    let headless = service(json!({"clusterIP": "None", "ports": []}));
    let plan = slices::plan(&headless, &pods, &[]);
    assert_eq!(
        told(&plan.create),
        ["IPv4 ", "  10.0.0.1 110 w-0", "  10.0.0.2 110 -"]
    );
    assert!(
        plan.create[0]
            .metadata
            .labels
            .as_ref()
            .expect("labels")
            .contains_key("service.kubernetes.io/headless")
    );
    assert_eq!(
        legacy::wanted(&headless, &pods).subsets.map(|s| s.len()),
        Some(1)
    );
}

#[test]
fn a_second_pass_changes_nothing_and_a_change_updates_in_place() {
    let before = [pod("a", "10.0.0.1", true, 8080, json!({}))];
    let first = slices::plan(&service(json!({})), &before, &[]);
    let have: Vec<_> = first.create.into_iter().map(Arc::new).collect();
    let again = slices::plan(&service(json!({})), &before, &have);
    assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    let after = [
        before[0].clone(),
        pod("b", "10.0.0.2", true, 8080, json!({})),
    ];
    let next = slices::plan(&service(json!({})), &after, &have);
    assert_eq!(
        (next.create.len(), next.update.len(), next.delete.len()),
        (0, 1, 0)
    );
    let moved = slices::plan(
        &service(json!({"ports": [{"port": 80, "targetPort": 81}]})),
        &after,
        &have,
    );
    assert_eq!(
        (moved.create.len(), moved.update.len(), moved.delete.len()),
        (1, 0, 1)
    );
}

#[test]
fn many_endpoints_are_split_and_none_leave_an_empty_slice() {
    let pods: Vec<_> = (0..250)
        .map(|i| {
            pod(
                &format!("p{i}"),
                &format!("10.0.{}.{}", i / 200, i % 200 + 1),
                true,
                80,
                json!({}),
            )
        })
        .collect();
    assert_eq!(
        slices::plan(&service(json!({})), &pods, &[]).create.len(),
        3
    );
    assert_eq!(
        told(&slices::plan(&service(json!({})), &[], &[]).create),
        ["IPv4 "]
    );
    let dual = service(json!({"ipFamilies": ["IPv4", "IPv6"]}));
    assert_eq!(slices::plan(&dual, &[], &[]).create.len(), 2);
}
