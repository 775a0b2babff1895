//! Admission webhooks against a real HTTPS server; the same journey on the real kube-apiserver,
//! so that what is expected here is what upstream does.

use crate::door::{Ask, Door};
use crate::hooks::Hooks;
use serde_json::{Value, json};
use std::time::Duration;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";

/// A configuration of one hook about config maps of one namespace.
fn configuration(kind: &str, name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.example.com"),
        "clientConfig": client,
        "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail"
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        hook[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [hook]})
}

struct World<'a> {
    door: &'a Door,
    hooks: &'a Hooks,
}

impl World<'_> {
    async fn add(&self, plural: &str, name: &str, path: &str, more: Value) {
        self.add_for(plural, name, self.hooks.client(path), more)
            .await;
    }

    async fn add_for(&self, plural: &str, name: &str, client: Value, more: Value) {
        let kind = match plural {
            MUTATING => "MutatingWebhookConfiguration",
            _ => "ValidatingWebhookConfiguration",
        };
        let body = configuration(kind, name, client, more);
        let (code, answer) = self
            .door
            .call("POST", &format!("{GROUP}/{plural}"), &body)
            .await;
        assert_eq!(code, 201, "{answer}");
        self.settle().await;
    }

    async fn remove(&self, plural: &str, name: &str) {
        let path = format!("{GROUP}/{plural}/{name}");
        assert_eq!(self.door.call("DELETE", &path, &Value::Null).await.0, 200);
        self.settle().await;
        self.hooks.taken();
    }

    /// Upstream's hooks follow their configurations by a watch, ours by the commit.
    async fn settle(&self) {
        if self.door.is_peer() {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
    }

    async fn make(&self, name: &str) -> (u16, Value) {
        let path = "/api/v1/namespaces/hooked/configmaps";
        self.door
            .call(
                "POST",
                path,
                &json!({"metadata": {"name": name}, "data": {"a": "b"}}),
            )
            .await
    }

    async fn refusal(&self, name: &str) -> (u64, String) {
        let (code, answer) = self.make(name).await;
        let message = answer["message"].as_str().unwrap_or_default().to_string();
        (code.into(), message)
    }
}

async fn journey(door: &Door) {
    let hooks = Hooks::start(&["127.0.0.1"]).await;
    let world = World {
        door,
        hooks: &hooks,
    };
    let namespace = json!({"metadata": {"name": "hooked", "labels": {"hooked": "yes"}}});
    assert_eq!(
        door.call("POST", "/api/v1/namespaces", &namespace).await.0,
        201
    );
    tokio::time::sleep(Duration::from_millis(if door.is_peer() { 700 } else { 0 })).await;
    order_and_reinvocation(&world).await;
    refusals(&world).await;
    bad_answers(&world).await;
    selection(&world).await;
    requests(&world).await;
    deletion(&world).await;
    conditions(&world).await;
    actions(&world).await;
    custom(&world).await;
}

async fn order_and_reinvocation(world: &World<'_>) {
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    world.add(MUTATING, "b", "/label/b", json!({})).await;
    world.add(MUTATING, "a", "/label/a", again).await;
    let (code, made) = world.make("ordered").await;
    assert_eq!(code, 201, "{made}");
    // The first runs again because of the second, which does not ask for that.
    assert_eq!(made["metadata"]["labels"], json!({"a": "2", "b": "1"}));
    let paths: Vec<String> = world
        .hooks
        .taken()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(paths, ["/label/a", "/label/b", "/label/a"]);
    world.remove(MUTATING, "a").await;
    let path = "/api/v1/namespaces/hooked/configmaps/ordered";
    let ask =
        Ask::new("PATCH", path).json("application/merge-patch+json", &json!({"data": {"a": "c"}}));
    let answer = world.door.send(&ask).await;
    assert_eq!(answer.value()["metadata"]["labels"]["b"], "2");
    world.remove(MUTATING, "b").await;
}

async fn refusals(world: &World<'_>) {
    world.add(VALIDATING, "deny", "/deny", json!({})).await;
    let ask = Ask::new("POST", "/api/v1/namespaces/hooked/configmaps")
        .json("application/json", &json!({"metadata": {"name": "denied"}}));
    let answer = world.door.send(&ask).await;
    assert_eq!(answer.code, 400);
    let begin = "admission webhook \"deny.example.com\" denied the request";
    assert_eq!(
        answer.value()["message"],
        format!("{begin} without explanation")
    );
    let warning = answer.headers.get("warning").and_then(|w| w.to_str().ok());
    assert_eq!(warning, Some("299 - \"mind \\\"this\\\"\""));
    world.remove(VALIDATING, "deny").await;
    world.add(VALIDATING, "deny", "/deny/409", json!({})).await;
    assert_eq!(
        world.refusal("denied").await,
        (409, format!("{begin}: not now"))
    );
    let (_, answer) = world.make("denied").await;
    assert_eq!(answer["reason"], "Conflict");
    world.remove(VALIDATING, "deny").await;
    world.add(VALIDATING, "warn", "/warn", json!({})).await;
    let ask = Ask::new("POST", "/api/v1/namespaces/hooked/configmaps?dryRun=All")
        .json("application/json", &json!({"metadata": {"name": "warned"}}));
    let answer = world.door.send(&ask).await;
    assert_eq!(
        (
            answer.code,
            answer
                .headers
                .get("warning")
                .map(|w| w.to_str().expect("text"))
        ),
        (201, Some("299 - \"take care\""))
    );
    assert_eq!(world.hooks.taken()[0].1["dryRun"], true);
    world.remove(VALIDATING, "warn").await;
    // With a wrong authority the hook's server is nobody.
    let other = Hooks::start(&["127.0.0.1"]).await;
    let mut client = world.hooks.client("/deny");
    client["caBundle"] = other.bundle.clone().into();
    world
        .add_for(VALIDATING, "stranger", client, json!({}))
        .await;
    let (code, message) = world.refusal("stranger").await;
    assert_eq!(code, 500);
    assert!(message.starts_with("Internal error occurred: failed calling webhook \"stranger.example.com\": failed to call webhook: Post \"https://127.0.0.1:"), "{message}");
    assert!(message.to_lowercase().contains("certificate"), "{message}");
    world.remove(VALIDATING, "stranger").await;
}

async fn bad_answers(world: &World<'_>) {
    for (path, plural, says) in [
        ("/slow", VALIDATING, "context deadline exceeded"),
        ("/broken", VALIDATING, ""),
        ("/html", VALIDATING, ""),
        ("/huge", VALIDATING, ""),
        (
            "/uid",
            VALIDATING,
            "received invalid webhook response: expected response.uid=",
        ),
        (
            "/patch-without-type",
            MUTATING,
            "received invalid webhook response: webhook returned response.patch but not response.patchType",
        ),
    ] {
        let name = path.trim_start_matches('/');
        world
            .add(plural, name, path, json!({"timeoutSeconds": 1}))
            .await;
        let begin = std::time::Instant::now();
        let (code, message) = world.refusal(name).await;
        assert_eq!(code, 500, "{path}: {message}");
        assert!(
            message.contains(&format!("failed calling webhook \"{name}.example.com\"")),
            "{message}"
        );
        assert!(message.contains(says), "{message}");
        assert!(
            begin.elapsed() < Duration::from_secs(4),
            "{path}: {:?}",
            begin.elapsed()
        );
        world.remove(plural, name).await;
        world
            .add(
                plural,
                name,
                path,
                json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}),
            )
            .await;
        let (code, answer) = world.make(name).await;
        assert_eq!(code, 201, "{path}: {answer}");
        world.remove(plural, name).await;
    }
    world
        .add(MUTATING, "bad-patch", "/bad-patch", json!({}))
        .await;
    let (code, message) = world.refusal("bad-patch").await;
    assert_eq!(code, 500, "{message}");
    world.remove(MUTATING, "bad-patch").await;
    // Side effects and a dry run do not go together.
    let (code, answer) = {
        let more = json!({"sideEffects": "Some"});
        let kind = "ValidatingWebhookConfiguration";
        let body = configuration(kind, "effects", world.hooks.client("/allow"), more);
        world
            .door
            .call("POST", &format!("{GROUP}/{VALIDATING}"), &body)
            .await
    };
    // In v1 such a hook cannot even be configured.
    assert_eq!(code, 422, "{answer}");
}

async fn selection(world: &World<'_>) {
    let labelled = json!({"objectSelector": {"matchLabels": {"seen": "yes"}}});
    world
        .add(VALIDATING, "labelled", "/deny/409", labelled)
        .await;
    assert_eq!(world.make("unlabelled").await.0, 201);
    let path = "/api/v1/namespaces/hooked/configmaps";
    let body = json!({"metadata": {"name": "labelled", "labels": {"seen": "yes"}}});
    assert_eq!(world.door.call("POST", path, &body).await.0, 409);
    assert_eq!(
        world
            .door
            .call("POST", "/api/v1/namespaces/default/configmaps", &body)
            .await
            .0,
        201
    );
    assert_eq!(
        world
            .door
            .call(
                "DELETE",
                "/api/v1/namespaces/default/configmaps/labelled",
                &Value::Null
            )
            .await
            .0,
        200
    );
    world.remove(VALIDATING, "labelled").await;
    // A hook for another version of the same objects gets them in that version.
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["*"]}]});
    world.add(VALIDATING, "equivalent", "/allow", rules).await;
    let scaler = json!({"metadata": {"name": "scaler"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    let path = "/apis/autoscaling/v2/namespaces/hooked/horizontalpodautoscalers";
    let (code, answer) = world.door.call("POST", path, &scaler).await;
    assert_eq!(code, 201, "{answer}");
    let taken = world.hooks.taken();
    let (_, request) = taken.first().expect("the hook was asked");
    assert_eq!(
        request["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "HorizontalPodAutoscaler"})
    );
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(
        request["object"]["spec"]["targetCPUUtilizationPercentage"],
        50
    );
    world.remove(VALIDATING, "equivalent").await;
    // Nothing that hooks themselves depend on is shown to them.
    let everything = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}], "namespaceSelector": {}, "objectSelector": {"matchLabels": {"hooked": "no"}}});
    world.add(VALIDATING, "all", "/deny", everything).await;
    let mut body = configuration(
        "ValidatingWebhookConfiguration",
        "other",
        world.hooks.client("/allow"),
        json!({}),
    );
    body["metadata"]["labels"] = json!({"hooked": "no"});
    let (code, answer) = world
        .door
        .call("POST", &format!("{GROUP}/{VALIDATING}"), &body)
        .await;
    assert_eq!(code, 201, "{answer}");
    world.remove(VALIDATING, "other").await;
    world.remove(VALIDATING, "all").await;
}

/// The keys of a request and everything in it that both servers must say alike.
fn plain(request: &Value) -> Value {
    let mut plain = request.clone();
    plain["uid"] = "U".into();
    plain["userInfo"] = json!(
        plain["userInfo"]
            .as_object()
            .map(|map| map.contains_key("username"))
    );
    for object in ["object", "oldObject"] {
        let metadata = plain.pointer_mut(&format!("/{object}/metadata"));
        if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
            let known = ["name", "namespace", "labels"];
            metadata.retain(|key, _| known.contains(&key.as_str()));
        }
    }
    plain
}

async fn requests(world: &World<'_>) {
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps", "namespaces"]}]});
    world.add(VALIDATING, "look", "/allow", rules).await;
    let path = "/api/v1/namespaces/hooked/configmaps";
    let ask = Ask::new(
        "POST",
        format!("{path}?fieldManager=m&fieldValidation=Strict"),
    )
    .json("application/json", &json!({"metadata": {"name": "look"}}));
    assert_eq!(world.door.send(&ask).await.code, 201);
    let ask = Ask::new("PATCH", format!("{path}/look?fieldManager=m"))
        .json("application/merge-patch+json", &json!({"data": {"a": "b"}}));
    assert_eq!(world.door.send(&ask).await.code, 200);
    let (code, _) = world
        .door
        .call(
            "DELETE",
            &format!("{path}/look"),
            &json!({"propagationPolicy": "Background"}),
        )
        .await;
    assert_eq!(code, 200);
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let fixed = json!({"uid": "U", "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "look", "namespace": "hooked", "userInfo": true, "dryRun": false});
    let with = |more: Value| {
        let mut whole = fixed.clone();
        for (key, value) in more.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        whole
    };
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "look", "namespace": "hooked"}});
    let mut full = bare.clone();
    full["data"] = json!({"a": "b"});
    let taken: Vec<Value> = world
        .hooks
        .taken()
        .iter()
        .map(|(_, request)| plain(request))
        .collect();
    let api = "meta.k8s.io/v1";
    assert_eq!(
        taken,
        [
            with(
                json!({"operation": "CREATE", "object": bare, "oldObject": null,
                "options": {"kind": "CreateOptions", "apiVersion": api, "fieldManager": "m", "fieldValidation": "Strict"}})
            ),
            with(
                json!({"operation": "UPDATE", "object": full, "oldObject": bare,
                "options": {"kind": "UpdateOptions", "apiVersion": api, "fieldManager": "m"}})
            ),
            with(
                json!({"operation": "DELETE", "object": null, "oldObject": full,
                "options": {"kind": "DeleteOptions", "apiVersion": api, "propagationPolicy": "Background"}})
            ),
        ]
    );
    world.remove(VALIDATING, "look").await;
}

async fn deletion(world: &World<'_>) {
    assert_eq!(world.make("kept").await.0, 201);
    let rules = json!({"rules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    world.add(VALIDATING, "keep", "/deny/409", rules).await;
    let path = "/api/v1/namespaces/hooked/configmaps/kept";
    let (code, answer) = world.door.call("DELETE", path, &Value::Null).await;
    assert_eq!(
        (code, answer["message"].as_str()),
        (
            409,
            Some("admission webhook \"keep.example.com\" denied the request: not now")
        )
    );
    world.remove(VALIDATING, "keep").await;
    assert_eq!(world.door.call("DELETE", path, &Value::Null).await.0, 200);
}

async fn conditions(world: &World<'_>) {
    let of = |all: &[&str]| {
        let all = all.iter().enumerate();
        let all: Vec<Value> = all
            .map(|(index, text)| json!({"name": format!("c{index}"), "expression": text}))
            .collect();
        json!({ "matchConditions": all })
    };
    let chosen = of(&[
        "object.metadata.name != 'skipped'",
        "request.userInfo.username == 'admin' && request.operation == 'CREATE' && oldObject == null",
        "authorizer.group('').resource('configmaps').namespace('hooked').check('delete').allowed()",
    ]);
    world.add(VALIDATING, "chosen", "/deny/409", chosen).await;
    assert_eq!(world.make("skipped").await.0, 201);
    assert_eq!(world.make("asked").await.0, 409);
    world.remove(VALIDATING, "chosen").await;
    // One that is false decides, also where another fails; a failure alone refuses.
    let both = of(&["object.nothing.at.all == 1", "false"]);
    world.add(VALIDATING, "both", "/deny/409", both).await;
    assert_eq!(world.make("both").await.0, 201);
    world.remove(VALIDATING, "both").await;
    world
        .add(
            VALIDATING,
            "fails",
            "/allow",
            of(&["object.nothing.at.all == 1"]),
        )
        .await;
    let (code, message) = world.refusal("fails").await;
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "configmaps \"fails\" is forbidden: expression 'object.nothing.at.all == 1' resulted in error: no such key: nothing"
    );
    world.remove(VALIDATING, "fails").await;
    let mut open = of(&["object.nothing.at.all == 1"]);
    open["failurePolicy"] = "Ignore".into();
    world.add(VALIDATING, "open", "/deny/409", open).await;
    assert_eq!(world.make("open").await.0, 201);
    world.remove(VALIDATING, "open").await;
    for (expression, says) in [
        (
            "object.metadata.name ==",
            "compilation failed: ERROR: <input>:1:24: Syntax error",
        ),
        ("request.nothing == ''", "undefined field 'nothing'"),
        ("'text'", "must evaluate to bool"),
    ] {
        let kind = "ValidatingWebhookConfiguration";
        let body = configuration(
            kind,
            "unreadable",
            world.hooks.client("/allow"),
            of(&[expression]),
        );
        let (code, answer) = world
            .door
            .call("POST", &format!("{GROUP}/{VALIDATING}"), &body)
            .await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(code == 422 && message.contains(says), "{answer}");
        assert!(
            message.contains("webhooks[0].matchConditions[0].expression: Invalid value: "),
            "{message}"
        );
    }
}

/// Streams, evictions and bindings are shown too, as objects of their own.
async fn actions(world: &World<'_>) {
    let rules = |operation: &str, part: &str| json!({"rules": [{"operations": [operation], "apiGroups": [""], "apiVersions": ["v1"], "resources": [format!("pods/{part}")]}]});
    let pod = json!({"metadata": {"name": "acted"}, "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/hooked/pods";
    let (code, answer) = world.door.call("POST", pods, &pod).await;
    assert_eq!(code, 201, "{answer}");
    world
        .add(VALIDATING, "exec", "/deny/409", rules("CONNECT", "exec"))
        .await;
    let path = format!("{pods}/acted/exec?command=ls&command=-l&stdout=true&container=c");
    let (code, answer) = world.door.call("POST", &path, &Value::Null).await;
    assert_eq!(code, 409, "{answer}");
    let taken = world.hooks.taken();
    let request = &taken.first().expect("the hook was asked").1;
    assert_eq!(request["operation"], "CONNECT");
    assert_eq!(
        (
            &request["subResource"],
            &request["name"],
            &request["oldObject"],
            &request["options"]
        ),
        (&json!("exec"), &json!("acted"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "PodExecOptions"})
    );
    assert_eq!(
        request["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true, "container": "c", "command": ["ls", "-l"]})
    );
    world.remove(VALIDATING, "exec").await;
    world
        .add(
            VALIDATING,
            "evict",
            "/deny/409",
            rules("CREATE", "eviction"),
        )
        .await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "acted", "namespace": "hooked"}});
    let (code, answer) = world
        .door
        .call("POST", &format!("{pods}/acted/eviction"), &eviction)
        .await;
    assert_eq!(code, 409, "{answer}");
    let taken = world.hooks.taken();
    let request = &taken.first().expect("the hook was asked").1;
    assert_eq!(
        (
            &request["kind"]["group"],
            &request["kind"]["kind"],
            &request["subResource"]
        ),
        (&json!("policy"), &json!("Eviction"), &json!("eviction"))
    );
    world.remove(VALIDATING, "evict").await;
    world
        .add(VALIDATING, "bind", "/deny/409", rules("CREATE", "binding"))
        .await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "acted"}, "target": {"kind": "Node", "name": "n"}});
    let (code, answer) = world
        .door
        .call("POST", &format!("{pods}/acted/binding"), &binding)
        .await;
    assert_eq!(code, 409, "{answer}");
    world.remove(VALIDATING, "bind").await;
}

/// What a hook adds to a custom resource is pruned and defaulted by its schema.
async fn custom(world: &World<'_>) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.hooks.example.com"},
        "spec": {"group": "hooks.example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "size": {"type": "integer"},
                    "box": {"type": "object", "properties": {"colour": {"type": "string", "default": "blue"}}}
                }}}}}}]}
    });
    let (code, answer) = world
        .door
        .call(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        )
        .await;
    assert_eq!(code, 201, "{answer}");
    world.settle().await;
    world.settle().await;
    let rules = json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["hooks.example.com"], "apiVersions": ["*"], "resources": ["*"]}]});
    world
        .add(MUTATING, "box", "/spec/box/object", rules.clone())
        .await;
    world
        .add(MUTATING, "size", "/spec/size/5", rules.clone())
        .await;
    world
        .add(MUTATING, "unknown", "/spec/unknown/5", rules.clone())
        .await;
    let path = "/apis/hooks.example.com/v1/namespaces/hooked/gadgets";
    let gadget = json!({"apiVersion": "hooks.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {}});
    let (code, made) = world.door.call("POST", path, &gadget).await;
    assert_eq!(
        (code, &made["spec"]),
        (201, &json!({"box": {"colour": "blue"}, "size": 5})),
        "{made}"
    );
    world.remove(MUTATING, "size").await;
    world.add(MUTATING, "size", "/spec/size/large", rules).await;
    let mut other = gadget.clone();
    other["metadata"]["name"] = "h".into();
    let (code, answer) = world.door.call("POST", path, &other).await;
    assert_eq!(code, 422, "{answer}");
    for name in ["box", "size", "unknown"] {
        world.remove(MUTATING, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_see_and_change_writes() {
    let door = Door::own().await;
    journey(&door).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_see_and_change_writes_on_the_peer() {
    if let Some(door) = Door::peer().await {
        journey(&door).await;
    }
}

/// A hook behind a service: a ready endpoint is called under the service's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_found_by_its_endpoints() {
    let Some(own) = crate::aggregation::own_address() else {
        return;
    };
    let door = Door::own().await;
    let hooks = Hooks::start(&["hook.hooked.svc"]).await;
    let world = World {
        door: &door,
        hooks: &hooks,
    };
    let namespace = json!({"metadata": {"name": "hooked", "labels": {"hooked": "yes"}}});
    assert_eq!(
        door.call("POST", "/api/v1/namespaces", &namespace).await.0,
        201
    );
    let client = json!({"service": {"namespace": "hooked", "name": "hook", "path": "/label/a"}, "caBundle": hooks.bundle});
    world.add_for(MUTATING, "a", client, json!({})).await;
    let says = async |wanted: &str| {
        let (code, message) = world.refusal("x").await;
        assert_eq!(code, 500);
        assert!(message.contains(wanted), "{message}");
    };
    says("service \"hook\" not found").await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 8443}]}});
    assert_eq!(
        door.call("POST", "/api/v1/namespaces/hooked/services", &service)
            .await
            .0,
        201
    );
    says("no endpoints available for service \"hook\"").await;
    let slice = json!({"metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "https", "port": hooks.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": false}}, {"addresses": [own], "conditions": {"ready": true}}]});
    let (code, answer) = door
        .call(
            "POST",
            "/apis/discovery.k8s.io/v1/namespaces/hooked/endpointslices",
            &slice,
        )
        .await;
    assert_eq!(code, 201, "{answer}");
    let (code, made) = world.make("x").await;
    assert_eq!(
        (code, &made["metadata"]["labels"]["a"]),
        (201, &json!("1")),
        "{made}"
    );
    door.close().await;
}

/// Sixteen at once, room for five: five get in, however they race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_never_overrun() {
    let door = Door::own().await;
    let path = "/api/v1/namespaces/default/resourcequotas";
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "6"}}});
    assert_eq!(door.call("POST", path, &quota).await.0, 201);
    let status = json!({"metadata": {"name": "q"}, "status": {"hard": {"count/configmaps": "6"}, "used": {"count/configmaps": "1"}}});
    assert_eq!(
        door.call("PUT", &format!("{path}/q/status"), &status)
            .await
            .0,
        200
    );
    let all = (0..16).map(|n| {
        let (door, body) = (&door, json!({"metadata": {"name": format!("c{n}")}}));
        async move {
            door.call("POST", "/api/v1/namespaces/default/configmaps", &body)
                .await
                .0
        }
    });
    let codes = futures::future::join_all(all).await;
    let count = |code: u16| codes.iter().filter(|c| **c == code).count();
    assert_eq!((count(201), count(403)), (5, 11), "{codes:?}");
    let (_, quota) = door.call("GET", &format!("{path}/q"), &Value::Null).await;
    assert_eq!(quota["status"]["used"]["count/configmaps"], "6");
    door.close().await;
}
