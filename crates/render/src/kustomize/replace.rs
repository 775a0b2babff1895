//! `replacements`: values copied from one object's field into others'.

use super::resource::Resource;
use super::select::Matcher;
use super::spec::{FieldOptions, Replacement, ReplacementTarget, Selector};
use crate::Finding;
use crate::yaml::{Node, Scalar, Value, resolve};
use regex::Regex;

/// Applies one replacement.
pub(super) fn apply(resources: &mut [Resource], replacement: &Replacement) -> Result<(), Finding> {
    let value = value(resources, replacement)?;
    for target in &replacement.targets {
        let select = Matcher::new(&target.select)?;
        let reject = target
            .reject
            .iter()
            .map(Matcher::new)
            .collect::<Result<Vec<_>, _>>()?;
        for resource in resources.iter_mut() {
            let rejected = reject.iter().any(|r| {
                (!r.has_metadata() || r.fits_metadata(resource)) && r.selects_identity(resource)
            });
            if rejected || !select.fits_metadata(resource) || !select.selects_identity(resource) {
                continue;
            }
            put(resource, &value, target).map_err(|mut finding| {
                finding.message = format!("{}: {}", resource.describe(), finding.message);
                finding
            })?;
        }
    }
    Ok(())
}

fn fault(message: impl Into<String>) -> Finding {
    Finding::error("kustomize/replacement", message)
}

fn value(resources: &[Resource], replacement: &Replacement) -> Result<Node, Finding> {
    if let Some(value) = &replacement.value {
        return Ok(Value::Scalar(resolve(value), value.clone()).into());
    }
    let mut matching = resources
        .iter()
        .filter(|r| is_source(r, &replacement.source));
    let source = matching
        .next()
        .ok_or_else(|| fault("no object matches the source"))?;
    if matching.next().is_some() {
        return Err(fault("several objects match the source"));
    }
    let path = split(&replacement.source_path);
    let found = path
        .iter()
        .try_fold(&source.node, |node, key| lookup(node, key));
    let found = found.filter(|n| !n.is_null());
    let found = found.ok_or_else(|| {
        fault(format!(
            "field {} is missing in the source",
            replacement.source_path
        ))
    })?;
    let options = &replacement.source_options;
    if options.delimiter.is_empty() {
        return Ok(found.clone());
    }
    let text = found
        .text()
        .ok_or_else(|| fault("a delimiter needs a plain value"))?;
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|at| text.split(options.delimiter.as_str()).nth(at));
    let part = part.ok_or_else(|| {
        fault(format!(
            "index {} is out of bounds for {text:?}",
            options.index
        ))
    })?;
    let kind = match &found.value {
        Value::Scalar(Scalar::Str, _) => Scalar::Str,
        _ => resolve(part),
    };
    Ok(Value::Scalar(kind, part.to_string()).into())
}

// Sources are named exactly, by any identity they have or had.
fn is_source(resource: &Resource, selector: &Selector) -> bool {
    let gvk = resource.gvk();
    let part = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
    let fits = |kind: &str, name: &str, namespace: &str| {
        part(&selector.kind, kind)
            && part(&selector.name, name)
            && (selector.namespace.is_empty() || selector.namespace == namespace)
    };
    part(&selector.group, gvk.group)
        && part(&selector.version, gvk.version)
        && (fits(gvk.kind, resource.name(), resource.effective_namespace())
            || resource
                .previous
                .iter()
                .any(|p| fits(&p.kind, &p.name, &p.namespace)))
}

fn put(resource: &mut Resource, value: &Node, target: &ReplacementTarget) -> Result<(), Finding> {
    for path in &target.paths {
        let steps = split(path);
        let mut count = 0;
        visit(
            &mut resource.node,
            &steps,
            target.options.create,
            value,
            &mut |node| {
                count += 1;
                set(node, value, &target.options)
            },
        )?;
        if count == 0 {
            return Err(fault(format!("field {path} is not there")).hint("options.create makes it"));
        }
    }
    Ok(())
}

fn set(node: &mut Node, value: &Node, options: &FieldOptions) -> Result<(), Finding> {
    let mut value = value.clone();
    if !options.delimiter.is_empty() {
        let Value::Scalar(_, old) = &node.value else {
            return Err(fault("a delimiter needs a plain value"));
        };
        let new = value.text().unwrap_or_default().to_string();
        let mut parts: Vec<&str> = old.split(options.delimiter.as_str()).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(at) if at >= parts.len() => parts.push(&new),
            Ok(at) => parts[at] = &new,
        }
        let joined = parts.join(&options.delimiter);
        value.value = Value::Scalar(Scalar::Str, joined);
    }
    match (&mut node.value, &value.value) {
        // The field keeps its type; only the text is copied.
        (Value::Scalar(kind, old), Value::Scalar(_, new)) => {
            *kind = if *kind == Scalar::Str {
                Scalar::Str
            } else {
                resolve(new)
            };
            old.clone_from(new);
        }
        _ => node.value = value.value,
    }
    Ok(())
}

/// `a.[b.c].[name=x].*` in steps; dots inside brackets and escaped dots do not split.
fn split(path: &str) -> Vec<String> {
    let mut raw: Vec<String> = Vec::new();
    for part in path.split('.') {
        match raw.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('.');
                last.push_str(part);
            }
            _ => raw.push(part.to_string()),
        }
    }
    let mut steps: Vec<String> = Vec::new();
    let mut open: Option<String> = None;
    for part in raw {
        let joined = match open.take() {
            Some(before) => format!("{before}.{part}"),
            None => part,
        };
        if joined.starts_with('[') && !joined.ends_with(']') {
            open = Some(joined);
        } else if joined.starts_with('[') && !joined.contains('=') {
            steps.push(joined.trim_matches(['[', ']']).to_string());
        } else {
            steps.push(joined);
        }
    }
    steps.extend(open);
    steps
}

// `[name=x]` as key and value.
fn condition(step: &str) -> Option<(&str, &str)> {
    step.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn lookup<'n>(node: &'n Node, step: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(map) => map.get(step),
        Value::List(list) => match condition(step) {
            Some((key, value)) => list.iter().find(|n| n.text_at(&[key]) == Some(value)),
            None if step == "-" => list.last(),
            None => list.get(step.parse::<usize>().ok()?),
        },
        Value::Scalar(..) => None,
    }
}

fn visit(
    node: &mut Node,
    steps: &[String],
    create: bool,
    value: &Node,
    found: &mut dyn FnMut(&mut Node) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let Some((step, rest)) = steps.split_first() else {
        return found(node);
    };
    if create && node.is_null() {
        node.value = fresh(Some(step), value).value;
    }
    match &mut node.value {
        Value::Map(map) => {
            if step == "*" {
                return Err(fault("* stands for elements of lists only"));
            }
            if create && !map.contains_key(step) {
                map.insert(step.clone(), fresh(rest.first(), value));
            }
            match map.get_mut(step) {
                Some(below) => visit(below, rest, create, value, found),
                None => Ok(()),
            }
        }
        Value::List(list) if step == "*" => list
            .iter_mut()
            .try_for_each(|item| visit(item, rest, create, value, found)),
        Value::List(list) => {
            if let Some((key, wanted)) = condition(step) {
                let pattern = Regex::new(wanted)
                    .map_err(|_| fault(format!("{wanted:?} is not a regular expression")))?;
                let fits = |n: &Node| {
                    let text = if key.is_empty() {
                        n.text()
                    } else {
                        n.text_at(&[key])
                    };
                    text.is_some_and(|text| pattern.is_match(text))
                };
                if create && !list.iter().any(&fits) {
                    let mut made = if key.is_empty() {
                        Node::string(wanted)
                    } else {
                        Node::map()
                    };
                    if let Some(map) = made.as_map_mut() {
                        map.insert(key.to_string(), Node::string(wanted));
                    }
                    list.push(made);
                }
                return list
                    .iter_mut()
                    .filter(|n| fits(n))
                    .try_for_each(|n| visit(n, rest, create, value, found));
            }
            let at: usize = step
                .parse()
                .map_err(|_| fault(format!("{step:?} is no element of a list")))?;
            if create && at == list.len() {
                list.push(fresh(rest.first(), value));
            }
            match list.get_mut(at) {
                Some(below) => visit(below, rest, create, value, found),
                None => Err(fault(format!("there is no element {at}"))),
            }
        }
        Value::Scalar(..) => Err(fault("fields inside of text are not supported")),
    }
}

fn fresh(next: Option<&String>, value: &Node) -> Node {
    match next {
        None => match &value.value {
            Value::Map(_) => Node::map(),
            Value::List(_) => Value::List(Vec::new()).into(),
            Value::Scalar(kind, _) => Value::Scalar(*kind, String::new()).into(),
        },
        Some(step) if condition(step).is_some() || step.parse::<usize>().is_ok() => {
            Value::List(Vec::new()).into()
        }
        Some(_) => Node::map(),
    }
}
