//! Logs, exec, attach and forwarded ports: found and checked here, streamed by the node.

use crate::admission;
use crate::body::{self, Answer, Body};
use crate::core::Call;
use crate::read;
use crate::record;
use crate::route::Target;
use crate::spdy;
use crate::ws;
use futures::StreamExt;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, HeaderValue, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use towpath_api::status::{self, Failure};
use towpath_kit::traits::{
    ContainerRef, ExecRequest, LogRequest, PodStreamError, PodStreams, PortRequest,
};

const STREAM_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const PROGRAM_VERSIONS: [&str; 1] = ["v4.channel.k8s.io"];
const FORWARD_VERSIONS: [&str; 1] = ["portforward.k8s.io"];
const FORWARD_TUNNELS: [&str; 1] = ["SPDY/3.1+portforward.k8s.io"];

pub(crate) fn is_stream(target: &Target) -> bool {
    target.resource.is("", "pods")
        && matches!(
            target.subresource.as_str(),
            "log" | "exec" | "attach" | "portforward" | "proxy"
        )
}

/// Whether it runs something in the pod or talks to it.
pub(crate) fn is_session(target: &Target) -> bool {
    target.resource.is("", "pods")
        && matches!(
            target.subresource.as_str(),
            "exec" | "attach" | "portforward"
        )
}

pub(crate) async fn serve(
    call: Call,
    target: Target,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    let rec = read::find(&call, &target)?;
    let pod = record::decode(&rec);
    if target.subresource != "log" {
        admission::connect(&call, &target).await?;
    }
    match target.subresource.as_str() {
        "log" => log(&call, &target, &pod).await,
        "exec" | "attach" => exec(&call, &target, &pod, upgrade).await,
        "portforward" => forward(&call, &target, &pod, upgrade),
        other => Err(status::method_not_allowed(
            "",
            &format!("pods/{other}"),
            target.verb,
        )),
    }
}

fn node(call: &Call) -> Result<Arc<dyn PodStreams>, Failure> {
    call.core.streams.read().clone().ok_or_else(|| {
        status::unavailable(
            "this server runs without a node: there are no containers to stream from",
        )
    })
}

fn unassigned(pod: &Value) -> bool {
    let node = pod["spec"]["nodeName"].as_str();
    node.unwrap_or_default().is_empty()
}

fn container(call: &Call, target: &Target, pod: &Value) -> Result<ContainerRef, Failure> {
    let names = |list: &str| -> Vec<String> {
        let found = pod["spec"][list].as_array().into_iter().flatten();
        found
            .filter_map(|c| c["name"].as_str().map(str::to_string))
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    let preferred =
        pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let asked = call.query.get("container").filter(|c| !c.is_empty());
    let name = match (asked, main.as_slice()) {
        (Some(name), _) => {
            if ![&main, &init, &ephemeral]
                .iter()
                .any(|list| list.iter().any(|n| n == name))
            {
                return Err(status::bad_request(format!(
                    "container {name} is not valid for pod {}",
                    target.name
                )));
            }
            name.to_string()
        }
        (None, [only]) => only.clone(),
        (None, _) => match preferred.filter(|name| main.iter().any(|n| n == name)) {
            Some(name) => name.to_string(),
            None => {
                let mut text = format!(
                    "a container name must be specified for pod {}, choose one of: [{}]",
                    target.name,
                    main.join(" ")
                );
                if !init.is_empty() {
                    text.push_str(&format!(
                        " or one of the init containers: [{}]",
                        init.join(" ")
                    ));
                }
                return Err(status::bad_request(text));
            }
        },
    };
    Ok(ContainerRef {
        namespace: target.namespace.clone(),
        pod: target.name.clone(),
        uid: pod["metadata"]["uid"].as_str().unwrap_or_default().into(),
        container: name,
    })
}

pub(crate) fn failure(error: PodStreamError) -> Failure {
    match error {
        PodStreamError::NotFound(why) => {
            let mut failure = status::bad_request(why);
            failure.code = 404;
            failure.reason = "NotFound";
            failure
        }
        PodStreamError::BadRequest(why) => status::bad_request(why),
        other => status::internal(other),
    }
}

async fn log(call: &Call, target: &Target, pod: &Value) -> Answer {
    let query = &call.query;
    let now = call.core.clock.since_epoch().as_secs();
    let since = match (
        query.number("sinceSeconds")?,
        query.get("sinceTime").filter(|t| !t.is_empty()),
    ) {
        (Some(seconds), _) => Some(now.saturating_sub(seconds)),
        (None, Some(time)) => {
            let at = towpath_api::time::parse_rfc3339(time);
            Some(
                at.ok_or_else(|| status::bad_request(format!("invalid sinceTime {time:?}")))?
                    .max(0) as u64,
            )
        }
        (None, None) => None,
    };
    let of = container(call, target, pod)?;
    // No container has said anything before the pod has a node.
    if unassigned(pod) {
        return Ok(body::text(200, ""));
    }
    let request = LogRequest {
        of,
        follow: query.is("follow"),
        previous: query.is("previous"),
        timestamps: query.is("timestamps"),
        since,
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
    };
    let stream = node(call)?.log(request).await.map_err(failure)?;
    Ok(body::response(
        200,
        "text/plain",
        Body::stream(stream.boxed()),
    ))
}

async fn exec(
    call: &Call,
    target: &Target,
    pod: &Value,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    let query = &call.query;
    let command: Vec<String> = query.all("command").map(str::to_string).collect();
    if target.subresource == "exec" && command.is_empty() {
        return Err(status::bad_request("you must specify at least 1 command"));
    }
    let tty = query.is("tty");
    let of = container(call, target, pod)?;
    if unassigned(pod) {
        return Err(status::bad_request(format!(
            "pod {} does not have a host assigned",
            target.name
        )));
    }
    let request = ExecRequest {
        of,
        command: if target.subresource == "exec" {
            command
        } else {
            Vec::new()
        },
        stdin: query.is("stdin"),
        stdout: query.is("stdout"),
        stderr: query.is("stderr") && !tty,
        tty,
    };
    if !request.stdin && !request.stdout && !request.stderr {
        return Err(status::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    let upgrade = upgrade.ok_or_else(no_upgrade);
    if wants_spdy(call) {
        let (version, upgrade) = (spdy_version(call, &PROGRAM_VERSIONS)?, upgrade?);
        let streams = node(call)?.exec(request.clone()).await.map_err(failure)?;
        let answer = spdy_answer(version);
        towpath_daemon::spawn("exec stream", async move {
            match upgrade.await {
                Ok(connection) => {
                    let opened = spdy::serve(TokioIo::new(connection));
                    spdy::program::run(opened, request, streams).await;
                }
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        return Ok(answer);
    }
    let accepted = ws::accept(call, &ws::CHANNELS)?;
    let upgrade = upgrade?;
    let streams = node(call)?.exec(request).await.map_err(failure)?;
    Ok(ws::run(accepted, upgrade, streams))
}

fn no_upgrade() -> Failure {
    status::bad_request("the connection cannot be upgraded")
}

fn wants_spdy(call: &Call) -> bool {
    call.header(UPGRADE).eq_ignore_ascii_case("SPDY/3.1")
}

// The first version that the client names and this server knows.
fn spdy_version(call: &Call, known: &'static [&'static str]) -> Result<&'static str, Failure> {
    let offered: Vec<&str> = call
        .headers
        .get_all(STREAM_VERSION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    let found = offered.iter().find_map(|o| known.iter().find(|k| *k == o));
    found.copied().ok_or_else(|| {
        let mut failure = status::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
        ));
        failure.code = 403;
        failure.reason = "Forbidden";
        failure
    })
}

fn spdy_answer(version: &'static str) -> Response<Body> {
    let mut answer = body::response(101, "application/octet-stream", Vec::new());
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(STREAM_VERSION, HeaderValue::from_static(version));
    answer
}

/// Ports are forwarded over SPDY, bare or through a WebSocket.
fn forward(
    call: &Call,
    target: &Target,
    pod: &Value,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    if pod["status"]["phase"].as_str() != Some("Running") {
        return Err(status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={}",
            pod["status"]["phase"].as_str().unwrap_or_default()
        )));
    }
    let request = PortRequest {
        namespace: target.namespace.clone(),
        pod: target.name.clone(),
        uid: pod["metadata"]["uid"].as_str().unwrap_or_default().into(),
        port: 0,
    };
    let node = node(call)?;
    let tunnelled = !wants_spdy(call);
    let answer = if tunnelled {
        ws::switch(&ws::accept(call, &FORWARD_TUNNELS)?)
    } else {
        spdy_answer(spdy_version(call, &FORWARD_VERSIONS)?)
    };
    let upgrade = upgrade.ok_or_else(no_upgrade)?;
    towpath_daemon::spawn("forwarded ports", async move {
        let connection = match upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "connection was not upgraded"),
        };
        let streams = match tunnelled {
            true => spdy::serve(ws::tunnel(connection).await),
            false => spdy::serve(connection),
        };
        spdy::forward::forward(streams, node, request).await;
    });
    Ok(answer)
}
