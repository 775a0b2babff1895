//! Which ConfigMaps and Secrets the pods of a workload read, so that an edit is known to reach it.

use super::Object;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, Volume};

/// Whether pods made from a template read an object of their own namespace.
pub(super) fn reads(template: &PodTemplateSpec, object: &Object) -> bool {
    let Some(spec) = &template.spec else {
        return false;
    };
    let secret = object.kind == "Secret";
    let name = object.name.as_str();
    let is = |other: Option<&String>| other.is_some_and(|other| other == name);
    let volume = |volume: &Volume| {
        let projected = volume
            .projected
            .iter()
            .flat_map(|p| p.sources.iter().flatten());
        let mut projected = projected.into_iter();
        if secret {
            let own = volume.secret.as_ref().and_then(|s| s.secret_name.as_ref());
            is(own) || projected.any(|s| s.secret.as_ref().is_some_and(|s| s.name == name))
        } else {
            volume.config_map.as_ref().is_some_and(|c| c.name == name)
                || projected.any(|s| s.config_map.as_ref().is_some_and(|c| c.name == name))
        }
    };
    let container = |container: &Container| {
        let whole = container.env_from.iter().flatten().any(|from| {
            if secret {
                from.secret_ref.as_ref().is_some_and(|r| r.name == name)
            } else {
                from.config_map_ref.as_ref().is_some_and(|r| r.name == name)
            }
        });
        let one = container.env.iter().flatten().any(|variable| {
            variable.value_from.as_ref().is_some_and(|from| {
                if secret {
                    from.secret_key_ref.as_ref().is_some_and(|r| r.name == name)
                } else {
                    from.config_map_key_ref
                        .as_ref()
                        .is_some_and(|r| r.name == name)
                }
            })
        });
        whole || one
    };
    let init = spec.init_containers.iter().flatten();
    let pulls = spec.image_pull_secrets.iter().flatten();
    spec.volumes.iter().flatten().any(volume)
        || init.chain(&spec.containers).any(container)
        || (secret && pulls.into_iter().any(|r| r.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_read_is_seen() {
        let template = |spec: serde_json::Value| -> PodTemplateSpec {
            serde_json::from_value(json!({ "spec": spec })).expect("template")
        };
        let map = Object::new("ConfigMap", "shop", "settings");
        let secret = Object::new("Secret", "shop", "settings");
        let main = |more: serde_json::Value| {
            let mut container = json!({"name": "main"});
            let fields = container.as_object_mut().expect("object");
            fields.extend(more.as_object().expect("object").clone());
            template(json!({"containers": [container]}))
        };
        let volume =
            |source: serde_json::Value| template(json!({"containers": [], "volumes": [source]}));
        for (of, of_map) in [
            (
                volume(json!({"name": "v", "configMap": {"name": "settings"}})),
                true,
            ),
            (
                volume(json!({"name": "v", "secret": {"secretName": "settings"}})),
                false,
            ),
            (
                volume(
                    json!({"name": "v", "projected": {"sources": [{"secret": {"name": "settings"}}]}}),
                ),
                false,
            ),
            (
                main(json!({"envFrom": [{"configMapRef": {"name": "settings"}}]})),
                true,
            ),
            (
                main(json!({"env": [{"name": "A", "valueFrom":
                    {"secretKeyRef": {"name": "settings", "key": "a"}}}]})),
                false,
            ),
        ] {
            assert_eq!(reads(&of, &map), of_map, "{of:?}");
            assert_eq!(reads(&of, &secret), !of_map, "{of:?}");
        }
    }
}
