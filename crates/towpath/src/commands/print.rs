//! Results on standard output: tables for people, API objects for programs.

use crate::cli::{Context, Output};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;
use std::io::IsTerminal;

/// Prints objects in the asked shape; `row` makes a table's cells.
pub fn objects<K: Serialize + ResourceExt>(
    context: &Context,
    objects: &[K],
    header: &[&str],
    row: impl Fn(&K) -> Vec<String>,
) {
    match context.output {
        _ if context.quiet => objects.iter().for_each(|o| println!("{}", o.name_any())),
        Output::Name => objects.iter().for_each(|o| println!("{}", o.name_any())),
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(objects).unwrap_or_default()
        ),
        Output::Yaml => println!("{}", serde_saphyr::to_string(&objects).unwrap_or_default()),
        Output::Table => table(header, objects.iter().map(row).collect()),
    }
}

/// Prints aligned columns; nothing where there are no rows.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let mut widths: Vec<usize> = header.iter().map(|h| h.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (index, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if index + 1 == cells.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:width$}   "));
            }
        }
        text.trim_end().to_string()
    };
    println!("{}", line(header.to_vec()));
    for row in &rows {
        println!("{}", line(row.iter().map(String::as_str).collect()));
    }
}

/// A status word with its shape, in colour where standard output is a terminal that wants it.
pub fn word(word: &str) -> String {
    let (icon, colour) = match word {
        "Healthy" | "Succeeded" | "Synced" => ("✔", "32"),
        "Failed" | "Degraded" | "Refused" => ("✘", "31"),
        "OutOfSync" | "Missing" | "Cancelled" | "Superseded" => ("!", "33"),
        "Running" | "Progressing" | "Deploying" => ("◔", "34"),
        "WaitingForApproval" | "Waiting" => ("‖", "35"),
        _ => ("○", "0"),
    };
    let ascii = match icon {
        "✔" => "ok",
        "✘" => "FAIL",
        "!" => "warn",
        "◔" => "run",
        _ => "wait",
    };
    let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .is_some_and(|v| v.to_lowercase().contains("utf"));
    let text = format!("{} {word}", if utf8 { icon } else { ascii });
    if colour_wanted() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text
    }
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none()
        && std::env::var("TERM").is_ok_and(|t| t != "dumb")
        && std::io::stdout().is_terminal()
}

/// Time since an RFC 3339 instant as `4 s`, `12 min`, `3 h`, `5 d`; `-` where unknown.
pub fn age(instant: Option<&str>) -> String {
    use towpath_stdx::Clock;
    let Some(then) = instant.and_then(towpath_stdx::clock::parse_rfc3339) else {
        return "-".into();
    };
    let seconds = towpath_stdx::SystemClock
        .since_epoch()
        .as_secs()
        .saturating_sub(then);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Labels as PromQL and LogQL write them, the name of a metric in front.
pub(super) fn labels<'l>(labels: impl IntoIterator<Item = (&'l String, &'l Value)>) -> String {
    let mut name = "";
    let mut others = Vec::new();
    for (label, value) in labels {
        let value = value.as_str().unwrap_or_default();
        if label == "__name__" {
            name = value;
        } else {
            others.push(format!("{label}={}", towpath_query::promql::quote(value)));
        }
    }
    if others.is_empty() && !name.is_empty() {
        name.to_string()
    } else {
        format!("{name}{{{}}}", others.join(", "))
    }
}

/// [`labels`] of a series as the API has them.
pub(super) fn series(series: &Value) -> String {
    labels(series.as_object().into_iter().flatten())
}
