//! Who is woken when something changes that controllers make or adopt.

use crate::objects::Object;
use crate::{ownership, selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use std::borrow::Cow;
use std::sync::Arc;
use towpath_kit::cache::{Cache, Change, Key};

/// The controllers of `kind` that the object had and has.
pub(crate) fn owners<'c, K: Resource>(
    change: &'c Change<'_, K>,
    kind: &'c str,
) -> impl Iterator<Item = Key> + 'c {
    let states = [change.old, change.new].into_iter().flatten();
    states.filter_map(move |object| {
        let owner = ownership::controller_name(object.meta(), kind)?;
        Some(Key::new(&change.key.namespace, owner))
    })
}

/// Those among `all` that may adopt the object, where it has no controller: their selector is not
/// empty and matches its labels.
pub(crate) fn adopters<K: Resource, O: Object>(
    change: &Change<'_, K>,
    all: &Cache<O>,
    selector: impl Fn(&O) -> Option<Cow<'_, LabelSelector>>,
) -> Vec<Key> {
    let Some(orphan) = change
        .new
        .filter(|object| ownership::controller_of(object.meta()).is_none())
    else {
        return Vec::new();
    };
    let labels = orphan.meta().labels.as_ref();
    let fits = |owner: &Arc<O>| {
        selector(owner).is_some_and(|s| !selector::is_empty(&s) && selector::matches(&s, labels))
    };
    let mut found = all.in_namespace(&change.key.namespace);
    found.retain(fits);
    found.iter().map(|owner| Key::of(owner.as_ref())).collect()
}
