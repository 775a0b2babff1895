//! Built-in definitions, read from the fact table one by one when first asked for.

use super::{Kind, ListType, PatchStrategy, Schema, Slot};
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

static TABLE: &str = include_str!("../../facts/schemas.txt");
static INDEX: LazyLock<Index> = LazyLock::new(|| Index::read(TABLE));

struct Index {
    blocks: Vec<Block>,
    by_name: HashMap<&'static str, usize>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), usize>,
}

struct Block {
    name: &'static str,
    text: &'static str,
    gvk: Option<(&'static str, &'static str, &'static str)>,
    schema: OnceLock<Schema>,
}

/// The schema of a built-in kind.
pub fn builtin(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    INDEX
        .by_kind
        .get(&(group, version, kind))
        .map(|index| at(*index))
}

/// A definition by its name without `io.k8s.`, such as `api.core.v1.PodSpec`.
pub fn definition(name: &str) -> Option<&'static Schema> {
    INDEX.by_name.get(name).map(|index| at(*index))
}

/// Names and kinds of the definitions that belong to one group and version.
pub fn definitions_of(group: &str, version: &str) -> Vec<(&'static str, &'static str)> {
    INDEX
        .blocks
        .iter()
        .filter_map(|block| match block.gvk {
            Some((g, v, kind)) if g == group && v == version => Some((block.name, kind)),
            _ => None,
        })
        .collect()
}

/// Group, version and kind of a definition that is a root.
pub fn kind_of(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    INDEX
        .by_name
        .get(name)
        .and_then(|index| INDEX.blocks[*index].gvk)
}

pub(super) fn at(index: usize) -> &'static Schema {
    let block = &INDEX.blocks[index];
    block.schema.get_or_init(|| parse(block))
}

pub(super) fn name(index: usize) -> &'static str {
    INDEX.blocks[index].name
}

impl Index {
    fn read(table: &'static str) -> Index {
        let mut starts = Vec::new();
        let mut offset = 0;
        for line in table.split_inclusive('\n') {
            if !line.starts_with([' ', '#', '\n']) {
                starts.push(offset);
            }
            offset += line.len();
        }
        let blocks: Vec<Block> = starts
            .iter()
            .enumerate()
            .map(|(at, start)| {
                let text = &table[*start..starts.get(at + 1).copied().unwrap_or(table.len())];
                let head = text.lines().next().unwrap_or_default();
                let gvk = head
                    .split(' ')
                    .find_map(|word| word.strip_prefix("kind="))
                    .map(|gvk| {
                        let mut parts = gvk.rsplitn(3, '/');
                        let mut part = || parts.next().unwrap_or_default();
                        let (kind, version, group) = (part(), part(), part());
                        (group, version, kind)
                    });
                Block {
                    name: head.split(' ').next().unwrap_or_default(),
                    text,
                    gvk,
                    schema: OnceLock::new(),
                }
            })
            .collect();
        let by_name = blocks
            .iter()
            .enumerate()
            .map(|(at, b)| (b.name, at))
            .collect();
        let by_kind = blocks
            .iter()
            .enumerate()
            .filter_map(|(at, b)| Some((b.gvk?, at)))
            .collect();
        Index {
            blocks,
            by_name,
            by_kind,
        }
    }
}

/// A place that holds values of a built-in definition.
pub(super) fn slot_of(name: &str) -> Slot {
    INDEX
        .by_name
        .get(name)
        .map_or_else(Slot::default, |index| Slot::named(*index))
}

fn parse(block: &'static Block) -> Schema {
    let mut lines = block.text.lines();
    let mut head = lines.next().unwrap_or_default().split(' ').skip(1);
    let mut schema = typed(head.next().unwrap_or("any"));
    schema.name = block.name;
    head.for_each(|option| node_option(&mut schema, option));
    for line in lines {
        let mut words = line.trim_start().split(' ');
        let name = words.next().unwrap_or_default();
        let (name, required) = name
            .strip_suffix('!')
            .map_or((name, false), |name| (name, true));
        if required {
            schema.required.push(name.into());
        }
        let mut slot = slot(words.next().unwrap_or("any"));
        words.for_each(|option| slot_option(&mut slot, option));
        slot.fill = crate::defaults::fill_of(block.name, name);
        if slot.always || slot.emit_zero || slot.fill.is_some() || slot.default.is_some() {
            schema.defaulted.push(schema.fields.len());
        }
        schema.fields.insert(name.into(), slot);
    }
    schema
}

fn slot(text: &'static str) -> Slot {
    match text.strip_prefix('@') {
        Some(name) => INDEX
            .by_name
            .get(name)
            .map_or_else(Slot::default, |index| Slot::named(*index)),
        None => Slot::of(typed(text)),
    }
}

fn typed(text: &'static str) -> Schema {
    let mut schema = Schema::default();
    let inner = |open, close| {
        text.strip_prefix(open)
            .and_then(|t: &'static str| t.strip_suffix(close))
    };
    if let Some(items) = inner('[', ']') {
        schema.kind = Kind::Array;
        schema.items = Some(Box::new(slot(items)));
        return schema;
    }
    if let Some(values) = inner('{', '}') {
        schema.kind = Kind::Object;
        schema.additional = Some(Box::new(slot(values)));
        return schema;
    }
    let (kind, format) = match text {
        "s" => (Kind::String, None),
        "b" => (Kind::Boolean, None),
        "i32" => (Kind::Integer, Some("int32")),
        "i64" => (Kind::Integer, Some("int64")),
        "int" => (Kind::Integer, None),
        "num" => (Kind::Number, Some("double")),
        "obj" => (Kind::Object, None),
        "ios" => (Kind::IntOrString, Some("int-or-string")),
        "qty" => (Kind::Quantity, None),
        _ => match text.strip_prefix("s:") {
            Some(format) => (Kind::String, Some(format)),
            None => (Kind::Any, None),
        },
    };
    schema.kind = kind;
    schema.format = format.map(Box::from);
    schema
}

fn node_option(schema: &mut Schema, option: &'static str) {
    match option.split_once('=') {
        Some(("list", "set")) => schema.list = ListType::Set,
        Some(("keys", keys)) => {
            schema.list = ListType::Map(keys.split(',').map(Box::from).collect())
        }
        Some(("map", "atomic")) => schema.atomic_map = true,
        _ => {}
    }
}

fn slot_option(slot: &mut Slot, option: &'static str) {
    match option.split_once('=') {
        Some(("patch", strategies)) => {
            for strategy in strategies.split(',') {
                slot.patch.merge |= strategy == "merge";
                slot.patch.retain_keys |= strategy == "retainKeys";
            }
        }
        Some(("mk", key)) => {
            slot.patch = PatchStrategy {
                key: Some(key.into()),
                ..slot.patch.clone()
            }
        }
        Some(("enum", values)) => slot.allowed = values.split(',').collect(),
        Some(("def", json)) => slot.default = serde_json::from_str(json).ok(),
        Some(("map", "granular")) => {
            // The place says otherwise than the definition does.
            if let super::Target::Named(index) = slot.target {
                let copy = Schema {
                    atomic_map: false,
                    ..at(index).clone()
                };
                slot.target = super::Target::Inline(Box::new(copy));
                slot.named = Some(index);
            }
        }
        None if option == "z" => slot.always = true,
        None if option == "o" => slot.omit_zero = true,
        None if option == "e" => slot.emit_zero = true,
        _ => {
            if let super::Target::Inline(schema) = &mut slot.target {
                node_option(schema, option);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_reads_and_every_reference_leads_somewhere() {
        for index in 0..INDEX.blocks.len() {
            let block = &INDEX.blocks[index];
            let lines = block.text.lines().count();
            assert_eq!(at(index).fields.len(), lines - 1, "{}", block.name);
            for word in block.text.split([' ', '\n', '[', ']', '{', '}']) {
                if let Some(name) = word.strip_prefix('@') {
                    assert!(
                        INDEX.by_name.contains_key(name),
                        "{} refers to {name}",
                        block.name
                    );
                }
            }
        }
    }

    #[test]
    fn every_resource_has_a_schema() {
        for resource in &crate::facts::catalog().resources {
            let schema = builtin(resource.group, resource.version, resource.kind);
            assert!(
                schema.is_some(),
                "{} {}",
                resource.api_version(),
                resource.kind
            );
        }
    }

    #[test]
    fn options_arrive() {
        let spec = definition("api.core.v1.PodSpec").unwrap();
        let containers = &spec.fields["containers"];
        assert_eq!(containers.patch.key.as_deref(), Some("name"));
        assert_eq!(containers.schema().list, ListType::Map(vec!["name".into()]));
        assert!(spec.fields["nodeSelector"].schema().atomic_map);
        assert!(spec.fields["volumes"].patch.retain_keys);
        let port = definition("api.core.v1.ContainerPort").unwrap();
        assert_eq!(port.fields["protocol"].default, Some("TCP".into()));
        assert!(definition("api.core.v1.Pod").unwrap().fields["spec"].always);
        assert!(definition("api.core.v1.LabelSelector").is_none());
        assert!(
            definition("apimachinery.pkg.apis.meta.v1.LabelSelector")
                .unwrap()
                .atomic_map
        );
    }
}
