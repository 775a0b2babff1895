//! Versions of custom resources, by name only and by a webhook; the same journey on the real
//! kube-apiserver, so that what is expected here is what upstream does.

use crate::door::{Ask, Door};
use crate::hooks::Hooks;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAME: &str = "places.conversion.example.com";
const GROUP: &str = "/apis/conversion.example.com";

struct World<'a> {
    door: &'a Door,
    hooks: &'a Hooks,
}

fn definition(client: Value) -> Value {
    let schema = |properties: Value| {
        json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": properties},
            "status": {"type": "object", "properties": {"seen": {"type": "boolean"}}},
        }}})
    };
    let text = json!({"type": "string"});
    let scale = json!({"status": {}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": "conversion.example.com", "scope": "Namespaced",
            "names": {"plural": "places", "kind": "Place"},
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "subresources": scale,
                 "schema": schema(json!({"host": text, "port": text, "kept": {"type": "string", "default": "one"}}))},
                {"name": "v2", "served": true, "storage": false, "subresources": scale,
                 "selectableFields": [{"jsonPath": ".spec.address"}],
                 "schema": schema(json!({"address": text, "more": {"type": "string", "default": "two"}}))},
            ],
        },
    })
}

impl World<'_> {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.door.call(method, path, &body).await
    }

    fn path(version: &str) -> String {
        format!("{GROUP}/{version}/namespaces/default/places")
    }

    async fn get(&self, version: &str, name: &str) -> (u16, Value) {
        let path = format!("{}/{name}", Self::path(version));
        self.call("GET", &path, Value::Null).await
    }

    async fn patch(&self, path: &str, kind: &str, patch: Value) -> (u16, Value) {
        let ask = Ask::new("PATCH", path).json(kind, &patch);
        let answer = self.door.send(&ask).await;
        (answer.code, answer.value())
    }

    /// Changes the definition; upstream serves it anew after a while.
    async fn change(&self, patch: Value) -> Value {
        let path = format!("{DEFINITIONS}/{NAME}");
        let (code, changed) = self
            .patch(&path, "application/merge-patch+json", patch)
            .await;
        assert_eq!(code, 200, "{changed}");
        if self.door.is_peer() {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        changed
    }

    async fn fault(&self, fault: &str) {
        let client = self.hooks.client(&format!("/convert/{fault}"));
        self.change(json!({"spec": {"conversion": {"webhook": {"clientConfig": client}}}}))
            .await;
    }

    async fn served(&self, version: &str) {
        let begin = Instant::now();
        while self.call("GET", &Self::path(version), Value::Null).await.0 != 200 {
            assert!(begin.elapsed() < Duration::from_secs(20), "never served");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn place(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("conversion.example.com/{version}"), "kind": "Place", "metadata": {"name": name}, "spec": spec})
}

async fn journey(door: &Door) {
    let hooks = Hooks::start(&["127.0.0.1"]).await;
    let world = World {
        door,
        hooks: &hooks,
    };
    let (code, made) = world
        .call("POST", DEFINITIONS, definition(hooks.client("/convert")))
        .await;
    assert_eq!(code, 201, "{made}");
    world.served("v2").await;
    there_and_back(&world).await;
    writes(&world).await;
    watches_and_selectors(&world).await;
    admission(&world).await;
    faults(&world).await;
    another_storage_version(&world).await;
    let path = format!("{DEFINITIONS}/{NAME}");
    assert_eq!(world.call("DELETE", &path, Value::Null).await.0, 200);
}

async fn there_and_back(world: &World<'_>) {
    let spec = json!({"host": "a", "port": "1"});
    let (code, made) = world
        .call("POST", &World::path("v1"), place("v1", "first", spec))
        .await;
    assert_eq!(
        (code, &made["spec"]["kept"]),
        (201, &json!("one")),
        "{made}"
    );
    // Upstream's caches of other versions may ask by themselves.
    let asked = !world.hooks.taken().is_empty();
    assert!(world.door.is_peer() || !asked, "nothing to convert");
    let (code, shown) = world.get("v2", "first").await;
    assert_eq!(code, 200, "{shown}");
    // The answer of a webhook is not defaulted.
    assert_eq!(shown["spec"], json!({"address": "a:1"}));
    assert_eq!(shown["apiVersion"], "conversion.example.com/v2");
    assert_eq!(shown["metadata"]["uid"], made["metadata"]["uid"]);
    let (_, request) = world.hooks.taken().pop().expect("it was asked");
    assert_eq!(request["desiredAPIVersion"], "conversion.example.com/v2");
    assert_eq!(request["objects"][0]["spec"]["host"], "a");
    let spec = json!({"address": "b:2"});
    let (code, made) = world
        .call("POST", &World::path("v2"), place("v2", "second", spec))
        .await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"], json!({"address": "b:2"}));
    let (_, stored) = world.get("v1", "second").await;
    assert_eq!(
        stored["spec"],
        json!({"host": "b", "port": "2", "kept": "one"})
    );
    assert_eq!(stored["metadata"]["generation"], 1);
    let (code, list) = world.call("GET", &World::path("v2"), Value::Null).await;
    assert_eq!(code, 200, "{list}");
    let addresses: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["spec"]["address"])
        .collect();
    assert_eq!(addresses, ["a:1", "b:2"]);
}

async fn writes(world: &World<'_>) {
    let path = format!("{}/first", World::path("v2"));
    let merge = "application/merge-patch+json";
    let (code, changed) = world
        .patch(&path, merge, json!({"spec": {"address": "c:3"}}))
        .await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["spec"]["address"], "c:3");
    assert_eq!(changed["metadata"]["generation"], 2);
    let (_, stored) = world.get("v1", "first").await;
    assert_eq!(
        (&stored["spec"]["host"], &stored["spec"]["port"]),
        (&json!("c"), &json!("3"))
    );
    let (_, mut object) = world.get("v2", "first").await;
    object["spec"]["address"] = "d:4".into();
    object["status"] = json!({"seen": true});
    let (code, changed) = world.call("PUT", &path, object).await;
    assert_eq!(code, 200, "{changed}");
    assert!(changed["status"].is_null(), "{changed}");
    let (code, changed) = world
        .patch(
            &format!("{path}/status"),
            merge,
            json!({"status": {"seen": true}, "spec": {"address": "x:0"}}),
        )
        .await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["spec"]["address"], "d:4");
    let config = place("v2", "third", json!({"address": "e:5"}));
    let path = format!("{}/third?fieldManager=me", World::path("v2"));
    let (code, applied) = world
        .patch(&path, "application/apply-patch+yaml", config.clone())
        .await;
    assert_eq!(code, 201, "{applied}");
    let (code, again) = world
        .patch(&path, "application/apply-patch+yaml", config)
        .await;
    assert_eq!(code, 200, "{again}");
    assert_eq!(
        again["metadata"]["managedFields"][0]["apiVersion"],
        "conversion.example.com/v2"
    );
    let (_, stored) = world.get("v1", "third").await;
    assert_eq!(stored["spec"]["host"], "e");
}

async fn watches_and_selectors(world: &World<'_>) {
    let (_, list) = world.call("GET", &World::path("v2"), Value::Null).await;
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("revision");
    let path = format!("{}?watch=1&resourceVersion={revision}", World::path("v2"));
    let mut watch = world.door.open(&Ask::new("GET", &path)).await;
    let path = format!(
        "{}?watch=1&resourceVersion={revision}&fieldSelector=spec.address%3Dg:7",
        World::path("v2")
    );
    let mut narrow = world.door.open(&Ask::new("GET", &path)).await;
    let spec = json!({"host": "f", "port": "6"});
    let (code, made) = world
        .call("POST", &World::path("v1"), place("v1", "fourth", spec))
        .await;
    assert_eq!(code, 201, "{made}");
    let event = watch.line().await.expect("event");
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["address"]),
        (&json!("ADDED"), &json!("f:6"))
    );
    let merge = "application/merge-patch+json";
    let path = format!("{}/fourth", World::path("v1"));
    for port in ["7", "8"] {
        let patch = json!({"spec": {"host": "g", "port": port}});
        assert_eq!(world.patch(&path, merge, patch).await.0, 200);
    }
    let event = narrow.line().await.expect("event");
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["address"]),
        (&json!("ADDED"), &json!("g:7"))
    );
    let event = narrow.line().await.expect("event");
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["address"]),
        (&json!("DELETED"), &json!("g:7"))
    );
    let found = async |address: &str| {
        let path = format!(
            "{}?fieldSelector=spec.address%3D{address}",
            World::path("v2")
        );
        let (code, list) = world.call("GET", &path, Value::Null).await;
        assert_eq!(code, 200, "{list}");
        list["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("g:8").await, found("g:7").await), (1, 0));
    let path = format!("{}?fieldSelector=spec.address%3Dg:8", World::path("v1"));
    assert_eq!(world.call("GET", &path, Value::Null).await.0, 400);
}

/// A hook that asks for another version sees the object converted, and its patch is converted
/// back.
async fn admission(world: &World<'_>) {
    let hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let hook = json!({"metadata": {"name": "places"}, "webhooks": [{
        "name": "places.example.com", "clientConfig": world.hooks.client("/spec/address/other:99"),
        "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["conversion.example.com"], "apiVersions": ["v2"], "resources": ["places"]}],
        "matchPolicy": "Equivalent", "sideEffects": "None", "admissionReviewVersions": ["v1"]}]});
    assert_eq!(world.call("POST", hooks, hook).await.0, 201);
    if world.door.is_peer() {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    world.hooks.taken();
    let spec = json!({"host": "h", "port": "9"});
    let (code, made) = world
        .call("POST", &World::path("v1"), place("v1", "admitted", spec))
        .await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        (&made["spec"]["host"], &made["spec"]["port"]),
        (&json!("other"), &json!("99"))
    );
    let taken = world.hooks.taken();
    let (_, request) = taken
        .iter()
        .find(|(path, _)| path.starts_with("/spec"))
        .expect("the hook was asked");
    assert_eq!(request["object"]["spec"]["address"], "h:9");
    assert_eq!(request["object"]["apiVersion"], "conversion.example.com/v2");
    assert_eq!(request["kind"]["version"], "v2");
    assert_eq!(request["requestKind"]["version"], "v1");
    let path = format!("{hooks}/places");
    assert_eq!(world.call("DELETE", &path, Value::Null).await.0, 200);
    if world.door.is_peer() {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

async fn faults(world: &World<'_>) {
    let begin = "conversion webhook for conversion.example.com/v1, Kind=Place";
    for (fault, says) in [
        ("fail", " failed: not today"),
        (
            "silent",
            " failed: response.result.status was 'Failed', not 'Success'",
        ),
        ("uid", " failed: expected response.uid="),
        ("empty", " failed: no response provided"),
        ("none", " returned 0 objects, expected 1"),
        (
            "name",
            " returned invalid object: must have the same name: first != other",
        ),
        (
            "namespace",
            " returned invalid object: must have the same namespace: default != other",
        ),
        (
            "uid-of-object",
            " returned invalid object: must have the same UID: ",
        ),
        (
            "version",
            " returned invalid object at index 0: invalid groupVersion (expected conversion.example.com/v2, received conversion.example.com/v3)",
        ),
        (
            "kind",
            " returned invalid object at index 0: invalid kind (expected Place, received Other)",
        ),
        (
            "labels",
            " returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object",
        ),
        (
            "bad-label",
            " returned invalid metadata: metadata.labels: Invalid value: \"no label!\": a valid label must be",
        ),
    ] {
        world.fault(fault).await;
        let (code, answer) = world.get("v2", "first").await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(code, 500, "{fault}: {answer}");
        assert!(
            message.starts_with(&format!("{begin}{says}")),
            "{fault}: {message}"
        );
        assert_eq!(
            world.get("v1", "first").await.0,
            200,
            "the stored version needs no webhook"
        );
        let spec = json!({"address": "z:9"});
        let (code, answer) = world
            .call("POST", &World::path("v2"), place("v2", "never", spec))
            .await;
        assert_eq!(code, 500, "{fault}: {answer}");
        assert_eq!(world.get("v1", "never").await.0, 404, "{fault}");
    }
    world.fault("other").await;
    assert_eq!(world.get("v2", "first").await.0, 500);
    // Of the metadata only labels and annotations can change.
    world.fault("generation").await;
    let (code, shown) = world.get("v2", "first").await;
    assert_eq!(code, 200, "{shown}");
    assert_ne!(shown["metadata"]["generation"], 77);
    assert!(shown["metadata"]["finalizers"].is_null(), "{shown}");
    assert_eq!(shown["metadata"]["labels"], json!({"seen": "yes"}));
    let client = world.hooks.client("/convert");
    world
        .change(json!({"spec": {"conversion": {"webhook": {"clientConfig": client}}}}))
        .await;
}

async fn another_storage_version(world: &World<'_>) {
    let path = format!("{}?watch=1", World::path("v1"));
    let mut watch = world.door.open(&Ask::new("GET", &path)).await;
    let (_, present) = world
        .call("GET", &format!("{DEFINITIONS}/{NAME}"), Value::Null)
        .await;
    let mut versions = present["spec"]["versions"].clone();
    versions[0]["storage"] = false.into();
    versions[1]["storage"] = true.into();
    let changed = world
        .change(json!({"spec": {"versions": versions.clone()}}))
        .await;
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    if !world.door.is_peer() {
        // A watch of what has another form now ends; upstream's does after a while.
        while watch.line().await.is_some() {}
    }
    // What is stored in the old version is still read, and is written in the new one.
    let (_, shown) = world.get("v2", "second").await;
    assert_eq!(shown["spec"]["address"], "b:2");
    let (_, shown) = world.get("v1", "second").await;
    assert_eq!(shown["spec"]["host"], "b");
    let merge = "application/merge-patch+json";
    let path = format!("{}/second", World::path("v1"));
    let (code, changed) = world
        .patch(&path, merge, json!({"spec": {"port": "22"}}))
        .await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["spec"]["port"], "22");
    world.hooks.taken();
    let (_, shown) = world.get("v2", "second").await;
    assert_eq!(shown["spec"]["address"], "b:22");
    let asked = !world.hooks.taken().is_empty();
    assert!(world.door.is_peer() || !asked, "it is stored as v2 now");
    // A version with stored objects cannot go.
    let path = format!("{DEFINITIONS}/{NAME}");
    let last = json!([versions[1]]);
    let (code, answer) = world
        .patch(&path, merge, json!({"spec": {"versions": last}}))
        .await;
    assert_eq!(code, 422, "{answer}");
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions"
        ),
        "{message}"
    );
    let (code, answer) = world
        .patch(
            &format!("{path}/status"),
            merge,
            json!({"status": {"storedVersions": ["v2"]}}),
        )
        .await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["status"]["storedVersions"], json!(["v2"]));
    world
        .change(json!({"spec": {"versions": [versions[1]]}}))
        .await;
    let begin = Instant::now();
    while world.get("v1", "second").await.0 != 404 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "v1 is still served"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_shown_in_every_version() {
    let door = Door::own().await;
    journey(&door).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_shown_in_every_version_on_the_peer() {
    if let Some(door) = Door::peer().await {
        journey(&door).await;
    }
}
