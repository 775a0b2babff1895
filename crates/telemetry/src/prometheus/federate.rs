//! `/federate`: the last value of each series that matches, in the text format.

use std::collections::BTreeMap;

use towpath_query::promql::{Hints, Labels, NAME, format_general, is_stale, parse_selector};

use super::Call;
use super::fault::Fault;
use super::reply::Reply;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The last values of the series that match any of the selectors.
pub(super) fn federate(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let end = call.now.ms();
    let start = end - call.api.settings.lookback_ms;
    let mut found: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
    for text in call.form.all("match[]") {
        let matchers = parse_selector(text).map_err(|error| Fault::bad_data(error.to_string()))?;
        let hints = Hints {
            start,
            end,
            step: 0,
            range: 0,
            function: "",
        };
        let series = call.api.read.select(&matchers, &hints);
        for one in series.map_err(Fault::internal)? {
            let one = one.map_err(Fault::internal)?;
            let last = one.floats.iter().last();
            // Native histograms have no form in the text format.
            let newer = one.histograms.last().map(|(at, _)| *at);
            if let Some((at, value)) = last
                && newer.is_none_or(|newer| newer < at)
                && !is_stale(value)
            {
                found.insert(one.labels, (at, value));
            }
            if reply.canceled() {
                return Ok(());
            }
        }
    }
    let mut named: Vec<(&Labels, &(i64, f64))> = found.iter().collect();
    named.sort_by_key(|(labels, _)| labels.get(NAME));
    reply.raw(TEXT);
    let mut family = "";
    for (labels, (at, value)) in named {
        let name = labels.get(NAME);
        if name.is_empty() {
            continue;
        }
        let plain = plain(name);
        let mut line = String::new();
        if name != family {
            line = format!("# TYPE {plain} untyped\n");
            family = name;
        }
        line.push_str(&plain);
        line.push('{');
        let own = labels.iter().filter(|(name, _)| *name != NAME);
        for (name, value) in own {
            line.push_str(&self::plain(name));
            line.push_str(&format!("=\"{}\",", escaped(value)));
        }
        if labels.get("instance").is_empty() {
            line.push_str("instance=\"\",");
        }
        line.pop();
        line.push_str(&format!("}} {} {at}\n", format_general(*value)));
        reply.out().extend_from_slice(line.as_bytes());
        reply.checkpoint()?;
    }
    Ok(())
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

/// A name with underscores for what readers of the plain format do not take.
fn plain(name: &str) -> String {
    let fits = |(at, c): (usize, char)| {
        let first = c.is_ascii_alphabetic() || matches!(c, '_' | ':');
        if first || (at > 0 && c.is_ascii_digit()) {
            c
        } else {
            '_'
        }
    };
    name.chars().enumerate().map(fits).collect()
}
