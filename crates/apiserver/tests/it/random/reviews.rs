//! Random roles, bindings and requests: who may do what.

use super::{Dice, cases, doors, report};
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Instant;

const NAMESPACE: &str = "random-reviews";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";
/// Questions for one set of roles and bindings.
const QUESTIONS: u64 = 100;

const VERBS: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete", "*",
];
const GROUPS: &[&str] = &["", "apps", "example.com", "*"];
const RESOURCES: &[&str] = &[
    "pods",
    "pods/log",
    "configmaps",
    "deployments",
    "deployments/scale",
    "*/scale",
    "*",
    "pods/*",
    "*/*",
];
const NAMES: &[&str] = &["a", "b"];
const PATHS: &[&str] = &["/healthz", "/healthz/*", "/metrics", "*", "/api/*", "/a*"];

fn rule(dice: &mut Dice, paths: bool) -> Value {
    let mut verbs = dice.some(VERBS);
    if verbs.is_empty() {
        verbs = vec!["get"];
    }
    if verbs.len() > 3 {
        verbs.retain(|verb| *verb != "*");
    }
    if paths && dice.one_in(4) {
        return json!({"verbs": verbs, "nonResourceURLs": [dice.of(PATHS), dice.of(PATHS)]});
    }
    let mut rule = json!({
        "verbs": verbs,
        "apiGroups": [dice.of(GROUPS), dice.of(GROUPS)],
        "resources": [dice.of(RESOURCES), dice.of(RESOURCES)],
    });
    if dice.one_in(4) {
        rule["resourceNames"] = json!([dice.of(NAMES)]);
    }
    rule
}

fn rules(dice: &mut Dice, paths: bool) -> Vec<Value> {
    (0..1 + dice.below(2)).map(|_| rule(dice, paths)).collect()
}

fn subject(dice: &mut Dice, round: u64) -> Value {
    let number = dice.below(3);
    match dice.below(4) {
        0 | 1 => json!({"kind": "User", "name": format!("u{round}-{number}"), "apiGroup": GROUP}),
        2 => json!({"kind": "Group", "name": format!("g{round}-{number}"), "apiGroup": GROUP}),
        _ => {
            json!({"kind": "ServiceAccount", "name": format!("s{round}-{number}"), "namespace": NAMESPACE})
        }
    }
}

/// Path and body of what a round begins with.
fn policy(dice: &mut Dice, round: u64) -> Vec<(String, Value)> {
    let namespaced = format!("{RBAC}/namespaces/{NAMESPACE}");
    let mut made = Vec::new();
    for number in 0..2 {
        let name = format!("r{round}-{number}");
        let of = rules(dice, true);
        made.push((
            format!("{RBAC}/clusterroles"),
            json!({"metadata": {"name": name}, "rules": of}),
        ));
        let of = rules(dice, false);
        made.push((
            format!("{namespaced}/roles"),
            json!({"metadata": {"name": name}, "rules": of}),
        ));
    }
    for number in 0..3 {
        let subjects: Vec<Value> = (0..1 + dice.below(2))
            .map(|_| subject(dice, round))
            .collect();
        let wide = dice.one_in(3);
        let kind = if wide || dice.one_in(2) {
            "ClusterRole"
        } else {
            "Role"
        };
        // The third is a role that does not exist.
        let role = format!(
            "r{round}-{}",
            if dice.one_in(10) { 7 } else { dice.below(2) }
        );
        let binding = json!({
            "metadata": {"name": format!("b{round}-{number}")},
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
            "subjects": subjects,
        });
        let path = match wide {
            true => format!("{RBAC}/clusterrolebindings"),
            false => format!("{namespaced}/rolebindings"),
        };
        made.push((path, binding));
    }
    // Upstream's authorizer follows its watch; when it knows this one, it knows all before.
    made.push((
        format!("{RBAC}/clusterroles"),
        json!({"metadata": {"name": format!("last{round}")}, "rules": [{"verbs": ["get"], "nonResourceURLs": [format!("/last{round}")]}]}),
    ));
    for path in ["rolebindings", "clusterrolebindings"] {
        let place = match path {
            "rolebindings" => &namespaced,
            _ => RBAC,
        };
        let role = match path {
            "rolebindings" => "cluster-admin".to_string(),
            _ => format!("last{round}"),
        };
        let binding = json!({
            "metadata": {"name": format!("last{round}")},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": format!("last{round}"), "apiGroup": GROUP}],
        });
        made.push((format!("{place}/{path}"), binding));
    }
    made
}

fn settled(round: u64) -> [Value; 2] {
    let user = format!("last{round}");
    [
        json!({"spec": {"user": user, "nonResourceAttributes": {"verb": "get", "path": format!("/last{round}")}}}),
        json!({"spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": NAMESPACE}}}),
    ]
}

fn question(dice: &mut Dice, round: u64) -> Value {
    let number = dice.below(4);
    let mut spec = match dice.below(4) {
        0 => json!({
            "user": format!("system:serviceaccount:{NAMESPACE}:s{round}-{number}"),
            "groups": ["system:serviceaccounts", "system:authenticated"],
        }),
        1 => {
            json!({"user": "nobody", "groups": [format!("g{round}-{number}"), "system:authenticated"]})
        }
        _ => json!({"user": format!("u{round}-{number}"), "groups": ["system:authenticated"]}),
    };
    if dice.one_in(6) {
        let path = dice.of(&[
            "/healthz",
            "/healthz/etcd",
            "/metrics",
            "/api/v1",
            "/apis",
            "/version",
            "/",
        ]);
        spec["nonResourceAttributes"] = json!({"verb": dice.of(&["get", "post"]), "path": path});
        return json!({"spec": spec});
    }
    let mut about = json!({
        "verb": dice.of(VERBS),
        "group": dice.of(&["", "apps", "example.com"]),
        "resource": dice.of(&["pods", "configmaps", "deployments", "nodes"]),
    });
    if !dice.one_in(4) {
        about["namespace"] = dice.of(&[NAMESPACE, NAMESPACE, "default"]).into();
    }
    if dice.one_in(3) {
        about["subresource"] = dice.of(&["log", "scale", "status"]).into();
    }
    if dice.one_in(2) {
        about["name"] = dice.of(&["a", "b", "c"]).into();
    }
    spec["resourceAttributes"] = about;
    json!({"spec": spec})
}

#[tokio::test]
async fn access_reviews() {
    let Some(doors) = doors(NAMESPACE).await else {
        return;
    };
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (seed, cases) = cases(4_000, 10_000);
    let (begin, count) = (Instant::now(), cases.end - cases.start);
    let rounds = cases.start / QUESTIONS..cases.end.div_ceil(QUESTIONS);
    let mut found = Vec::new();
    for round in rounds {
        let mut dice = Dice::new(seed, round);
        let policy = policy(&mut dice, round);
        for door in &doors {
            for (path, body) in &policy {
                let (code, answer) = door.call("POST", path, body).await;
                assert_eq!(code, 201, "{answer}");
            }
            for probe in settled(round) {
                while door.call("POST", REVIEWS, &probe).await.1["status"]["allowed"] != true {
                    assert!(begin.elapsed().as_secs() < 600, "roles take no effect");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        }
        let questions: Vec<(u64, Value)> = (0..QUESTIONS)
            .map(|number| (round * QUESTIONS + number, question(&mut dice, round)))
            .filter(|(case, _)| cases.contains(case))
            .collect();
        let answers = futures::stream::iter(&questions)
            .map(async |(case, question)| {
                let ours = doors[0].call("POST", REVIEWS, question).await;
                let theirs = doors[1].call("POST", REVIEWS, question).await;
                let verdict = |(code, body): &(u16, Value)| {
                    (
                        *code,
                        body["status"]["allowed"].clone(),
                        body["status"]["denied"].clone(),
                    )
                };
                (verdict(&ours) != verdict(&theirs)).then(|| {
                    let policy: Vec<String> =
                        policy.iter().map(|(_, body)| body.to_string()).collect();
                    (
                        *case,
                        format!(
                            "{question}\n  ours {} theirs {}\n  {}",
                            ours.1["status"],
                            theirs.1["status"],
                            policy.join("\n  ")
                        ),
                    )
                })
            })
            .buffer_unordered(8)
            .collect::<Vec<_>>()
            .await;
        found.extend(answers.into_iter().flatten());
    }
    report("access reviews", seed, count, begin, &found);
}
