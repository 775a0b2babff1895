//! Random strategic merge patches, with all directives, also where they make no sense.

use super::{Dice, cases, doors, play, report};
use crate::door::Ask;
use serde_json::{Value, json};
use std::time::Instant;

const NAMESPACE: &str = "random-patches";
const PATH: &str = "/apis/apps/v1/namespaces/random-patches/deployments";

fn items(dice: &mut Dice, names: &[&str], make: impl Fn(&mut Dice, &str) -> Value) -> Vec<Value> {
    dice.shuffled(names)
        .into_iter()
        .map(|name| make(dice, name))
        .collect()
}

fn env(dice: &mut Dice) -> Vec<Value> {
    items(
        dice,
        &["A", "B", "C"],
        |dice, name| json!({"name": name, "value": dice.of(&["1", "2"])}),
    )
}

fn volumes(dice: &mut Dice) -> Vec<Value> {
    items(dice, &["v", "w"], |dice, name| match dice.below(2) {
        0 => json!({"name": name, "emptyDir": {}}),
        _ => json!({"name": name, "configMap": {"name": "m"}}),
    })
}

fn tolerations(dice: &mut Dice) -> Vec<Value> {
    items(
        dice,
        &["k", "l"],
        |_, name| json!({"key": name, "operator": "Exists"}),
    )
}

fn deployment(dice: &mut Dice, name: &str) -> Value {
    let containers: Vec<Value> = ["c", "d"]
        .into_iter()
        .map(|name| json!({"name": name, "image": "i", "env": env(dice), "args": dice.some(&["x", "y"])}))
        .collect();
    json!({
        "metadata": {"name": name, "labels": {"a": "1", "b": "2"}, "finalizers": ["x.example/z", dice.of(&["x.example/c", "x.example/d"])]},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {"containers": containers, "volumes": volumes(dice), "tolerations": tolerations(dice)},
            },
        },
    })
}

// A patch of a list whose items have names.
fn list_patch(
    dice: &mut Dice,
    names: &[&str],
    make: impl Fn(&mut Dice, &str) -> Value,
) -> Vec<Value> {
    let mut list = Vec::new();
    for name in dice.shuffled(names) {
        if dice.one_in(4) {
            list.push(json!({"name": name, "$patch": "delete"}));
        } else {
            let mut item = make(dice, name);
            if dice.one_in(8) {
                item["$patch"] = "replace".into();
            }
            list.push(item);
        }
    }
    if dice.one_in(8) {
        list.push(json!({"$patch": "replace"}));
    }
    list
}

// No client replaces a list and orders it too; what it deletes it leaves out of a whole order.
fn replaces(list: &Value) -> bool {
    let mut items = list.as_array().into_iter().flatten();
    items.any(|item| !item["$patch"].is_null())
}

// Never empty: no client sends such an order.
fn order(dice: &mut Dice, names: &[&str]) -> Vec<Value> {
    let mut names = dice.shuffled(names);
    if names.is_empty() {
        names = vec!["c"];
    }
    names
        .into_iter()
        .map(|name| json!({"name": name}))
        .collect()
}

fn patch(dice: &mut Dice) -> Value {
    let mut patch = json!({});
    if dice.one_in(2) {
        let mut labels = json!({});
        for key in dice.some(&["a", "b", "c"]) {
            labels[key] = if dice.one_in(3) {
                Value::Null
            } else {
                dice.of(&["7", "8"]).into()
            };
        }
        if dice.one_in(6) {
            labels["$patch"] = dice.of(&["replace", "delete"]).into();
        }
        patch["metadata"]["labels"] = labels;
    }
    if dice.one_in(3) {
        let finalizers = ["x.example/a", "x.example/b", "x.example/c", "x.example/d"];
        // What is both added and taken away depends on the order of Go's maps.
        let added = dice.shuffled(&finalizers[..2]);
        if !added.is_empty() {
            patch["metadata"]["finalizers"] = added.into();
        }
        if dice.one_in(2) {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] =
                dice.some(&finalizers[2..]).into();
        }
        if dice.one_in(4) {
            let mut order = dice.shuffled(&finalizers);
            order.push("x.example/z");
            patch["metadata"]["$setElementOrder/finalizers"] = order.into();
        }
    }
    let spec = &mut patch["spec"]["template"]["spec"];
    if dice.one_in(2) {
        let containers = list_patch(dice, &["c", "d", "e"], |dice, name| {
            let mut container = json!({"name": name, "image": dice.of(&["i", "j"])});
            if dice.one_in(2) {
                container["env"] = list_patch(
                    dice,
                    &["A", "B", "D"],
                    |dice, name| json!({"name": name, "value": dice.of(&["1", "9"])}),
                )
                .into();
            }
            if dice.one_in(4) && !replaces(&container["env"]) {
                container["$setElementOrder/env"] = order(dice, &["A", "B", "C", "D"]).into();
            }
            if dice.one_in(4) {
                container["args"] = dice.shuffled(&["x", "z"]).into();
            }
            container
        });
        spec["containers"] = containers.into();
    }
    if dice.one_in(4) && !replaces(&spec["containers"]) {
        spec["$setElementOrder/containers"] = order(dice, &["c", "d", "e"]).into();
    }
    if dice.one_in(3) {
        spec["volumes"] = list_patch(dice, &["v", "w", "x"], |dice, name| match dice.below(3) {
            0 => json!({"name": name, "emptyDir": {}, "$retainKeys": ["name", "emptyDir"]}),
            1 => json!({"name": name, "configMap": {"name": "n"}, "$retainKeys": ["name", "configMap"]}),
            _ => json!({"name": name, "configMap": {"name": "n"}}),
        })
        .into();
    }
    if dice.one_in(4) {
        spec["tolerations"] = tolerations(dice).into();
    }
    if dice.one_in(4) {
        let strategy = match dice.below(3) {
            0 => json!({"$retainKeys": ["type"], "type": "Recreate"}),
            1 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}),
            _ => json!({"$patch": "replace", "type": "Recreate"}),
        };
        patch["spec"]["strategy"] = strategy;
    }
    if patch["spec"]["template"]["spec"].is_null() {
        patch["spec"]["template"]["spec"] = json!({});
    }
    patch
}

#[tokio::test]
async fn strategic_merge_patches() {
    let Some(doors) = doors(NAMESPACE).await else {
        return;
    };
    let (seed, cases) = cases(800, 2_000);
    let (begin, count) = (Instant::now(), cases.end - cases.start);
    let mut found = Vec::new();
    for case in cases {
        let mut dice = Dice::new(seed, case);
        let name = format!("p{case}");
        let asks = [
            Ask::new("POST", PATH).json("application/json", &deployment(&mut dice, &name)),
            Ask::new("PATCH", format!("{PATH}/{name}"))
                .json("application/strategic-merge-patch+json", &patch(&mut dice)),
            Ask::new("PATCH", format!("{PATH}/{name}"))
                .json("application/strategic-merge-patch+json", &patch(&mut dice)),
        ];
        if let Some(why) = play(&doors, &asks).await {
            found.push((case, why));
        }
    }
    report("strategic merge patches", seed, count, begin, &found);
}
