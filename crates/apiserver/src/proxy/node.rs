//! `nodes/<name>/proxy/…`: what the node of this process shows of itself.
//!
//! Upstream passes the request on to the kubelet's port. Here the node is in the same process and
//! opens no port, so its pages are asked for directly: nothing else is reachable this way, and
//! whoever may `get` `nodes/proxy` reads figures and can start nothing.

use super::{ANSWER, Named, split, to_root, unreachable};
use crate::body::{self, Answer};
use crate::core::Call;
use crate::read;
use crate::route::{Target, decode};
use http::Method;
use http::header::ACCEPT;
use towpath_api::status;
use towpath_kit::traits::NodePageError;

/// The port of kubelets, which names may carry.
const KUBELET: &str = "10250";
/// Segments of `/api/v1/nodes/<name>/proxy`.
const OF_CLUSTER: usize = 5;

pub(super) async fn serve(call: &Call, target: &Target, named: &Named<'_>) -> Answer {
    let one = Target {
        name: named.name.into(),
        ..target.clone()
    };
    read::find(call, &one)?;
    if !matches!(named.port, "" | KUBELET) {
        return Err(status::bad_request(format!(
            "a node is reached at its kubelet's port {KUBELET} only, not at {:?}",
            named.port
        )));
    }
    let pages = call.core.node_pages.read().clone();
    let pages = pages.filter(|pages| pages.node() == named.name);
    let Some(pages) = pages else {
        let why = format!("no kubelet of node {:?} runs in this server", named.name);
        return Err(unreachable(&why));
    };
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(status::no_such_method());
    }
    let (_, rest) = split(&call.path, OF_CLUSTER);
    if rest.is_empty() {
        return Ok(to_root(call));
    }
    let path = decode(rest, false);
    let page = pages.page(&path, &call.raw_query, call.header(ACCEPT));
    match tokio::time::timeout(ANSWER, page).await {
        Ok(Ok(page)) => Ok(body::response(200, page.content_type, page.body)),
        // As a kubelet answers, not as the API does.
        Ok(Err(error @ NodePageError::Unknown(_))) => {
            Ok(body::text(404, format!("404 page not found: {error}\n")))
        }
        Ok(Err(error @ NodePageError::Failed { .. })) => Err(unreachable(&error.to_string())),
        Err(_) => Err(unreachable("no answer in time")),
    }
}
