//! `status/*`, `features`, and what stands outside of the API: health and version.

use towpath_query::promql::FUNCTIONS;

use super::Call;
use super::fault::Fault;
use super::json::{self, Object};
use super::params::whole;
use super::reply::Reply;

/// The level of Prometheus whose interface this is. Grafana decides by it what it may ask.
pub const LEVEL: &str = "3.10.0";

const TEXT: &str = "text/plain; charset=utf-8";

fn version(call: &Call, out: &mut Vec<u8>) {
    let own = &call.api.settings.version;
    let mut object = Object::begin(out);
    object.text("version", LEVEL);
    object.text("revision", &format!("towpath-{own}"));
    object.text("branch", "HEAD");
    object.text("buildUser", "towpath");
    object.text("buildDate", "");
    object.text("goVersion", "");
    object.end();
}

/// What answers here.
pub(super) fn build_info(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    version(call, reply.data());
    Ok(())
}

/// The same without an envelope.
pub(super) fn bare_version(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let out = reply.raw("application/json");
    version(call, out);
    out.push(b'\n');
    Ok(())
}

/// Whether the process lives.
pub(super) fn healthy(_: &Call, reply: &mut Reply) -> Result<(), Fault> {
    reply
        .raw(TEXT)
        .extend_from_slice(b"Prometheus Server is Healthy.\n");
    Ok(())
}

/// Whether it answers queries; there is no router before the store is open.
pub(super) fn ready(_: &Call, reply: &mut Reply) -> Result<(), Fault> {
    reply
        .raw(TEXT)
        .extend_from_slice(b"Prometheus Server is Ready.\n");
    Ok(())
}

/// The process and its limits.
pub(super) fn runtime_info(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let settings = &call.api.settings;
    let nanos = |ns: u128| u64::try_from(ns).ok();
    let now = nanos(call.api.clock.since_epoch().as_nanos());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let place = std::env::current_dir().unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut data = Object::begin(reply.data());
    let started = nanos(settings.started.as_nanos());
    json::time(data.field("startTime"), started);
    data.text("CWD", &place.display().to_string());
    data.text("hostname", host.trim());
    json::time(data.field("serverTime"), now);
    data.raw("reloadConfigSuccess", true);
    json::time(data.field("lastConfigTime"), started);
    data.raw("corruptionCount", 0);
    data.raw("goroutineCount", 0);
    data.raw("GOMAXPROCS", cores);
    data.raw("GOMEMLIMIT", i64::MAX);
    data.text("GOGC", "");
    data.text("GODEBUG", "");
    data.text("storageRetention", &settings.retention);
    data.end();
    Ok(())
}

/// The configuration in effect.
pub(super) fn config(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let mut data = Object::begin(reply.data());
    data.text("yaml", &call.api.settings.config_yaml);
    data.end();
    Ok(())
}

/// Settings under the names of upstream's flags.
pub(super) fn flags(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let settings = &call.api.settings;
    let concurrency = settings.concurrency.to_string();
    let samples = settings.max_samples.to_string();
    let timeout = format!("{}s", settings.query_timeout.as_secs());
    let lookback = towpath_query::promql::format_duration(settings.lookback_ms);
    let mut data = Object::begin(reply.data());
    for (name, value) in [
        ("query.lookback-delta", lookback.as_str()),
        ("query.max-concurrency", &concurrency),
        ("query.max-samples", &samples),
        ("query.timeout", &timeout),
        ("storage.tsdb.retention.time", &settings.retention),
        ("web.enable-admin-api", "true"),
        ("web.enable-lifecycle", "false"),
        ("web.enable-remote-write-receiver", "true"),
    ] {
        data.text(name, value);
    }
    data.end();
    Ok(())
}

/// How many series there are, and of what.
pub(super) fn tsdb(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    const MOST: i64 = 10_000;
    let text = call.form.get("limit");
    let limit = match whole(text) {
        _ if text.is_empty() => 10,
        Ok(limit @ 1..=MOST) => limit as usize,
        Ok(limit) if limit > MOST => {
            return Err(Fault::bad_data(format!("limit must not exceed {MOST}")));
        }
        _ => return Err(Fault::bad_data("limit must be a positive number")),
    };
    let found = call.api.read.cardinality(limit);
    // Upstream's times of an empty head.
    let (first, last) = found.times.unwrap_or((i64::MAX, i64::MIN));
    let mut data = Object::begin(reply.data());
    let mut head = Object::begin(data.field("headStats"));
    head.raw("numSeries", found.series);
    head.raw("numLabelPairs", found.label_pairs);
    head.raw("chunkCount", found.chunks);
    head.raw("minTime", first);
    head.raw("maxTime", last);
    head.end();
    for (name, list) in [
        ("seriesCountByMetricName", &found.series_by_metric),
        ("labelValueCountByLabelName", &found.values_by_label),
        ("memoryInBytesByLabelName", &found.bytes_by_label),
        ("seriesCountByLabelValuePair", &found.series_by_pair),
    ] {
        json::list(data.field(name), list.iter().take(limit), |out, (of, n)| {
            let mut object = Object::begin(out);
            object.text("name", of);
            object.raw("value", n);
            object.end();
        });
    }
    data.end();
    Ok(())
}

/// How far the log is read; there is no answer before all of it is.
pub(super) fn wal_replay(_: &Call, reply: &mut Reply) -> Result<(), Fault> {
    reply
        .data()
        .extend_from_slice(b"{\"min\":0,\"max\":0,\"current\":0}");
    Ok(())
}

/// What is on disk in whole files, in the shape of upstream's blocks.
pub(super) fn blocks(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let mut data = Object::begin(reply.data());
    json::list(
        data.field("blocks"),
        call.api.read.blocks(),
        |out, block| {
            let mut object = Object::begin(out);
            object.text("ulid", &ulid(block.min, block.number));
            object.raw("minTime", block.min);
            object.raw("maxTime", block.end);
            let mut stats = Object::begin(object.field("stats"));
            if block.samples > 0 {
                stats.raw("numSamples", block.samples);
            }
            stats.end();
            let mut compaction = Object::begin(object.field("compaction"));
            compaction.raw("level", level(block.end - block.min));
            compaction.end();
            object.raw("version", 1);
            object.end();
        },
    );
    data.end();
    Ok(())
}

/// How often what is in a file was written anew: two hours, a day, a week.
fn level(span_ms: i64) -> u8 {
    const HOUR_MS: i64 = 3_600_000;
    match span_ms {
        ..=14_400_000 => 1,
        span if span <= 24 * HOUR_MS => 2,
        _ => 3,
    }
}

/// A number of ours as an identifier of theirs: 48 bits of time and 80 of the number, in the
/// letters of Crockford.
fn ulid(ms: i64, number: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::try_from(ms).unwrap_or(0) & ((1 << 48) - 1);
    let value = time << 80 | u128::from(number);
    let letter = |at: u32| char::from(LETTERS[(value >> (5 * at)) as usize & 31]);
    (0..26).rev().map(letter).collect()
}

type Table = &'static [(&'static str, bool)];

const API: Table = &[
    ("admin", true),
    ("exclude_alerts", true),
    ("label_values_match", true),
    ("lifecycle", false),
    ("openapi_3.1", false),
    ("openapi_3.2", false),
    ("otlp_write_receiver", false),
    ("query_stats", true),
    ("query_warnings", true),
    ("remote_write_receiver", true),
    ("time_range_labels", true),
    ("time_range_series", true),
];

const LANGUAGE: Table = &[
    ("anchored", true),
    ("at_modifier", true),
    ("bool", true),
    ("by", true),
    ("delayed_name_removal", false),
    ("duration_expr", true),
    ("fill", true),
    ("fill_left", true),
    ("fill_right", true),
    ("group_left", true),
    ("group_right", true),
    ("ignoring", true),
    ("negative_offset", true),
    ("offset", true),
    ("on", true),
    ("per_query_lookback_delta", true),
    ("per_step_stats", false),
    ("smoothed", true),
    ("subqueries", true),
    ("type_and_unit_labels", false),
    ("without", true),
];

const OPERATORS: &[&str] = &[
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "<=",
    "==",
    "=~",
    ">",
    ">=",
    "@",
    "^",
    "and",
    "atan2",
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "or",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];

/// What is there and what is not.
pub(super) fn features(_: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let table = |object: &mut Object<'_>, name: &str, table: Table| {
        let mut inner = Object::begin(object.field(name));
        for (name, there) in table {
            inner.raw(name, there);
        }
        inner.end();
    };
    let mut data = Object::begin(reply.data());
    table(&mut data, "api", API);
    table(
        &mut data,
        "prometheus",
        &[
            ("agent_mode", false),
            ("auto_reload_config", true),
            ("server_mode", true),
        ],
    );
    table(&mut data, "promql", LANGUAGE);
    let mut functions = Object::begin(data.field("promql_functions"));
    for function in FUNCTIONS {
        functions.raw(function.name, true);
    }
    functions.end();
    let mut operators = Object::begin(data.field("promql_operators"));
    for name in OPERATORS {
        // Upstream writes this part without care for HTML.
        operators.plain(name, true);
    }
    operators.end();
    table(
        &mut data,
        "tsdb",
        &[("exemplar_storage", true), ("native_histograms", true)],
    );
    data.end();
    Ok(())
}
