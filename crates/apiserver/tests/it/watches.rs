use crate::harness::Server;
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

#[tokio::test]
async fn a_selector_is_entered_and_left() {
    let server = Server::start().await;
    let (_, list) = server.get(MAPS).await;
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("revision")
        .to_string();
    let mut watch = server
        .watch(&format!(
            "{MAPS}?watch=1&labelSelector=a%3Db&resourceVersion={revision}"
        ))
        .await;
    server
        .call(Method::POST, MAPS, &map("one", json!({"a": "b"})))
        .await;
    server
        .call(Method::POST, MAPS, &map("two", json!({"a": "c"})))
        .await;
    server
        .call(
            Method::PUT,
            &format!("{MAPS}/two"),
            &map("two", json!({"a": "b"})),
        )
        .await;
    server
        .call(
            Method::PUT,
            &format!("{MAPS}/one"),
            &map("one", json!({"a": "x"})),
        )
        .await;
    server
        .call(Method::DELETE, &format!("{MAPS}/two"), &Value::Null)
        .await;
    assert_eq!(watch.short().await, "ADDED one");
    assert_eq!(watch.short().await, "ADDED two");
    let left = watch.next().await.expect("event");
    assert_eq!(
        (
            left["type"].as_str(),
            left["object"]["metadata"]["labels"]["a"].as_str()
        ),
        (Some("DELETED"), Some("b"))
    );
    assert_eq!(watch.short().await, "DELETED two");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = Server::start().await;
    server
        .call(Method::POST, MAPS, &map("one", json!({})))
        .await;
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=3"
    );
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.short().await, "ADDED kube-root-ca.crt");
    assert_eq!(watch.short().await, "ADDED one");
    let end = watch.next().await.expect("bookmark");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let (_, list) = server.get(MAPS).await;
    assert_eq!(
        end["object"]["metadata"]["resourceVersion"],
        list["metadata"]["resourceVersion"]
    );
    // Writes elsewhere move the bookmark at the end, though nothing happened here.
    server
        .call(
            Method::POST,
            "/api/v1/namespaces",
            &json!({"metadata": {"name": "other"}}),
        )
        .await;
    let last = watch.next().await.expect("bookmark at timeout");
    assert_eq!(last["type"], "BOOKMARK");
    let number = |v: &Value| {
        v["object"]["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|t| t.parse::<u64>().ok())
    };
    assert!(number(&last) > number(&end));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn revisions_outside_the_window_are_told() {
    let server = Server::start().await;
    let server = server.restart().await;
    let mut watch = server
        .watch(&format!("{MAPS}?watch=1&resourceVersion=1"))
        .await;
    let event = watch.next().await.expect("event");
    assert_eq!(
        (event["type"].as_str(), event["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
    assert!(watch.next().await.is_none());
    let (code, status) = server
        .get(&format!("{MAPS}?resourceVersion=99999999"))
        .await;
    assert_eq!(
        (code, status["details"]["causes"][0]["reason"].as_str()),
        (504, Some("ResourceVersionTooLarge"))
    );
}

#[tokio::test]
async fn pages_come_from_one_state() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d"] {
        server
            .call(Method::POST, MAPS, &map(name, json!({"paged": "1"})))
            .await;
    }
    let (_, first) = server.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("token")
        .to_string();
    server
        .call(Method::DELETE, &format!("{MAPS}/c"), &Value::Null)
        .await;
    server.call(Method::POST, MAPS, &map("cc", json!({}))).await;
    let (_, rest) = server
        .get(&format!("{MAPS}?limit=10&continue={token}"))
        .await;
    let names: Vec<&str> = rest["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|i| i["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["c", "d", "kube-root-ca.crt"]);
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    // After a restart the state is gone; the token in the answer goes on with the present one.
    let server = server.restart().await;
    let (code, gone) = server
        .get(&format!("{MAPS}?limit=10&continue={token}"))
        .await;
    assert_eq!(code, 410);
    let fresh = gone["metadata"]["continue"]
        .as_str()
        .expect("fresh token")
        .to_string();
    let (_, rest) = server
        .get(&format!("{MAPS}?limit=10&continue={fresh}"))
        .await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(3));
}
