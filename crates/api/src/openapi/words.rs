//! What `kubectl explain` says of the fields that every object has.

use serde_json::Value;

pub(super) const API_VERSION: &str =
    "APIVersion defines the group and version of the schema that this object follows.";
pub(super) const KIND: &str = "Kind names the schema that this object follows, in CamelCase.";
pub(super) const METADATA: &str = "Standard object's metadata.";

const OBJECT_META: &str = "ObjectMeta is metadata that every persisted object has.";

const FIELDS: &[(&str, &str)] = &[
    (
        "annotations",
        "Annotations are texts that tools and people keep with the object; nothing can be selected by them.",
    ),
    (
        "creationTimestamp",
        "CreationTimestamp is a timestamp of when the object was created. Set by the server.",
    ),
    (
        "deletionGracePeriodSeconds",
        "Seconds that the object has to end by itself once its deletion was asked for. Set by the server.",
    ),
    (
        "deletionTimestamp",
        "DeletionTimestamp is the time after which the object goes, once its finalizers are gone. Set by the server when the deletion is asked for.",
    ),
    (
        "finalizers",
        "Finalizers must all be removed, each by the one that it names, before the object goes.",
    ),
    (
        "generateName",
        "GenerateName is the beginning of a name that the server makes unique, where no name is given.",
    ),
    (
        "generation",
        "Generation counts the changes of what is wanted. Set by the server.",
    ),
    (
        "labels",
        "Labels are keys and values by which objects are selected.",
    ),
    (
        "managedFields",
        "ManagedFields tells which manager set which fields. Kept by the server.",
    ),
    (
        "name",
        "Name is unique among the objects of a kind in a namespace and cannot be changed.",
    ),
    (
        "namespace",
        "Namespace is where the object lives; empty for kinds that live in none.",
    ),
    (
        "ownerReferences",
        "OwnerReferences name the objects that this one depends on; it goes when the last of them has gone.",
    ),
    (
        "resourceVersion",
        "ResourceVersion tells versions of the object apart; opaque to clients, who send it back unchanged.",
    ),
    ("selfLink", "SelfLink is no longer set."),
    ("uid", "UID is unique in time and space. Set by the server."),
];

/// Adds the words to the schema of `ObjectMeta`.
pub(super) fn describe(node: &mut Value) {
    node["description"] = OBJECT_META.into();
    for (field, words) in FIELDS {
        if let Some(field) = node["properties"].get_mut(field) {
            field["description"] = (*words).into();
        }
    }
}
