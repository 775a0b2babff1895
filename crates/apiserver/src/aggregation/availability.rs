//! Whether the servers of others answer: looked at when a service, its endpoints or the object
//! changes, and from time to time in between, since a server that stops tells nobody.

use super::{Service, TABLE, proxy};
use crate::core::Core;
use crate::outbound;
use crate::record;
use crate::write;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use towpath_daemon::CancellationToken;
use towpath_store::{Expect, Op, Snapshot};

const AVAILABLE: &str = "Available";
const EVENTS: usize = 256;
/// How long a server may take to answer.
const PROBE: Duration = Duration::from_secs(5);
/// How often servers are asked that answered, and that did not.
const WELL: Duration = Duration::from_secs(30);
const ILL: Duration = Duration::from_secs(2);

/// Status, reason and message of the condition.
type Told = (bool, &'static str, String);

/// What we serve ourselves is always available.
pub(super) fn local(object: &mut Value, now: &str) {
    let told = (
        true,
        "Local",
        "Local APIServices are always available".to_string(),
    );
    set(object, &told, now);
}

fn set(object: &mut Value, (status, reason, message): &Told, now: &str) {
    let status = if *status { "True" } else { "False" };
    if !object["status"]["conditions"].is_array() {
        object["status"] = json!({"conditions": []});
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else {
        return;
    };
    let at = conditions.iter().position(|c| c["type"] == AVAILABLE);
    let since = at
        .map(|at| &conditions[at])
        .filter(|c| c["status"] == status)
        .map_or_else(|| now.into(), |c| c["lastTransitionTime"].clone());
    let condition = json!({
        "type": AVAILABLE, "status": status, "lastTransitionTime": since,
        "reason": reason, "message": message,
    });
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

pub(super) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    loop {
        let begin = core.store.revision();
        let mut watches = ["services", "discovery.k8s.io/endpointslices", TABLE]
            .map(|table| core.store.watch(table, begin));
        let (remote, ill) = settle(&core).await;
        let [services, slices, objects] = &mut watches;
        // Services of others matter only while there is a server of others.
        let services = async {
            match remote {
                true => tokio::select! {
                    _ = services.next(EVENTS) => {}
                    _ = slices.next(EVENTS) => {}
                    () = tokio::time::sleep(if ill { ILL } else { WELL }) => {}
                },
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = services => {}
            _ = objects.next(EVENTS) => {}
        }
    }
}

// Whether there are servers of others, and whether one of them does not answer.
async fn settle(core: &Arc<Core>) -> (bool, bool) {
    let state = core.store.snapshot();
    let (mut remote, mut ill) = (false, false);
    let checks = state.table(TABLE).values().cloned().collect::<Vec<_>>();
    let checked = checks.iter().map(|rec| {
        let state = &state;
        async move {
            let object = record::decode(rec);
            let Some(service) = Service::read(&object) else {
                return (object, None);
            };
            let told = check(core, state, &service).await;
            (object, Some(told))
        }
    });
    let checked = futures::future::join_all(checked).await;
    for (rec, (mut object, told)) in checks.iter().zip(checked) {
        let before = object.clone();
        match &told {
            None => local(&mut object, &core.clock.rfc3339()),
            Some(told) => {
                remote = true;
                ill |= !told.0;
                set(&mut object, told, &core.clock.rfc3339());
            }
        }
        if object == before {
            continue;
        }
        let put = Op::Put {
            resource: TABLE.into(),
            key: rec.key.clone(),
            expect: Expect::revision(rec.revision),
            new: record::encode_as(&rec.meta, &object),
        };
        if let Err(failure) = write::settle(core, vec![put]).await {
            tracing::warn!(
                why = failure.message,
                "an API service's condition was not written"
            );
            ill = true;
        }
    }
    (remote, ill)
}

/// What can be told without asking the server; nothing where it must be asked.
fn reachable(state: &Snapshot, of: &Service) -> Option<Told> {
    let told = |reason, message: String| Some((false, reason, message));
    let (name, namespace) = (&of.service, &of.namespace);
    let service = state.get("services", &towpath_store::key(namespace, name));
    let Some(service) = service.map(|rec| record::decode(rec)) else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return told("ServiceNotFound", message);
    };
    if !matches!(service["spec"]["type"].as_str(), None | Some("ClusterIP")) {
        return None;
    }
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(port) = ports.find(|port| port["port"].as_u64() == Some(of.port)) else {
        let message = format!(
            "service/{name} in {namespace:?} is not listening on port {}",
            of.port
        );
        return told("ServicePortError", message);
    };
    let port = port["name"].as_str().unwrap_or_default();
    let slices = state.range("discovery.k8s.io/endpointslices", namespace, None);
    let slices: Vec<Value> = slices
        .filter(|rec| rec.meta.label("kubernetes.io/service-name") == Some(name))
        .map(|rec| record::decode(rec))
        .collect();
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return told("EndpointsNotFound", message);
    }
    let active = slices.iter().any(|slice| {
        let list = |key: &str| slice[key].as_array().into_iter().flatten();
        list("endpoints").any(|e| e["conditions"]["ready"] != false)
            && list("ports")
                .any(|p| p["name"].as_str().unwrap_or_default() == port && !p["port"].is_null())
    });
    if !active {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port:?}"
        );
        return told("MissingEndpoints", message);
    }
    None
}

async fn check(core: &Arc<Core>, state: &Snapshot, service: &Service) -> Told {
    if let Some(told) = reachable(state, service) {
        return told;
    }
    let place = match proxy::place(state, service) {
        Ok(place) => place,
        Err(why) => return (false, "FailedDiscoveryCheck", why),
    };
    let url = format!("{}/apis/{}/{}", place.url, service.group, service.version);
    let asked = tokio::time::timeout(PROBE, ask(core, &place, service));
    let why = match asked.await {
        Ok(Ok(list)) => {
            let mut told = core.aggregation.told.lock();
            told.insert(service.name.clone(), Arc::new(list));
            return (true, "Passed", "all checks passed".into());
        }
        Ok(Err(why)) => format!("failing or missing response from {url}: {why}"),
        Err(_) => format!(
            "failing or missing response from {url}: Get {url:?}: context deadline exceeded"
        ),
    };
    (false, "FailedDiscoveryCheck", why)
}

// The server's list of resources.
async fn ask(
    core: &Arc<Core>,
    place: &outbound::Place,
    service: &Service,
) -> Result<Value, String> {
    let path = format!("/apis/{}/{}", service.group, service.version);
    let url = format!("{}{path}", place.url);
    let (code, bytes) = proxy::get(core, place, service, &path)
        .await
        .map_err(|why| format!("Get {url:?}: {why}"))?;
    if !(200..300).contains(&code) {
        return Err(format!("bad status from {url}: {code}"));
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}
