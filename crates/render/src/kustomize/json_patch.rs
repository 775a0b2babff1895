//! RFC 6902 over nodes.

use crate::Finding;
use crate::yaml::{Limits, Node, Value, parse};

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    op: String,
    path: String,
    from: String,
    value: Option<Node>,
    line: u32,
    column: u32,
}

/// Reads a patch; `None` where the text is no list of operations.
pub(super) fn read(text: &str) -> Option<Vec<Operation>> {
    let limits = Limits {
        words_are_bools: true,
        ..Limits::default()
    };
    let document = parse(text, limits).ok()?.into_iter().next()?;
    let list = document.as_list()?;
    list.iter()
        .map(|node| {
            let map = node.as_map()?;
            let text = |key: &str| {
                map.get(key)
                    .and_then(Node::text)
                    .unwrap_or_default()
                    .to_string()
            };
            map.get("op")?;
            Some(Operation {
                op: text("op"),
                path: text("path"),
                from: text("from"),
                value: map.get("value").cloned(),
                line: node.at.line,
                column: node.at.column,
            })
        })
        .collect()
}

/// Applies all operations in order.
pub(super) fn apply(root: &mut Node, operations: &[Operation]) -> Result<(), Finding> {
    for operation in operations {
        one(root, operation).map_err(|message| {
            let message = format!("{} {}: {message}", operation.op, operation.path);
            Finding::error("kustomize/json-patch", message).at(operation.line, operation.column)
        })?;
    }
    Ok(())
}

fn one(root: &mut Node, operation: &Operation) -> Result<(), String> {
    let path = pointer(&operation.path)?;
    let value = || {
        operation
            .value
            .clone()
            .ok_or_else(|| "the operation has no value".to_string())
    };
    match operation.op.as_str() {
        "add" => add(root, &path, value()?),
        "remove" => remove(root, &path).map(drop),
        "replace" => {
            let value = value()?;
            *find(root, &path)? = value;
            Ok(())
        }
        "copy" => {
            let copied = find(root, &pointer(&operation.from)?)?.clone();
            add(root, &path, copied)
        }
        "move" => {
            let moved = remove(root, &pointer(&operation.from)?)?;
            add(root, &path, moved)
        }
        "test" => {
            let expected = value()?.to_json();
            let equal = find(root, &path)?.to_json() == expected;
            if equal {
                Ok(())
            } else {
                Err("the value is another".into())
            }
        }
        other => Err(format!("{other:?} is not an operation")),
    }
}

fn pointer(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or("a path starts with /")?;
    Ok(rest
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

fn find<'n>(root: &'n mut Node, path: &[String]) -> Result<&'n mut Node, String> {
    path.iter()
        .try_fold(root, |node, key| match &mut node.value {
            Value::Map(map) => map.get_mut(key).ok_or_else(|| format!("there is no {key}")),
            Value::List(list) => {
                let at = index(key, list.len())?;
                list.get_mut(at)
                    .ok_or_else(|| format!("there is no element {key}"))
            }
            Value::Scalar(..) => Err(format!("there is no {key} in a plain value")),
        })
}

// Negative indices count from the end, as the common library allows.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key
        .parse()
        .map_err(|_| format!("{key:?} is not an index"))?;
    let number = if number < 0 {
        number + length as i64
    } else {
        number
    };
    usize::try_from(number).map_err(|_| format!("index {key} is out of bounds"))
}

fn add(root: &mut Node, path: &[String], value: Node) -> Result<(), String> {
    let Some((last, parents)) = path.split_last() else {
        *root = value;
        return Ok(());
    };
    match &mut find(root, parents)?.value {
        Value::Map(map) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Value::List(list) => {
            let at = if last == "-" {
                list.len()
            } else {
                index(last, list.len() + 1)?
            };
            if at > list.len() {
                return Err(format!("index {last} is out of bounds"));
            }
            list.insert(at, value);
            Ok(())
        }
        Value::Scalar(..) => Err("the parent is a plain value".into()),
    }
}

fn remove(root: &mut Node, path: &[String]) -> Result<Node, String> {
    let (last, parents) = path
        .split_last()
        .ok_or("the whole object cannot be removed")?;
    match &mut find(root, parents)?.value {
        Value::Map(map) => map
            .shift_remove(last)
            .ok_or_else(|| format!("there is no {last}")),
        Value::List(list) => {
            let at = index(last, list.len())?;
            if at < list.len() {
                Ok(list.remove(at))
            } else {
                Err(format!("there is no element {last}"))
            }
        }
        Value::Scalar(..) => Err("the parent is a plain value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::to_yaml;

    #[test]
    fn operations() {
        let mut node = parse("a: {b: [1, 2]}\nc/d: x\n", Limits::default())
            .expect("yaml")
            .remove(0);
        let patch = read(
            "- {op: add, path: /a/b/-, value: 3}\n- {op: remove, path: /a/b/0}\n- {op: replace, path: /c~1d, value: z}\n- {op: copy, from: /a/b, path: /e}\n- {op: test, path: /e/0, value: 2}\n",
        )
        .expect("patch");
        apply(&mut node, &patch).expect("apply");
        assert_eq!(
            to_yaml(&node),
            "a:\n  b:\n  - 2\n  - 3\nc/d: z\ne:\n- 2\n- 3\n"
        );
        let bad = read("[{op: remove, path: /zz}]").expect("patch");
        assert!(apply(&mut node, &bad).is_err());
    }
}
