//! Numbers, names and types of fields, read once from the fact table.

use std::collections::HashMap;
use std::sync::LazyLock;

static TEXT: &str = include_str!("../../facts/protobuf.txt");
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(TEXT));

/// Messages by name (`apps/v1.Deployment`, `/v1.Pod`, `meta/v1.ObjectMeta`).
pub(super) struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, usize>,
}

/// One message.
pub(super) struct Message {
    pub(super) name: &'static str,
    /// By number.
    pub(super) fields: Vec<Field>,
    /// Where each JSON name is, those of inlined messages among them; by name.
    names: Vec<(&'static str, Place)>,
}

/// A field of a message.
pub(super) struct Field {
    pub(super) tag: u32,
    /// Empty where the fields of the inner message belong to this one.
    pub(super) json: &'static str,
    /// A zero is told from nothing.
    pub(super) pointer: bool,
    pub(super) kind: Kind,
}

/// The way to a field: numbers of the inlined messages around it, then message and field.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) via: Vec<u32>,
    message: usize,
    field: usize,
}

#[derive(Clone)]
pub(super) enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Double,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// A message whose first field is JSON text.
    Json,
    /// One message or a list of them; a boolean or one; one or a list of strings.
    SchemaOrList,
    SchemaOrBool,
    SchemaOrStrings,
    Message(usize),
    List(Box<Kind>),
    Map(Box<Kind>),
    /// A message that stands for a list.
    Items(Box<Kind>),
}

/// The table.
pub(super) fn table() -> &'static Table {
    &TABLE
}

impl Table {
    fn read(text: &'static str) -> Self {
        let mut table = Table {
            messages: Vec::new(),
            by_name: HashMap::new(),
        };
        let mut current = 0;
        for line in text.lines() {
            let words: Vec<&'static str> = line.split(' ').collect();
            match words.as_slice() {
                ["message", name] => current = table.index(name),
                [tag, json, kind] => {
                    let (pointer, kind) = kind
                        .strip_prefix('*')
                        .map_or((false, *kind), |rest| (true, rest));
                    let kind = table.kind(kind);
                    if let Ok(tag) = tag.parse() {
                        table.messages[current].fields.push(Field {
                            tag,
                            json: if *json == "-" { "" } else { json },
                            pointer,
                            kind,
                        });
                    }
                }
                _ => {}
            }
        }
        for index in 0..table.messages.len() {
            let mut names = Vec::new();
            table.gather(index, &mut Vec::new(), &mut names);
            names.sort_by_key(|(name, _)| *name);
            table.messages[index].names = names;
        }
        table
    }

    // A message that is only referred to has no fields.
    fn index(&mut self, name: &'static str) -> usize {
        let next = self.messages.len();
        let index = *self.by_name.entry(name).or_insert(next);
        if index == next {
            self.messages.push(Message {
                name,
                fields: Vec::new(),
                names: Vec::new(),
            });
        }
        index
    }

    fn kind(&mut self, text: &'static str) -> Kind {
        let text = text.strip_prefix('*').unwrap_or(text);
        if let Some(rest) = text.strip_prefix("[]") {
            return Kind::List(Box::new(self.kind(rest)));
        }
        if let Some(rest) = text.strip_prefix("{}") {
            return Kind::Map(Box::new(self.kind(rest)));
        }
        if let Some(rest) = text.strip_prefix("items:[]") {
            return Kind::Items(Box::new(self.kind(rest)));
        }
        match text {
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "bool" => Kind::Bool,
            "int" => Kind::Int,
            "double" => Kind::Double,
            "time" => Kind::Time,
            "microtime" => Kind::MicroTime,
            "duration" => Kind::Duration,
            "quantity" => Kind::Quantity,
            "intorstring" => Kind::IntOrString,
            "json" => Kind::Json,
            "schemaorlist" => Kind::SchemaOrList,
            "schemaorbool" => Kind::SchemaOrBool,
            "schemaorstrings" => Kind::SchemaOrStrings,
            name => Kind::Message(self.index(name)),
        }
    }

    fn gather(&self, message: usize, via: &mut Vec<u32>, names: &mut Vec<(&'static str, Place)>) {
        for (index, field) in self.messages[message].fields.iter().enumerate() {
            match field.kind {
                Kind::Message(inner) if field.json.is_empty() => {
                    via.push(field.tag);
                    self.gather(inner, via, names);
                    via.pop();
                }
                _ => names.push((
                    field.json,
                    Place {
                        via: via.clone(),
                        message,
                        field: index,
                    },
                )),
            }
        }
    }

    /// The message of an object; kinds that all groups share are looked for last.
    pub(super) fn object(&self, group: &str, version: &str, kind: &str) -> Option<&Message> {
        let shared = match (group, version) {
            ("meta.k8s.io", "v1beta1") => format!("meta/v1beta1.{kind}"),
            _ => format!("meta/v1.{kind}"),
        };
        let own = self.named(&format!("{group}/{version}.{kind}"));
        own.or_else(|| self.named(&shared))
            .or_else(|| self.named(&format!("meta/v1.{kind}")))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Message> {
        self.by_name.get(name).map(|index| &self.messages[*index])
    }

    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    pub(super) fn field(&self, place: &Place) -> &Field {
        &self.messages[place.message].fields[place.field]
    }

    /// The schema of a definition, which holds itself.
    pub(super) fn schema(&self) -> Option<&Message> {
        self.named("apiextensions.k8s.io/v1.JSONSchemaProps")
    }
}

impl Message {
    /// The field with a number.
    pub(super) fn tagged(&self, tag: u32) -> Option<&Field> {
        let at = self.fields.binary_search_by_key(&tag, |field| field.tag);
        at.ok().map(|at| &self.fields[at])
    }

    /// Where a JSON name is.
    pub(super) fn place(&self, json: &str) -> Option<&Place> {
        let at = self.names.binary_search_by_key(&json, |(name, _)| *name);
        at.ok().map(|at| &self.names[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_are_there_once() {
        let table = table();
        for message in &table.messages {
            assert!(
                message.fields.windows(2).all(|w| w[0].tag < w[1].tag),
                "{}",
                message.name
            );
            assert!(
                message.names.windows(2).all(|w| w[0].0 < w[1].0),
                "{}",
                message.name
            );
        }
        let volume = table.named("/v1.Volume").unwrap();
        assert_eq!(volume.place("emptyDir").unwrap().via, [2]);
        assert!(volume.place("name").unwrap().via.is_empty());
    }

    #[test]
    fn all_that_is_stored_and_served_has_a_form() {
        for resource in &crate::facts::catalog().resources {
            let known = table().object(resource.group, resource.version, resource.kind);
            assert!(
                known.is_some() || resource.group == "metrics.k8s.io",
                "{}/{} {}",
                resource.group,
                resource.version,
                resource.kind
            );
        }
    }
}
