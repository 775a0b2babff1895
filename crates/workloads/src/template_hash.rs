//! Short stable hashes of templates, in the alphabet of generated names.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Label that a deployment adds to its replica sets and pods.
pub(crate) const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// FNV-1a over the JSON form, which is stable: fields in a fixed order, maps sorted. A collision
/// count of zero adds nothing.
pub(crate) fn hash(value: &impl Serialize, collision_count: i32) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut hash = fnv1a(0x811c_9dc5, &bytes);
    if collision_count != 0 {
        hash = fnv1a(hash, &collision_count.to_le_bytes());
    }
    hash.to_string()
        .bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

fn fnv1a(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Whether two templates make the same pods: everything but the hash label counts.
pub(crate) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let split = |t: &PodTemplateSpec| {
        let mut meta = t.metadata.clone().unwrap_or_default();
        let mut labels = meta.labels.take().unwrap_or_default();
        labels.remove(POD_TEMPLATE_HASH);
        let annotations = meta.annotations.take().unwrap_or_default();
        (labels, annotations, meta.finalizers.unwrap_or_default())
    };
    a.spec == b.spec && split(a) == split(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> PodTemplateSpec {
        serde_json::from_str(text).expect("template")
    }

    #[test]
    fn the_hash_label_does_not_count_and_everything_else_does() {
        let a = template(
            r#"{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}"#,
        );
        let hashed = template(
            r#"{"metadata":{"labels":{"app":"x","pod-template-hash":"f"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}"#,
        );
        let other = template(
            r#"{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i:2"}]}}"#,
        );
        assert!(same_template(&a, &hashed));
        assert!(!same_template(&a, &other));
        assert_eq!(hash(&a, 0), hash(&a.clone(), 0));
        assert_ne!(hash(&a, 0), hash(&other, 0));
        assert_ne!(hash(&a, 0), hash(&a, 1));
        assert!(hash(&a, 0).bytes().all(|b| ALPHABET.contains(&b)));
    }
}
