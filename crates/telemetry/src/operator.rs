//! The kinds of `monitoring.coreos.com/v1` that people write beside their workloads, as
//! prometheus-operator defined them. Their insides are read by who needs them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::borrow::Cow;

macro_rules! kind {
    ($name:ident, $plural:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Default, Deserialize)]
        pub struct $name {
            /// Its name and place.
            pub metadata: ObjectMeta,
            /// As it was written.
            #[serde(default)]
            pub spec: Json,
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                stringify!($name).into()
            }

            fn group(_: &()) -> Cow<'_, str> {
                GROUP.into()
            }

            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

const GROUP: &str = "monitoring.coreos.com";

kind!(
    ServiceMonitor,
    "servicemonitors",
    "Targets behind services."
);
kind!(PodMonitor, "podmonitors", "Targets in pods.");
kind!(Probe, "probes", "Addresses that another program looks at.");
kind!(PrometheusRule, "prometheusrules", "Groups of rules.");

/// The definitions of these kinds, without schemas of their own.
pub fn definitions() -> Vec<Json> {
    let kinds = [
        ("ServiceMonitor", "servicemonitors", "smon"),
        ("PodMonitor", "podmonitors", "pmon"),
        ("Probe", "probes", "prb"),
        ("PrometheusRule", "prometheusrules", "promrule"),
    ];
    let definition = |(kind, plural, short): (&str, &str, &str)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": kind,
                    "listKind": format!("{kind}List"),
                    "plural": plural,
                    "singular": kind.to_lowercase(),
                    "shortNames": [short],
                    "categories": ["prometheus-operator"],
                },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {"spec": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                        }},
                    }},
                }],
            },
        })
    };
    kinds.into_iter().map(definition).collect()
}
