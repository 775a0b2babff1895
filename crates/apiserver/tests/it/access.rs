use crate::harness::{Server, user};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use std::time::Duration;
use towpath_kit::traits::{Action, Credential, Principal};
use towpath_stdx::Secret;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_binding_takes_effect_with_the_next_request() {
    let server = Server::start().await;
    let list = async |who: &str| {
        server
            .call_as(user(who), Method::GET, MAPS, "", &Value::Null)
            .await
            .0
    };
    assert_eq!(list("jane").await, 403);
    let binding = json!({
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
    });
    let path = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(server.call(Method::POST, &path, &binding).await.0, 201);
    assert_eq!(list("jane").await, 200);
    assert_eq!(list("john").await, 403);
    let denied = server
        .call_as(
            user("jane"),
            Method::DELETE,
            &format!("{MAPS}/x"),
            "",
            &Value::Null,
        )
        .await;
    assert_eq!(
        denied.1["message"],
        "configmaps \"x\" is forbidden: User \"jane\" cannot delete resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    server
        .call(Method::DELETE, &format!("{path}/jane"), &Value::Null)
        .await;
    assert_eq!(list("jane").await, 403);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let server = Server::start().await;
    let allow = json!({
        "metadata": {"name": "granter"},
        "rules": [
            {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
        ]
    });
    // The wildcard would bring `escalate` and `bind` with it.
    let mut allow = allow;
    allow["rules"][0]["verbs"] = json!(["create", "update", "get"]);
    server
        .call(
            Method::POST,
            &format!("{RBAC}/namespaces/default/roles"),
            &allow,
        )
        .await;
    let binding = json!({
        "metadata": {"name": "granter"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "granter"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
    });
    server
        .call(
            Method::POST,
            &format!("{RBAC}/namespaces/default/rolebindings"),
            &binding,
        )
        .await;
    let role = |name: &str, verb: &str| json!({"metadata": {"name": name}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
    let path = format!("{RBAC}/namespaces/default/roles");
    let make = async |body: &Value| {
        server
            .call_as(user("jane"), Method::POST, &path, "application/json", body)
            .await
    };
    assert_eq!(make(&role("own", "get")).await.0, 201);
    let (code, status) = make(&role("more", "delete")).await;
    assert_eq!(code, 403, "{status}");
    assert!(
        status["message"]
            .as_str()
            .expect("text")
            .contains("not currently held"),
        "{status}"
    );
}

#[tokio::test]
async fn tokens_end_with_what_they_are_bound_to() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts";
    server
        .call(Method::POST, path, &json!({"metadata": {"name": "robot"}}))
        .await;
    let (code, answer) = server
        .call(
            Method::POST,
            &format!("{path}/robot/token"),
            &json!({"spec": {}}),
        )
        .await;
    assert_eq!(code, 201, "{answer}");
    let token = answer["status"]["token"]
        .as_str()
        .expect("token")
        .to_string();
    let credential = || Credential::Bearer(Secret::from(token.clone()));
    let who = server
        .api
        .authenticator()
        .authenticate(&credential())
        .await
        .expect("principal");
    assert_eq!(who.name, "system:serviceaccount:default:robot");
    assert!(
        who.groups
            .contains(&"system:serviceaccounts:default".to_string())
    );
    let review = json!({"spec": {"token": token}});
    let (_, review) = server
        .call(
            Method::POST,
            "/apis/authentication.k8s.io/v1/tokenreviews",
            &review,
        )
        .await;
    assert_eq!(review["status"]["authenticated"], true);
    server
        .call(Method::DELETE, &format!("{path}/robot"), &Value::Null)
        .await;
    assert!(
        server
            .api
            .authenticator()
            .authenticate(&credential())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn minted_tokens_carry_their_principal_and_end() {
    let server = Server::start().await;
    let mut job = user("system:towpath:job:demo/r1/test");
    job.extra
        .insert("towpath.dev/run".into(), vec!["demo/r1".into()]);
    let doors = server.api.authenticator();
    let token = doors.mint(&job, Duration::from_secs(600));
    let found = doors
        .authenticate(&Credential::Basic {
            user: "x".into(),
            password: token,
        })
        .await
        .expect("principal");
    assert_eq!(found, job);
    let forged = Credential::Bearer(Secret::from("eyJhbGciOiJub25lIn0.e30.".to_string()));
    assert!(doors.authenticate(&forged).await.is_err());
    let rights = server.api.authorizer();
    let action = Action {
        verb: "get".into(),
        resource: "secrets".into(),
        namespace: "default".into(),
        ..Action::default()
    };
    assert!(!rights.allowed(&job, &action));
    assert!(rights.allowed(&Principal::component("gitops"), &action));
}

#[tokio::test]
async fn impersonation_needs_the_right_and_replaces_the_caller() {
    let server = Server::start().await;
    let request = |as_user: &str| {
        Request::builder()
            .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .method(Method::POST)
            .header("impersonate-user", as_user)
            .header("impersonate-group", "team")
            .body(Full::new(bytes::Bytes::from_static(b"{}")))
            .expect("request")
    };
    let (code, me) =
        crate::harness::send(server.api.service(crate::harness::admin()), request("jane")).await;
    assert_eq!(code, 201, "{me}");
    assert_eq!(
        me["status"]["userInfo"],
        json!({"username": "jane", "groups": ["team", "system:authenticated"]})
    );
    let (code, _) = crate::harness::send(server.api.service(user("john")), request("jane")).await;
    assert_eq!(code, 403);
}

#[tokio::test]
async fn the_body_does_not_say_who_promoted() {
    let server = Server::start().await;
    let crd = json!({
        "metadata": {"name": "promotions.towpath.dev"},
        "spec": {
            "group": "towpath.dev", "scope": "Namespaced",
            "names": {"plural": "promotions", "kind": "Promotion"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
            }}}]
        }
    });
    let (code, made) = server
        .call(
            Method::POST,
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &crd,
        )
        .await;
    assert_eq!(code, 201, "{made}");
    let path = "/apis/towpath.dev/v1alpha1/namespaces/default/promotions";
    let promotion = json!({"apiVersion": "towpath.dev/v1alpha1", "kind": "Promotion", "metadata": {"name": "p"}, "spec": {"by": "mallory", "approvals": [{"by": "boss", "at": "x"}]}});
    let (code, made) = server.call(Method::POST, path, &promotion).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        (
            made["spec"]["by"].as_str(),
            made["spec"]["approvals"][0]["by"].as_str()
        ),
        (Some("admin"), Some("admin"))
    );
    let patch = json!([{"op": "add", "path": "/spec/approvals/-", "value": {"by": "boss", "at": "x"}}, {"op": "replace", "path": "/spec/by", "value": "boss"}]);
    let component = Principal::component("gitops");
    let (code, made) = server
        .call_as(
            component,
            Method::PATCH,
            &format!("{path}/p"),
            "application/json-patch+json",
            &patch,
        )
        .await;
    assert_eq!(code, 200, "{made}");
    assert_eq!(made["spec"]["by"], "admin");
    assert_eq!(made["spec"]["approvals"][0]["by"], "admin");
    assert_eq!(made["spec"]["approvals"][1]["by"], "system:towpath:gitops");
}

#[tokio::test]
async fn components_have_roles_of_their_own_and_are_refused_beyond() {
    let server = Server::start().await;
    let bindings = format!("{RBAC}/clusterrolebindings");
    let (_, list) = server.get(&bindings).await;
    let items = list["items"].as_array().expect("items");
    for binding in items {
        let names_components = binding["subjects"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|s| {
                let name = s["name"].as_str().unwrap_or_default();
                name == "system:towpath" || name.starts_with("system:towpath:")
            });
        if names_components {
            assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
        }
    }
    let rights = server.api.authorizer();
    let may = |component: &str, verb: &str, group: &str, resource: &str| {
        let action = Action {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            namespace: "default".into(),
            ..Action::default()
        };
        rights.allowed(&Principal::component(component), &action)
    };
    assert!(may("pipeline", "create", "", "pods"));
    assert!(!may("pipeline", "create", "apps", "deployments"));
    assert!(!may("node", "create", "", "secrets") && !may("node", "create", "", "pods"));
    assert!(!may("workloads", "create", "", "secrets"));
    for component in [
        "setup",
        "net",
        "node",
        "workloads",
        "source",
        "pipeline",
        "gitops",
        "build",
    ] {
        assert!(!may(component, "impersonate", "", "users"), "{component}");
        assert!(!may(
            component,
            "escalate",
            "rbac.authorization.k8s.io",
            "clusterroles"
        ));
    }
    // What earlier versions gave them is taken back at the next start.
    let old = json!({
        "metadata": {"name": "system:towpath"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:towpath"}]
    });
    assert_eq!(server.call(Method::POST, &bindings, &old).await.0, 201);
    let role = format!("{RBAC}/clusterroles/system:towpath:net");
    let more = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    server
        .call_as(
            crate::harness::admin(),
            Method::PATCH,
            &role,
            "application/merge-patch+json",
            &more,
        )
        .await;
    let server = server.restart().await;
    assert_eq!(
        server.get(&format!("{bindings}/system:towpath")).await.0,
        404
    );
    let (_, role) = server.get(&role).await;
    assert!(!role["rules"].to_string().contains("\"*\""), "{role}");
}
