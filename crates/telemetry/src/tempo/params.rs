//! What requests ask for.

use std::collections::HashMap;
use towpath_query::go_duration;
use towpath_query::traceql::TraceId;
use towpath_stdx::Clock;

const SECOND: u64 = 1_000_000_000;
/// How far back is looked where nothing is said.
const DEFAULT_RANGE: u64 = 3600 * SECOND;

/// Parameters of a request, each with its first value.
pub(super) struct Params(HashMap<String, String>);

impl Params {
    pub(super) fn read(query: Option<&str>) -> Self {
        let mut all = HashMap::new();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(&value.replace('+', " "));
            all.entry(decode(name)).or_insert(value);
        }
        Self(all)
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    pub(super) fn number(&self, name: &str, usual: usize, most: usize) -> Result<usize, String> {
        match self.get(name) {
            None => Ok(usual),
            Some(text) => match text.parse::<usize>() {
                Ok(n) if n > 0 => Ok(n.min(most)),
                _ => Err(format!("{name} must be a number above 0, not {text:?}")),
            },
        }
    }

    fn time(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        time(text)
            .map(Some)
            .ok_or_else(|| format!("{name} is no time: {text:?}"))
    }

    /// A span of time in nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let seconds = text.parse::<f64>().ok().map(|s| (s * 1e9) as i64);
        let ns = seconds
            .or_else(|| go_duration::parse(text))
            .filter(|ns| *ns > 0);
        let ns = ns.and_then(|ns| u64::try_from(ns).ok());
        ns.map(Some)
            .ok_or_else(|| format!("{name} is no duration: {text:?}"))
    }

    /// Begin and end, in nanoseconds since the epoch.
    pub(super) fn range(&self, clock: &dyn Clock) -> Result<(u64, u64), String> {
        let now = u64::try_from(clock.since_epoch().as_nanos()).unwrap_or(u64::MAX);
        // The end lies a little ahead: clocks of senders may.
        let end = self.time("end")?.unwrap_or(now + 60 * SECOND);
        let start = match (self.time("start")?, self.duration("since")?) {
            (Some(start), _) => start,
            (None, Some(since)) => end.saturating_sub(since),
            (None, None) => end.saturating_sub(DEFAULT_RANGE),
        };
        if end <= start {
            return Err("the end must lie behind the start".into());
        }
        Ok((start, end))
    }
}

/// A time in seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by
/// size, or as RFC 3339.
fn time(text: &str) -> Option<u64> {
    if let Some(seconds) = towpath_stdx::clock::parse_rfc3339(text) {
        return seconds.checked_mul(SECOND);
    }
    let n: f64 = text.parse().ok().filter(|n: &f64| *n >= 0.0)?;
    if let Ok(whole) = text.parse::<u64>() {
        let unit = match whole.checked_ilog10().unwrap_or(0) {
            0..11 => SECOND,
            11..14 => 1_000_000,
            14..17 => 1000,
            _ => 1,
        };
        return whole.checked_mul(unit);
    }
    Some((n * 1e9) as u64)
}

/// Undoes percent-encoding; what is none stays.
pub(super) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digit = |b: &u8| (*b as char).to_digit(16);
        let pair = more
            .first()
            .and_then(digit)
            .zip(more.get(1).and_then(digit));
        match pair.filter(|_| *first == b'%') {
            Some((high, low)) => {
                out.push((high << 4 | low) as u8);
                rest = &more[2..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The id of a trace in hexadecimal; leading zeros may be left out.
pub(super) fn trace_id(text: &str) -> Option<TraceId> {
    let plain = !text.is_empty() && text.len() <= 32;
    let digits = plain && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = digits.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(id.to_be_bytes())
}

/// Words `name=value` as a query: each must hold for a span of the trace.
pub(super) fn tags(text: &str, least: Option<u64>, most: Option<u64>) -> Result<String, String> {
    let mut sets = Vec::new();
    if let Some(least) = least {
        sets.push(format!("{{ traceDuration >= {least}ns }}"));
    }
    if let Some(most) = most {
        sets.push(format!("{{ traceDuration <= {most}ns }}"));
    }
    for (name, value) in logfmt(text)? {
        let quoted = towpath_query::traceql::Value::text(value.as_str()).to_string();
        let is_word = value.bytes().all(|b| b.is_ascii_lowercase());
        let set = match name.as_str() {
            "name" => format!("name = {quoted}"),
            "root.name" => format!("rootName = {quoted}"),
            "root.service.name" => format!("rootServiceName = {quoted}"),
            "error" if value == "true" => "status = error".into(),
            "status" | "status.code" if is_word => format!("status = {value}"),
            _ => {
                let field = towpath_query::traceql::Field::Attribute {
                    parent: false,
                    scope: towpath_query::traceql::AttributeScope::Any,
                    name: name.clone(),
                };
                // What looks like a number or a truth may be sent as one.
                let typed = value.parse::<i64>().is_ok() || value == "true" || value == "false";
                match typed {
                    true => format!("{field} = {quoted} || {field} = {value}"),
                    false => format!("{field} = {quoted}"),
                }
            }
        };
        sets.push(format!("{{ {set} }}"));
    }
    if sets.is_empty() {
        sets.push("{ }".into());
    }
    Ok(sets.join(" && "))
}

fn logfmt(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let wrong = || format!("tags are written name=value: {rest:?}");
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let (value, next) = match after.strip_prefix('"') {
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
            Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
        };
        pairs.push((name.to_string(), value.to_string()));
        rest = next.trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_come_in_many_forms() {
        let ns = 1_700_000_000_000_000_000;
        let forms = [
            "1700000000",
            "1700000000000",
            "1700000000000000",
            "1700000000000000000",
        ];
        assert!(forms.iter().all(|text| time(text) == Some(ns)));
        assert_eq!(time("2023-11-14T22:13:20Z"), Some(ns));
        assert_eq!(time("-1"), None);
        assert_eq!(trace_id("ff").map(|id| id[15]), Some(255));
        assert_eq!(trace_id("xyz"), None);
        assert_eq!(decode("a%2Fb%zz%"), "a/b%zz%");
    }

    #[test]
    fn tags_become_queries() {
        let query = tags(
            "service.name=a http.status_code=200 q=\"x y\" error=true",
            Some(5),
            None,
        );
        let expected = "{ traceDuration >= 5ns } && { .service.name = \"a\" } && \
            { .http.status_code = \"200\" || .http.status_code = 200 } && { .q = \"x y\" } && \
            { status = error }";
        assert_eq!(query.as_deref(), Ok(expected));
        assert!(towpath_query::traceql::parse(expected).is_ok());
        assert!(tags("novalue", None, None).is_err());
    }
}
