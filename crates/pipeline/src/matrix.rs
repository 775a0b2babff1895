//! Matrix expansion: the product of the lists in key order, minus `exclude`, then `include`.

use crate::expr::{Scope, Value, value_of};
use serde_json::{Map, Value as Json};

/// Most cells of one matrix.
pub const LIMIT_CELLS: usize = 256;

/// One combination, in key order.
pub type Cell = Map<String, Json>;

/// Cells of a job's `matrix:`; expressions in it are evaluated first.
pub fn expand(matrix: &Json, scope: &Scope<'_>) -> Result<Vec<Cell>, String> {
    let matrix = resolve(matrix, scope, 0)?;
    let Json::Object(matrix) = matrix else {
        return Err("matrix is not a map".into());
    };
    let entries = |key: &str| -> Result<Vec<Cell>, String> {
        let Some(value) = matrix.get(key) else {
            return Ok(Vec::new());
        };
        let items = value
            .as_array()
            .ok_or_else(|| format!("matrix {key} is not a list"))?;
        items
            .iter()
            .map(|i| {
                i.as_object()
                    .cloned()
                    .ok_or_else(|| format!("an entry of matrix {key} is not a map"))
            })
            .collect()
    };
    let (include, exclude) = (entries("include")?, entries("exclude")?);
    let mut cells = vec![Cell::new()];
    let mut axes = Vec::new();
    for (key, values) in matrix
        .iter()
        .filter(|(k, _)| !matches!(k.as_str(), "include" | "exclude"))
    {
        let values = values
            .as_array()
            .ok_or_else(|| format!("matrix {key} is not a list"))?;
        if values.is_empty() {
            return Err(format!("matrix {key} is empty"));
        }
        axes.push(key.clone());
        // Excluded cells do not count against the limit, but bound the work before them.
        if cells.len() * values.len() > LIMIT_CELLS * 16 {
            return Err(format!("the matrix has more than {LIMIT_CELLS} cells"));
        }
        cells = cells
            .iter()
            .flat_map(|cell| {
                values.iter().map(move |value| {
                    let mut cell = cell.clone();
                    cell.insert(key.clone(), value.clone());
                    cell
                })
            })
            .collect();
    }
    if axes.is_empty() {
        cells.clear();
    }
    cells.retain(|cell| !exclude.iter().any(|e| matches(cell, e)));
    let originals = cells.clone();
    for entry in include {
        let mut extended = false;
        for (cell, original) in cells.iter_mut().zip(&originals) {
            let fits = entry
                .iter()
                .all(|(k, v)| original.get(k).is_none_or(|o| same(o, v)));
            // An entry that names no axis extends every cell; one that names an axis with
            // another value extends none.
            if fits {
                cell.extend(entry.iter().map(|(k, v)| (k.clone(), v.clone())));
                extended = true;
            }
        }
        if !extended {
            cells.push(entry);
        }
    }
    match cells.len() {
        0 => Err("the matrix has no cells".into()),
        n if n > LIMIT_CELLS => Err(format!("the matrix has {n} cells, more than {LIMIT_CELLS}")),
        _ => Ok(cells),
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|o| same(v, o)))
        }
        (a, b) => a == b,
    }
}

fn matches(cell: &Cell, partial: &Cell) -> bool {
    partial
        .iter()
        .all(|(key, value)| cell.get(key).is_some_and(|own| contains(own, value)))
}

// Excluded maps match partially, like the cell itself.
fn contains(own: &Json, wanted: &Json) -> bool {
    match (own, wanted) {
        (Json::Object(own), Json::Object(wanted)) => wanted
            .iter()
            .all(|(k, v)| own.get(k).is_some_and(|o| contains(o, v))),
        (own, wanted) => same(own, wanted),
    }
}

fn resolve(json: &Json, scope: &Scope<'_>, depth: usize) -> Result<Json, String> {
    if depth > 50 {
        return Err("the matrix is nested deeper than 50".into());
    }
    Ok(match json {
        Json::String(text) if text.contains("${{") => value_of(text, scope)?.to_json(),
        Json::Array(items) => Json::Array(
            items
                .iter()
                .map(|i| resolve(i, scope, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                out.insert(key.clone(), resolve(value, scope, depth + 1)?);
            }
            Json::Object(out)
        }
        other => other.clone(),
    })
}

/// `id (v1, v2)`: what people see for a cell without a `name:`.
pub fn cell_name(id: &str, cell: &Cell) -> String {
    let values: Vec<String> = cell
        .values()
        .filter(|v| !v.is_object() && !v.is_array())
        .map(|v| Value::from_json(v).to_text())
        .filter(|t| !t.is_empty())
        .collect();
    if values.is_empty() {
        id.to_string()
    } else {
        format!("{id} ({})", values.join(", "))
    }
}
