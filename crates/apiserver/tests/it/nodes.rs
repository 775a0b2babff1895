//! What a node shows of itself through the API.

use crate::harness::{Server, user};
use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_kit::traits::{NodePage, NodePageError, NodePages};

struct Pages;

#[async_trait]
impl NodePages for Pages {
    fn node(&self) -> String {
        "box".into()
    }

    async fn page(&self, path: &str, query: &str, accept: &str) -> Result<NodePage, NodePageError> {
        let page = |body: String| NodePage {
            content_type: "text/plain; version=0.0.4",
            body: body.into(),
        };
        match path {
            "/metrics/cadvisor" => Ok(page(format!("{query} {accept}"))),
            "/broken" => Err(NodePageError::Failed {
                path: path.into(),
                cause: "no disk".into(),
            }),
            _ => Err(NodePageError::Unknown(path.into())),
        }
    }
}

async fn server() -> Server {
    let server = Server::start().await;
    for name in ["box", "other"] {
        let node = json!({"metadata": {"name": name}});
        let made = server.call(Method::POST, "/api/v1/nodes", &node).await;
        assert_eq!(made.0, 201);
    }
    server
}

#[tokio::test]
async fn pages_of_the_own_node_only() {
    let server = server().await;
    let get = async |path: &str| server.get(&format!("/api/v1/nodes/{path}")).await;
    let none = get("box/proxy/metrics/cadvisor").await;
    assert_eq!(none.0, 503);
    server.api.set_node_pages(Arc::new(Pages));
    let all = (200, Value::String("a=b&c ".into()));
    for name in ["box", "box:10250", "https:box:10250"] {
        assert_eq!(
            get(&format!("{name}/proxy/metrics/cadvisor?a=b&c")).await,
            all,
            "{name}"
        );
    }
    assert_eq!(get("nobody/proxy/metrics/cadvisor").await.0, 404);
    assert_eq!(get("other/proxy/metrics/cadvisor").await.0, 503);
    // Not a way to other ports of the machine.
    assert_eq!(get("box:22/proxy/metrics/cadvisor").await.0, 400);
    assert_eq!(get("box/proxy/run/a/b").await.0, 404);
    assert_eq!(get("box/proxy/..%2fmetrics").await.0, 404);
    assert_eq!(get("box/proxy").await.0, 301);
    let (code, why) = get("box/proxy/broken").await;
    assert_eq!(code, 503);
    let why = why["message"].as_str().expect("a message");
    assert!(why.contains("no disk"), "{why}");
    let path = "/api/v1/nodes/box/proxy/metrics/cadvisor";
    let posted = server.call(Method::POST, path, &json!({})).await;
    assert_eq!(posted.0, 405);
}

#[tokio::test]
async fn the_right_is_that_of_the_proxy() {
    let server = server().await;
    server.api.set_node_pages(Arc::new(Pages));
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let grant = async |name: &str, resource: &str| {
        let role = json!({
            "metadata": {"name": name},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]
        });
        let path = format!("{RBAC}/clusterroles");
        assert_eq!(server.call(Method::POST, &path, &role).await.0, 201);
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
        });
        let path = format!("{RBAC}/clusterrolebindings");
        assert_eq!(server.call(Method::POST, &path, &binding).await.0, 201);
    };
    grant("scraper", "nodes/proxy").await;
    // A right on the kubelet's own port, which the API does not ask for.
    grant("direct", "nodes/metrics").await;
    grant("reader", "nodes").await;
    let path = "/api/v1/nodes/box/proxy/metrics/cadvisor";
    let ask = async |who: &str, method: Method| {
        let answer = server.call_as(user(who), method, path, "", &Value::Null);
        answer.await.0
    };
    assert_eq!(ask("scraper", Method::GET).await, 200);
    for who in ["direct", "reader", "nobody"] {
        assert_eq!(ask(who, Method::GET).await, 403, "{who}");
    }
    // Writing through the proxy is another verb, which is checked before the page is looked for.
    assert_eq!(ask("scraper", Method::POST).await, 403);
}
