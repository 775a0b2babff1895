//! Pinning images in a kustomization file: the text is edited, not rewritten, so that comments
//! and order of everything else stay.

use crate::Finding;
use crate::yaml::{Limits, Map, Node, Value, parse, to_yaml};

/// The file with every `(name, digest)` pinned under `images:`. Entries for other images, and
/// a `newName` of a pinned one, are kept.
pub fn pin(file: &str, text: &str, digests: &[(String, String)]) -> Result<String, Finding> {
    let read = |text: &str| parse(text, Limits::default()).map_err(|finding| finding.in_file(file));
    let mut root = read(text)?.into_iter().next().unwrap_or_else(Node::map);
    let Some(map) = root.as_map_mut() else {
        return Err(
            Finding::error("kustomize/type", "the kustomization must be a map").in_file(file),
        );
    };
    let mut images = map
        .get("images")
        .and_then(Node::as_list)
        .map(<[Node]>::to_vec)
        .unwrap_or_default();
    for (name, digest) in digests {
        let found = images
            .iter_mut()
            .find(|n| n.text_at(&["name"]) == Some(name));
        let entry = match found {
            Some(entry) => entry,
            None => {
                let mut fresh = Map::new();
                fresh.insert("name".into(), Node::string(name.clone()));
                images.push(Value::Map(fresh).into());
                match images.last_mut() {
                    Some(entry) => entry,
                    None => continue,
                }
            }
        };
        if let Some(entry) = entry.as_map_mut() {
            entry.shift_remove("newTag");
            entry.shift_remove("tagSuffix");
            entry.insert("digest".into(), Node::string(digest.clone()));
        }
    }
    map.insert("images".into(), Value::List(images.clone()).into());
    let mut block = Map::new();
    block.insert("images".into(), Value::List(images).into());
    let edited = splice(text, &to_yaml(&Value::Map(block).into()));
    // Unusual layouts that the edit would not get right are written anew.
    match read(&edited) {
        Ok(documents) if documents.first().map(Node::to_json) == Some(root.to_json()) => Ok(edited),
        _ => Ok(to_yaml(&root)),
    }
}

fn splice(text: &str, block: &str) -> String {
    let mut out = String::with_capacity(text.len() + block.len());
    let (mut inside, mut done) = (false, false);
    let mut waiting = String::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with("images:") {
            (inside, done) = (true, true);
            out.push_str(block);
            continue;
        }
        if inside {
            match line.chars().next() {
                Some(' ' | '-' | '\t') => {
                    waiting.clear();
                    continue;
                }
                // Comments and blank lines belong to what follows, if something does.
                Some('#' | '\n' | '\r') => {
                    waiting.push_str(line);
                    continue;
                }
                _ => {
                    inside = false;
                    out.push_str(&waiting);
                    waiting.clear();
                }
            }
        }
        out.push_str(line);
    }
    out.push_str(&waiting);
    if !done {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(block);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_other_entries_stay() {
        let text = "# top\nimages:\n- name: demo/hello\n  newTag: latest\n- name: redis\n  newTag: \"7\"\n\n# next\npatches: []\n";
        let pinned = pin("k", text, &[("demo/hello".into(), "sha256:ab".into())]).expect("pin");
        assert_eq!(
            pinned,
            "# top\nimages:\n- digest: sha256:ab\n  name: demo/hello\n- name: redis\n  newTag: \"7\"\n\n# next\npatches: []\n"
        );
        assert_eq!(
            pin("k", &pinned, &[("demo/hello".into(), "sha256:ab".into())]).expect("pin"),
            pinned
        );
        let added = pin("k", "resources: [a]", &[("x".into(), "sha256:cd".into())]).expect("pin");
        assert_eq!(
            added,
            "resources: [a]\nimages:\n- digest: sha256:cd\n  name: x\n"
        );
    }
}
