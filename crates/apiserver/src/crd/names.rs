//! Which names of a definition are its own: no two definitions of a group share one. What others
//! hold already is not taken from them; it is given when they let it go.

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Names that other definitions of the group hold.
#[derive(Default)]
pub(super) struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    list.chain(Some(value)).filter_map(Value::as_str)
}

impl Taken {
    /// Adds what a definition holds.
    pub(super) fn add(&mut self, definition: &Value) {
        let names = &definition["status"]["acceptedNames"];
        let put = |set: &mut BTreeSet<String>, key: &str| {
            let found = texts(&names[key]).filter(|name| !name.is_empty());
            set.extend(found.map(str::to_string));
        };
        for key in ["plural", "singular", "shortNames"] {
            put(&mut self.resources, key);
        }
        for key in ["kind", "listKind"] {
            put(&mut self.kinds, key);
        }
    }

    fn refuse(&self, set: &BTreeSet<String>, wanted: &str, held: &str) -> Option<String> {
        (wanted != held && set.contains(wanted)).then(|| format!("{wanted:?} is already in use"))
    }
}

/// Gives a definition the names that are free, and says so in its conditions. `served` tells
/// whether its webhook can be called at all.
pub(super) fn settle(definition: &mut Value, taken: &Taken, served: bool, now: &str) {
    let wanted = definition["spec"]["names"].clone();
    let mut held = definition["status"]["acceptedNames"].clone();
    if !held.is_object() {
        held = json!({"plural": "", "kind": ""});
    }
    let mut clash = None;
    for (key, set, reason) in [
        ("plural", &taken.resources, "PluralConflict"),
        ("singular", &taken.resources, "SingularConflict"),
        ("shortNames", &taken.resources, "ShortNamesConflict"),
        ("kind", &taken.kinds, "KindConflict"),
        ("listKind", &taken.kinds, "ListKindConflict"),
    ] {
        let why: Vec<String> = match key {
            "shortNames" => {
                let own: Vec<&str> = texts(&held[key]).collect();
                let fresh = texts(&wanted[key]).filter(|name| !own.contains(name));
                fresh
                    .filter_map(|name| taken.refuse(set, name, ""))
                    .collect()
            }
            _ => {
                let text = |names: &Value| names[key].as_str().unwrap_or_default().to_string();
                taken
                    .refuse(set, &text(&wanted), &text(&held))
                    .into_iter()
                    .collect()
            }
        };
        match why.as_slice() {
            [] if wanted[key].is_null() => {
                if let Some(held) = held.as_object_mut() {
                    held.shift_remove(key);
                }
            }
            [] => held[key] = wanted[key].clone(),
            [one] => clash = Some((reason, one.clone())),
            many => clash = Some((reason, format!("[{}]", many.join(", ")))),
        }
    }
    if !wanted["categories"].is_null() {
        held["categories"] = wanted["categories"].clone();
    }
    definition["status"]["acceptedNames"] = held;
    let accepted = clash.is_none();
    match clash {
        Some((reason, why)) => set(definition, "NamesAccepted", false, (reason, &why), now),
        None => {
            let told = ("NoConflicts", "no conflicts found");
            set(definition, "NamesAccepted", true, told, now);
        }
    }
    match (is(definition, "Established"), accepted, served) {
        // What is served once goes on being served.
        (true, ..) => {}
        (false, true, true) => {
            let told = (
                "InitialNamesAccepted",
                "the initial names have been accepted",
            );
            set(definition, "Established", true, told, now);
        }
        (false, true, false) => {
            let told = (
                "InvalidCABundle",
                "The conversion webhook CABundle is invalid",
            );
            set(definition, "Established", false, told, now);
        }
        (false, false, _) => {
            let told = ("NotAccepted", "not all names are accepted");
            set(definition, "Established", false, told, now);
        }
    }
}

/// Whether a condition is true.
pub(super) fn is(definition: &Value, kind: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == kind && c["status"] == "True")
}

/// Sets a condition; its time moves with its status only.
pub(super) fn set(
    definition: &mut Value,
    kind: &str,
    status: bool,
    (reason, message): (&str, &str),
    now: &str,
) {
    let status = if status { "True" } else { "False" };
    if !definition["status"]["conditions"].is_array() {
        definition["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = definition["status"]["conditions"].as_array_mut() else {
        return;
    };
    let at = conditions.iter().position(|c| c["type"] == kind);
    let since = at
        .map(|at| &conditions[at])
        .filter(|c| c["status"] == status)
        .map_or_else(|| now.into(), |c| c["lastTransitionTime"].clone());
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short});
        json!({"spec": {"names": names}, "status": {}})
    }

    #[test]
    fn names_are_held_by_the_first() {
        let (mut first, mut second) = (
            definition("as", "A", &["x"]),
            definition("bs", "A", &["x", "y"]),
        );
        settle(&mut first, &Taken::default(), true, "t1");
        assert!(is(&first, "Established") && is(&first, "NamesAccepted"));
        let mut taken = Taken::default();
        taken.add(&first);
        settle(&mut second, &taken, true, "t2");
        assert!(!is(&second, "Established") && !is(&second, "NamesAccepted"));
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bs");
        assert_eq!(second["status"]["acceptedNames"]["kind"], "");
        assert_eq!(
            second["status"]["conditions"][0]["reason"],
            "ListKindConflict"
        );
        settle(&mut second, &Taken::default(), true, "t3");
        assert!(is(&second, "Established"));
        assert_eq!(second["status"]["acceptedNames"], second["spec"]["names"]);
        let before = second.clone();
        settle(&mut second, &Taken::default(), true, "t4");
        assert_eq!(second, before);
    }
}
