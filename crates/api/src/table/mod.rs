//! Tables: what `kubectl get` shows, made by the server.
//!
//! A [`Printer`] knows the columns of one kind and turns an object into cells; the present time is
//! handed in for ages. Columns follow upstream's names and order; their descriptions are prose and
//! left empty.

mod builtin;
mod cells;

use crate::jsonpath::{Path, text};
use serde_json::{Value, json};

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// OpenAPI format, or `name` for the object's name.
    pub format: String,
    /// 0 is always shown, more only in wide output.
    pub priority: i64,
    /// Explanation; empty for built-in kinds.
    pub description: String,
}

impl Column {
    fn to_value(&self) -> Value {
        json!({"name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority})
    }
}

/// Prints objects of one kind.
#[derive(Debug, Clone)]
pub struct Printer {
    columns: Vec<Column>,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Builtin(fn(&Value, i64) -> Vec<Value>),
    Paths(Vec<Option<Path>>),
}

impl Printer {
    /// For a built-in kind; kinds without columns of their own get name and age.
    pub fn builtin(group: &str, kind: &str) -> Printer {
        let (spec, cells) = builtin::printer(group, kind);
        Printer {
            columns: builtin::columns(spec),
            how: How::Builtin(cells),
        }
    }

    /// For a custom resource, from `additionalPrinterColumns` of its version (or nothing).
    pub fn custom(additional: Option<&Value>) -> Printer {
        let mut columns = builtin::columns("Name");
        let mut paths = Vec::new();
        let given = additional
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty());
        let age =
            [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
        for column in given.map_or(&age[..], Vec::as_slice) {
            let text = |key: &str| column[key].as_str().unwrap_or_default().to_string();
            columns.push(Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                priority: column["priority"].as_i64().unwrap_or(0),
                description: text("description"),
            });
            paths.push(Path::parse(&text("jsonPath")).ok());
        }
        Printer {
            columns,
            how: How::Paths(paths),
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns as `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        self.columns.iter().map(Column::to_value).collect()
    }

    /// The cells of one object; `now` is in seconds since 1970.
    pub fn cells(&self, object: &Value, now: i64) -> Vec<Value> {
        match &self.how {
            How::Builtin(cells) => cells(object, now),
            How::Paths(paths) => {
                let mut out = vec![object["metadata"]["name"].clone()];
                for (path, column) in paths.iter().zip(&self.columns[1..]) {
                    let value = path.as_ref().and_then(|path| path.first(object));
                    out.push(
                        value.map_or(Value::Null, |value| custom_cell(&column.kind, value, now)),
                    );
                }
                out
            }
        }
    }

    /// One row: cells, conditions and what goes with it (`object`: the object, its metadata, or
    /// `null`).
    pub fn row(&self, object: &Value, now: i64, with: Value) -> Value {
        let mut row = json!({"cells": self.cells(object, now)});
        if matches!(self.how, How::Builtin(_))
            && object["kind"] != "Job"
            && let Some(condition) = completed(object)
        {
            row["conditions"] = json!([condition]);
        }
        row["object"] = with;
        row
    }
}

/// Finished pods are marked, so that clients can leave them out.
fn completed(object: &Value) -> Option<Value> {
    object.get("spec")?.get("containers")?;
    let phase = object["status"]["phase"].as_str()?;
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": phase, "message": message}))
}

fn custom_cell(kind: &str, value: &Value, now: i64) -> Value {
    match kind {
        "string" => text(value).into(),
        "integer" => value
            .as_i64()
            .or_else(|| value.as_f64().map(|n| n as i64))
            .map_or(Value::Null, Value::from),
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" => match value.as_str() {
            Some(time) => match crate::time::parse_rfc3339(time) {
                Some(then) => crate::time::human(now - then).into(),
                None => "<invalid>".into(),
            },
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

/// What each row of a [`render`]ed table carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata`.
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// Reads `includeObject`; the default is metadata.
    pub fn parse(text: Option<&str>) -> Option<Include> {
        match text.unwrap_or("Metadata") {
            "None" => Some(Include::None),
            "Metadata" | "" => Some(Include::Metadata),
            "Object" => Some(Include::Object),
            _ => None,
        }
    }

    /// What goes beside the cells of `object`.
    pub fn of(self, object: &Value) -> Value {
        match self {
            Include::None => Value::Null,
            Include::Metadata => partial(object),
            Include::Object => object.clone(),
        }
    }
}

/// The `PartialObjectMetadata` of an object.
pub fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A whole `Table`; `metadata` is the list's.
pub fn render<'a>(
    printer: &Printer,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: Value,
    include: Include,
    now: i64,
) -> Value {
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| printer.row(object, now, include.of(object)))
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": printer.definitions(), "rows": rows})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_columns() {
        let printer = Printer::custom(Some(&json!([
            {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
            {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}])));
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"n": 3}});
        assert_eq!(
            printer.cells(&object, 90),
            vec![json!("a"), Value::Null, json!(3), json!("90s")]
        );
        assert_eq!(printer.columns()[2].priority, 1);
        let plain = Printer::custom(None);
        assert_eq!(plain.cells(&object, 60), vec![json!("a"), json!("60s")]);
    }

    #[test]
    fn cells_fit_columns_for_every_kind() {
        let object = json!({"metadata": {"name": "a"}});
        for resource in &crate::facts::catalog().resources {
            let printer = Printer::builtin(resource.group, resource.kind);
            assert_eq!(
                printer.cells(&object, 0).len(),
                printer.columns().len(),
                "{}",
                resource.kind
            );
        }
    }
}
