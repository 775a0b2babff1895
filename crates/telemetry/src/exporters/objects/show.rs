//! How a kind becomes families: a table of functions over one object, walked family by family.

use crate::exporters::Sink;
use crate::family::{Kind, Text};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One object's own labels, which begin each of its samples, and where they go.
pub(super) struct Show<'a> {
    sink: &'a mut Sink,
    base: &'a [(&'static str, &'a str)],
}

impl Show<'_> {
    /// A sample without further labels.
    pub(super) fn value(&mut self, value: f64) {
        self.sink.sample(self.base, value);
    }

    /// A number that may not be there.
    pub(super) fn maybe<N: Into<f64>>(&mut self, value: Option<N>) {
        if let Some(value) = value {
            self.value(value.into());
        }
    }

    /// A sample with labels.
    pub(super) fn put(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let mut all: Vec<(Text, Text)> = Vec::with_capacity(self.base.len() + labels.len());
        for (name, value) in self.base.iter().chain(labels) {
            all.push((Text::Borrowed(*name), Text::Owned((*value).to_string())));
        }
        self.sink.labelled(all, value);
    }

    /// A sample of 1 whose labels say it all.
    pub(super) fn info(&mut self, labels: &[(&'static str, &str)]) {
        self.put(labels, 1.0);
    }

    /// A time as seconds since 1970.
    pub(super) fn time(&mut self, time: Option<&Time>) {
        if let Some(time) = time {
            self.value(time.0.as_second() as f64);
        }
    }

    /// One sample per value that something can have, 1 for the one it has.
    pub(super) fn one_of(&mut self, label: &'static str, all: &[&str], has: &str) {
        for one in all {
            self.put(&[(label, one)], flag(*one == has));
        }
    }

    /// A condition's status: true, false, unknown.
    pub(super) fn status(
        &mut self,
        labels: &[(&'static str, &str)],
        name: &'static str,
        status: &str,
    ) {
        for one in ["True", "False", "Unknown"] {
            let word = one.to_ascii_lowercase();
            let mut all = labels.to_vec();
            all.push((name, &word));
            self.put(&all, flag(one == status));
        }
    }

    /// Who owns the object.
    pub(super) fn owners(&mut self, owners: Option<&Vec<OwnerReference>>, with_controller: bool) {
        let mut put = |kind: &str, name: &str, controller: &str| {
            let all = [
                ("owner_kind", kind),
                ("owner_name", name),
                ("owner_is_controller", controller),
            ];
            self.info(if with_controller { &all } else { &all[..2] });
        };
        match owners.filter(|owners| !owners.is_empty()) {
            None => put("", "", ""),
            Some(owners) => {
                for owner in owners {
                    let controller = owner.controller == Some(true);
                    put(
                        &owner.kind,
                        &owner.name,
                        if controller { "true" } else { "false" },
                    );
                }
            }
        }
    }

    /// Amounts of resources with their unit; `named` are the labels before them.
    pub(super) fn resources(
        &mut self,
        named: &[(&'static str, &str)],
        amounts: Option<&BTreeMap<String, Quantity>>,
        pods: bool,
    ) {
        for (name, amount) in amounts.into_iter().flatten() {
            let (unit, milli) = match name.as_str() {
                "cpu" => ("core", true),
                "memory" | "storage" | "ephemeral-storage" => ("byte", false),
                "pods" if pods => ("integer", false),
                name if name.starts_with("hugepages-") => ("byte", false),
                name if name.starts_with("attachable-volumes-") => ("byte", false),
                name if name.contains('/') && !name.contains("kubernetes.io/") => {
                    ("integer", false)
                }
                _ => continue,
            };
            let Some(value) = quantity(amount, milli) else {
                continue;
            };
            let resource = clean(name);
            let mut labels = named.to_vec();
            labels.extend([("resource", &*resource), ("unit", unit)]);
            self.put(&labels, value);
        }
    }
}

pub(super) fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// A quantity; `milli` keeps thousandths, else it is rounded up to whole units as upstream does.
pub(super) fn quantity(amount: &Quantity, milli: bool) -> Option<f64> {
    let parsed = towpath_query::quantity::Quantity::parse(&amount.0).ok()?;
    // Thousandths of very large amounts do not fit and do not matter.
    if milli && parsed.units() < i64::MAX / 1000 {
        Some(parsed.milli() as f64 / 1000.0)
    } else {
        Some(parsed.units() as f64)
    }
}

/// What is no letter or digit becomes an underscore.
pub(super) fn clean(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

/// Name, kind, help, and what one object contributes.
pub(super) type Row<K> = (&'static str, Kind, &'static str, fn(&K, &mut Show<'_>));

/// The labels that begin each sample of an object.
pub(super) type Base<K> = for<'a> fn(&'a K) -> Vec<(&'static str, &'a str)>;

/// Labels of objects that are shown as labels of a metric; `*` for all of them.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// By plural of the kind, e.g. `pods`.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// Kinds of which upstream shows since when they are being deleted.
const DELETED: [&str; 10] = [
    "daemonset",
    "deployment",
    "horizontalpodautoscaler",
    "node",
    "persistentvolume",
    "persistentvolumeclaim",
    "pod",
    "poddisruptionbudget",
    "service",
    "statefulset",
];

/// Writes the families of one kind.
pub(super) fn kind<K: k8s_openapi::Metadata<Ty = ObjectMeta>>(
    sink: &mut Sink,
    (singular, plural): (&str, &str),
    objects: &[Arc<K>],
    base: Base<K>,
    rows: &[Row<K>],
    allowed: &Allowed,
) {
    if objects.is_empty() {
        return;
    }
    let bases: Vec<_> = objects.iter().map(|object| base(object)).collect();
    for (name, kind, help, show) in rows {
        sink.family(*name, *kind, *help);
        for (object, base) in objects.iter().zip(&bases) {
            show(object, &mut Show { sink, base });
        }
    }
    sink.family(
        format!("kube_{singular}_created"),
        Kind::Gauge,
        "Unix creation timestamp",
    );
    for (object, base) in objects.iter().zip(&bases) {
        Show { sink, base }.time(object.metadata().creation_timestamp.as_ref());
    }
    if DELETED.contains(&singular) {
        sink.family(
            format!("kube_{singular}_deletion_timestamp"),
            Kind::Gauge,
            "Unix deletion timestamp",
        );
        for (object, base) in objects.iter().zip(&bases) {
            Show { sink, base }.time(object.metadata().deletion_timestamp.as_ref());
        }
    }
    let Some(allowed) = allowed.labels.get(plural).filter(|list| !list.is_empty()) else {
        return;
    };
    sink.family(
        format!("kube_{singular}_labels"),
        Kind::Gauge,
        "Kubernetes labels converted to Prometheus labels.",
    );
    for (object, base) in objects.iter().zip(&bases) {
        let mut all: Vec<(Text, Text)> = Vec::new();
        for (name, value) in base {
            all.push((Text::Borrowed(*name), Text::Owned((*value).to_string())));
        }
        let own = object.metadata().labels.iter().flatten();
        let any = allowed.iter().any(|name| name == "*");
        for (name, value) in own.filter(|(name, _)| any || allowed.contains(*name)) {
            let label = format!("label_{}", clean(name));
            // Two names that become one: the first stays, numbers are upstream's way out.
            if all.iter().any(|(there, _)| *there == label) {
                continue;
            }
            all.push((label.into(), value.clone().into()));
        }
        sink.labelled(all, 1.0);
    }
}

/// Namespace of an object.
pub(super) fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// Name of an object.
pub(super) fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// UID of an object.
pub(super) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}
