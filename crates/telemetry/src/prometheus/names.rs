//! `labels`, `label/:name/values`, `series`.

use super::Call;
use super::fault::Fault;
use super::json;
use super::reply::Reply;

const TRUNCATED: &str = "results truncated due to limit";

/// One more than the limit, so that it shows whether something is left out; 0 stays.
fn one_more(limit: usize) -> usize {
    if limit == 0 {
        0
    } else {
        limit.saturating_add(1)
    }
}

fn shorten<T>(reply: &mut Reply, list: &mut Vec<T>, limit: usize) {
    if limit > 0 && list.len() > limit {
        list.truncate(limit);
        reply.warnings.push(TRUNCATED.to_owned());
    }
}

fn texts(reply: &mut Reply, mut list: Vec<String>, limit: usize) -> Result<(), Fault> {
    shorten(reply, &mut list, limit);
    reply.data().push(b'[');
    for (at, text) in list.iter().enumerate() {
        if at > 0 {
            reply.out().push(b',');
        }
        json::text(reply.out(), text);
        reply.checkpoint()?;
    }
    reply.out().push(b']');
    Ok(())
}

/// Names of labels.
pub(super) fn labels(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let limit = call.form.limit()?;
    let (start, end) = call.form.interval()?;
    let sets = call.form.selectors().map_err(Fault::bad_data)?;
    let read = &call.api.read;
    let names = read.label_names(&sets, start.ms(), end.ms(), one_more(limit))?;
    texts(reply, names, limit)
}

/// Values of a label.
pub(super) fn values(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let name = unescaped(&call.name);
    if name.is_empty() {
        return Err(Fault::bad_data("invalid label name: \"\""));
    }
    let limit = call.form.limit()?;
    let (start, end) = call.form.interval()?;
    let sets = call.form.selectors().map_err(Fault::bad_data)?;
    let read = &call.api.read;
    let values = read.label_values(&name, &sets, start.ms(), end.ms(), one_more(limit))?;
    texts(reply, values, limit)
}

/// Label sets of series.
pub(super) fn series(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    if let Some(fault) = call.form.fault() {
        return Err(Fault::bad_data(format!(
            "error parsing form values: {fault}"
        )));
    }
    if call.form.all("match[]").next().is_none() {
        return Err(Fault::bad_data("no match[] parameter provided"));
    }
    let limit = call.form.limit()?;
    let (start, end) = call.form.interval()?;
    let sets = call.form.selectors();
    let sets = sets.map_err(|why| Fault::parameter("match[]", &why))?;
    let read = &call.api.read;
    let mut found = read.series(&sets, start.ms(), end.ms(), one_more(limit))?;
    shorten(reply, &mut found, limit);
    reply.data().push(b'[');
    for (at, labels) in found.iter().enumerate() {
        if at > 0 {
            reply.out().push(b',');
        }
        json::labels(reply.out(), labels);
        reply.checkpoint()?;
    }
    reply.out().push(b']');
    Ok(())
}

/// A name out of the form `U__` for names that do not fit into a path: `__` is an underscore,
/// `_2e_` the character of that number. What is no such form stays as it is.
fn unescaped(name: &str) -> String {
    let Some(rest) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    decoded(rest).unwrap_or_else(|| name.to_owned())
}

fn decoded(escaped: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let end = rest.find('_')?;
        let digits = &rest[..end];
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.is_empty() || digits.len() > 5 || !hex {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__bad_zz_x", "U__bad_zz_x"),
            ("U___263a_", "\u{263a}"),
        ] {
            assert_eq!(unescaped(escaped), name);
        }
    }
}
