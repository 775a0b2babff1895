//! Random bodies as targets might send them, and damaged ones.

use super::peer::Dice;

pub(crate) const TEXT: &str = "text/plain; version=1.0.0; charset=utf-8";
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
pub(crate) const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const NAMES: [&str; 8] = [
    "go_info",
    "a:b",
    "x",
    "_y9",
    "http_requests",
    "lat_seconds",
    "e",
    "up",
];
const WIDE: [&str; 4] = ["a.b", "köln", "with space", "q\\\"uoted"];
const LABELS: [&str; 7] = ["le", "quantile", "job", "instance", "a", "b_1", "code"];
const VALUES: [&str; 12] = [
    "",
    "0.5",
    "1",
    "+Inf",
    "2.50",
    "x y",
    "ü",
    "back\\\\slash",
    "new\\nline",
    "quo\\\"te",
    "1e3",
    "\\x",
];
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "+3",
    "1.5",
    ".5",
    "1e3",
    "1E-7",
    "NaN",
    "+Inf",
    "-Inf",
    "123456789012345678",
    "0.1234567890123456789",
    "17.00",
    "1e309",
    "0x1p3",
];

fn names(dice: &mut Dice) -> (String, bool) {
    if dice.one_in(6) {
        (dice.word(&WIDE).to_owned(), true)
    } else {
        (dice.word(&NAMES).to_owned(), false)
    }
}

fn labels(dice: &mut Dice, first: Option<&str>, blanks: bool) -> String {
    let blank = |dice: &mut Dice| if blanks && dice.one_in(9) { " " } else { "" };
    let mut parts: Vec<String> = first
        .map(|name| format!("\"{name}\""))
        .into_iter()
        .collect();
    let mut left: Vec<&str> = LABELS.to_vec();
    for _ in 0..dice.roll(4) {
        let name = left.swap_remove(dice.roll(left.len()));
        let quote = if dice.one_in(12) { "\"" } else { "" };
        let value = dice.word(&VALUES);
        parts.push(format!(
            "{}{quote}{name}{quote}{}={}\"{value}\"{}",
            blank(dice),
            blank(dice),
            blank(dice),
            blank(dice)
        ));
    }
    let comma = if !parts.is_empty() && dice.one_in(8) {
        ","
    } else {
        ""
    };
    if parts.is_empty() && !dice.one_in(4) {
        return String::new();
    }
    format!("{{{}{comma}}}", parts.join(","))
}

fn series(dice: &mut Dice, (name, wide): &(String, bool), suffix: &str, blanks: bool) -> String {
    let name = format!("{name}{suffix}");
    match wide {
        true => labels(dice, Some(&name), blanks),
        false => name + &labels(dice, None, blanks),
    }
}

fn shown((name, wide): &(String, bool)) -> String {
    if *wide {
        format!("\"{name}\"")
    } else {
        name.clone()
    }
}

/// A body in the classic text format.
pub(crate) fn text(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    for _ in 0..1 + dice.roll(4) {
        let name = names(dice);
        if dice.one_in(2) {
            out += &format!("# HELP {} What \\\\ it\\n is.\n", shown(&name));
        }
        if !dice.one_in(3) {
            let kinds = ["counter", "gauge", "histogram", "summary", "untyped"];
            out += &format!("# TYPE {} {}\n", shown(&name), dice.word(&kinds));
        }
        for _ in 0..dice.roll(5) {
            if dice.one_in(10) {
                out += dice.word(&["# a comment\n", "#\n", "\n", "  \n", "#HELP x y\n", "# \n"]);
            }
            let suffix = dice.word(&["", "", "_bucket", "_sum", "_count", "_total"]);
            out += &series(dice, &name, suffix, true);
            out += dice.word(&[" ", " ", " ", "\t", "  "]);
            out += if dice.one_in(9) {
                dice.word(&NUMBERS)
            } else {
                dice.word(&NUMBERS[..14])
            };
            if dice.one_in(4) {
                out += dice.word(&[" 1500000000000", " 7", "\t12 ", " 99999999999999999999"]);
            }
            out += dice.word(&["\n", "\n", "\n", " \n"]);
        }
    }
    if dice.one_in(5) {
        out.pop();
    }
    out.into_bytes()
}

/// A body of OpenMetrics, in which lines `_created` follow the series they belong to.
pub(crate) fn open_metrics(dice: &mut Dice) -> Vec<u8> {
    let kinds = [
        "counter",
        "gauge",
        "histogram",
        "summary",
        "gaugehistogram",
        "info",
        "stateset",
        "unknown",
    ];
    let mut out = String::new();
    for at in 0..1 + dice.roll(4) {
        let (name, wide) = names(dice);
        // Families with different names, so that no series of one follows in another.
        let unit = if dice.one_in(4) { "_seconds" } else { "" };
        let name = (format!("{name}_f{at}{unit}"), wide);
        let kind = dice.word(&kinds);
        out += &format!("# TYPE {} {kind}\n", shown(&name));
        if dice.one_in(2) {
            out += &format!("# HELP {} What \\\\ it\\n is \\\"so\\\".\n", shown(&name));
        }
        if !unit.is_empty() {
            out += &format!("# UNIT {} seconds\n", shown(&name));
        }
        for _ in 0..dice.roll(4) {
            let labels = {
                let first = if name.1 { Some("@") } else { None };
                let labels = labels(dice, first, false);
                labels.replace("le=", "l=").replace("quantile=", "q=")
            };
            let row = |suffix: &str| match name.1 {
                true => labels.replace("\"@\"", &format!("\"{}{suffix}\"", name.0)),
                false => format!("{}{suffix}{labels}", name.0),
            };
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            for suffix in suffixes {
                out += &row(suffix);
                out += " ";
                out += dice.word(&NUMBERS[..14]);
                if dice.one_in(4) {
                    out += dice.word(&[" 1500000000.25", " 7", " -3.5", " 1e3"]);
                }
                if dice.one_in(4) {
                    out += dice.word(&[
                        " # {trace_id=\"abc\"} 0.5",
                        " # {trace_id=\"abc\",span=\"ü\"} 0.5 1500000000.5",
                        " # {} 1",
                        " # {\"a.b\"=\"c\"} NaN 17",
                    ]);
                }
                out += "\n";
            }
            if matches!(kind, "counter" | "histogram" | "summary") && dice.one_in(2) {
                out += &row("_created");
                out += " 1500000000.123\n";
            }
        }
    }
    out += "# EOF\n";
    if dice.one_in(20) {
        out += "x";
    }
    out.into_bytes()
}

/// A message being written.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    pub(crate) fn signed(&mut self, field: u32, value: i64) {
        self.number(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }
}

fn time(dice: &mut Dice) -> Vec<u8> {
    let mut out = Message::default();
    out.number(1, 1_500_000_000 + dice.roll(1000) as u64);
    out.number(2, dice.roll(1_000_000_000) as u64);
    out.0
}

fn example(dice: &mut Dice) -> Vec<u8> {
    let mut out = Message::default();
    for name in ["trace_id", "span"].iter().take(dice.roll(3)) {
        let mut pair = Message::default();
        pair.bytes(1, name.as_bytes());
        pair.bytes(2, b"v");
        out.bytes(1, &pair.0);
    }
    out.double(2, dice.roll(100) as f64 / 4.0);
    if !dice.one_in(3) {
        out.bytes(3, &time(dice));
    }
    out.0
}

fn histogram(dice: &mut Dice, out: &mut Message, native: bool) {
    let float = dice.one_in(4);
    match float {
        true => out.double(4, 10.5),
        false => out.number(1, 12),
    }
    out.double(2, 17.25);
    for at in 0..dice.roll(4) {
        let mut bucket = Message::default();
        match float {
            true => bucket.double(4, at as f64 + 0.5),
            false => bucket.number(1, at as u64 * 2),
        }
        bucket.double(
            2,
            if dice.one_in(5) {
                f64::INFINITY
            } else {
                at as f64 + 0.25
            },
        );
        if dice.one_in(2) {
            bucket.bytes(3, &example(dice));
        }
        out.bytes(3, &bucket.0);
    }
    if !native {
        return;
    }
    out.signed(5, dice.roll(12) as i64 - 4);
    out.double(6, 0.001);
    match float {
        true => out.double(8, 2.5),
        false => out.number(7, 2),
    }
    for (spans, deltas, counts) in [(9, 10, 11), (12, 13, 14)] {
        let mut packed = Message::default();
        let mut doubles = Vec::new();
        for at in 0..dice.roll(3) {
            let mut span = Message::default();
            let offset = dice.roll(6) as i64 - if at == 0 { 3 } else { 0 };
            span.signed(1, offset);
            let length = dice.roll(4);
            span.number(2, length as u64);
            out.bytes(spans, &span.0);
            for n in 0..length {
                let delta = if n == 0 { 2i64 } else { dice.roll(3) as i64 };
                packed.varint((delta << 1) as u64);
                doubles.extend_from_slice(&(dice.roll(9) as f64 / 2.0).to_le_bytes());
            }
        }
        match float {
            true => out.bytes(counts, &doubles),
            false => out.bytes(deltas, &packed.0),
        }
    }
    for _ in 0..dice.roll(3) {
        out.bytes(16, &example(dice));
    }
}

/// Delimited metric families.
pub(crate) fn protobuf(dice: &mut Dice) -> Vec<u8> {
    let mut out = Message::default();
    for _ in 0..1 + dice.roll(3) {
        let mut family = Message::default();
        family.bytes(1, names(dice).0.as_bytes());
        if dice.one_in(2) {
            family.bytes(2, "What it is: ü.".as_bytes());
        }
        let kind = dice.roll(6);
        let native = !dice.one_in(3);
        family.number(3, kind as u64);
        for _ in 0..dice.roll(4) {
            let mut metric = Message::default();
            let mut left: Vec<&str> = LABELS[2..].to_vec();
            for _ in 0..dice.roll(3) {
                let mut pair = Message::default();
                pair.bytes(1, left.swap_remove(dice.roll(left.len())).as_bytes());
                pair.bytes(2, dice.word(&VALUES).as_bytes());
                metric.bytes(1, &pair.0);
            }
            let mut inner = Message::default();
            let field = match kind {
                0 => {
                    inner.double(1, 3.0);
                    if dice.one_in(2) {
                        inner.bytes(2, &example(dice));
                    }
                    if dice.one_in(2) {
                        inner.bytes(3, &time(dice));
                    }
                    3
                }
                2 => {
                    inner.number(1, 7);
                    inner.double(2, 1.5);
                    for at in 0..dice.roll(3) {
                        let mut quantile = Message::default();
                        quantile.double(1, at as f64 / 2.0);
                        quantile.double(2, at as f64);
                        inner.bytes(3, &quantile.0);
                    }
                    4
                }
                4 | 5 => {
                    histogram(dice, &mut inner, native);
                    7
                }
                other => {
                    inner.double(1, -1.5);
                    if other == 1 { 2 } else { 5 }
                }
            };
            metric.bytes(field, &inner.0);
            if dice.one_in(4) {
                metric.number(6, 1_500_000_000_000);
            }
            family.bytes(4, &metric.0);
        }
        if dice.one_in(3) {
            family.bytes(5, b"seconds");
        }
        out.varint(family.0.len() as u64);
        out.0.extend_from_slice(&family.0);
    }
    out.0
}

/// The same with some bytes changed, moved, doubled or gone.
pub(crate) fn damaged(dice: &mut Dice, body: &[u8], text: bool) -> Vec<u8> {
    const CHARACTERS: &[u8] = b" \t\n{}\"=,#\\ab_:019.+-eEN\xc3\xff";
    let mut out = body.to_vec();
    for _ in 0..1 + dice.roll(3) {
        if out.is_empty() {
            break;
        }
        let at = dice.roll(out.len());
        let byte = if text {
            *dice.pick(CHARACTERS)
        } else {
            dice.roll(256) as u8
        };
        match dice.roll(6) {
            0 => out[at] = byte,
            1 => out.insert(at, byte),
            2 => drop(out.remove(at)),
            3 => out.truncate(at),
            4 => {
                let end = (at + 1 + dice.roll(12)).min(out.len());
                let part = out[at..end].to_vec();
                let to = dice.roll(out.len());
                out.splice(to..to, part);
            }
            _ => {
                let end = (at + 1 + dice.roll(12)).min(out.len());
                out.drain(at..end);
            }
        }
    }
    out
}
