//! Times and spans of time, printed as Go prints them.

use std::fmt::Write;
use std::sync::Arc;

use super::value::Value;
use crate::calendar::civil_from_days;

/// A time and the zone it is told in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// Nanoseconds since the epoch.
    pub nanos: i128,
    /// Seconds that the zone is ahead of UTC.
    pub offset: i32,
    /// What the zone is called.
    pub zone: Arc<str>,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

struct Parts {
    year: i64,
    month: usize,
    day: u32,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i128,
    weekday: usize,
    year_day: i64,
}

/// What a part of a layout stands for, longest spelling first.
const LAYOUT: [(&str, char); 33] = [
    ("January", 'B'),
    ("Jan", 'b'),
    ("Monday", 'A'),
    ("Mon", 'a'),
    ("MST", 'Z'),
    ("2006", 'Y'),
    ("-07:00:00", 'w'),
    ("-07:00", 'x'),
    ("-070000", 'v'),
    ("-0700", 'z'),
    ("-07", 'u'),
    ("Z07:00:00", 'W'),
    ("Z07:00", 'X'),
    ("Z070000", 'V'),
    ("Z0700", 'U'),
    ("Z07", 'T'),
    ("002", 'j'),
    ("_2006", '_'),
    ("__2", 'J'),
    ("_2", 'e'),
    ("01", 'm'),
    ("02", 'd'),
    ("03", 'I'),
    ("04", 'M'),
    ("05", 'S'),
    ("06", 'y'),
    ("15", 'H'),
    ("PM", 'p'),
    ("pm", 'P'),
    ("1", 'n'),
    ("2", 'D'),
    ("3", 'i'),
    ("4", 'N'),
];

impl Time {
    /// A time in UTC.
    pub fn utc(nanos: i128) -> Self {
        Self {
            nanos,
            offset: 0,
            zone: "UTC".into(),
        }
    }

    /// A time in UTC from milliseconds since the epoch.
    pub fn from_millis(ms: i64) -> Self {
        Self::utc(i128::from(ms) * 1_000_000)
    }

    fn parts(&self) -> Parts {
        let local = self.nanos + i128::from(self.offset) * 1_000_000_000;
        // Far beyond what calendars hold, years stop to be told apart.
        let seconds = local.div_euclid(1_000_000_000).clamp(-(1 << 55), 1 << 55) as i64;
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let first = crate::calendar::days_from_civil(year, 1, 1);
        Parts {
            year,
            month: month as usize,
            day: day as u32,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            nanos: local.rem_euclid(1_000_000_000),
            weekday: (days + 4).rem_euclid(7) as usize,
            year_day: days - first + 1,
        }
    }

    /// The time in a layout of Go: `2006-01-02T15:04:05Z07:00` and its like.
    pub fn format(&self, layout: &str) -> String {
        let parts = self.parts();
        let mut out = String::new();
        let mut rest = layout;
        'outer: while let Some(c) = rest.chars().next() {
            if let Some(length) = fraction(&layout[..layout.len() - rest.len()], rest) {
                write_fraction(&mut out, &rest[..length], parts.nanos);
                rest = &rest[length..];
                continue;
            }
            for (spelling, what) in LAYOUT.iter().chain([&("5", 's')]) {
                if let Some(after) = rest.strip_prefix(spelling) {
                    // "Jan" is no month where it starts a longer word such as "Janet".
                    let word = matches!(what, 'b' | 'a');
                    if word && after.starts_with(|c: char| c.is_ascii_lowercase()) {
                        continue;
                    }
                    self.write_part(&mut out, *what, &parts);
                    rest = after;
                    continue 'outer;
                }
            }
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
        out
    }

    fn write_part(&self, out: &mut String, what: char, parts: &Parts) {
        let twelve = match parts.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let _ = match what {
            'B' => write!(out, "{}", MONTHS[parts.month - 1]),
            'b' => write!(out, "{}", &MONTHS[parts.month - 1][..3]),
            'A' => write!(out, "{}", DAYS[parts.weekday]),
            'a' => write!(out, "{}", &DAYS[parts.weekday][..3]),
            'Z' => write!(out, "{}", self.zone),
            'Y' => write!(out, "{:04}", parts.year),
            '_' => write!(out, "_{:04}", parts.year),
            'j' => write!(out, "{:03}", parts.year_day),
            'J' => write!(out, "{:3}", parts.year_day),
            'e' => write!(out, "{:2}", parts.day),
            'm' => write!(out, "{:02}", parts.month),
            'd' => write!(out, "{:02}", parts.day),
            'I' => write!(out, "{twelve:02}"),
            'M' => write!(out, "{:02}", parts.minute),
            'S' => write!(out, "{:02}", parts.second),
            'y' => write!(out, "{:02}", parts.year.rem_euclid(100)),
            'H' => write!(out, "{:02}", parts.hour),
            'p' => write!(out, "{}", if parts.hour >= 12 { "PM" } else { "AM" }),
            'P' => write!(out, "{}", if parts.hour >= 12 { "pm" } else { "am" }),
            'n' => write!(out, "{}", parts.month),
            'D' => write!(out, "{}", parts.day),
            'i' => write!(out, "{twelve}"),
            'N' => write!(out, "{}", parts.minute),
            's' => write!(out, "{}", parts.second),
            zone => {
                if zone.is_ascii_uppercase() && self.offset == 0 {
                    out.push('Z');
                    return;
                }
                let sign = if self.offset < 0 { '-' } else { '+' };
                let offset = self.offset.abs();
                let (h, m, s) = (offset / 3600, offset / 60 % 60, offset % 60);
                match zone.to_ascii_lowercase() {
                    't' => write!(out, "{sign}{h:02}"),
                    'u' if zone == 'u' => write!(out, "{sign}{h:02}"),
                    'u' | 'z' => write!(out, "{sign}{h:02}{m:02}"),
                    'v' => write!(out, "{sign}{h:02}{m:02}{s:02}"),
                    'x' => write!(out, "{sign}{h:02}:{m:02}"),
                    _ => write!(out, "{sign}{h:02}:{m:02}:{s:02}"),
                }
            }
        };
    }

    /// The method of a time, and how many arguments it wants.
    pub(super) fn method(name: &str) -> Option<usize> {
        Some(match name {
            "Format" | "Sub" | "Add" | "Before" | "After" | "Equal" => 1,
            "Unix" | "UnixMilli" | "UnixNano" | "UTC" | "Local" | "Year" | "Month" | "Day"
            | "Hour" | "Minute" | "Second" | "Nanosecond" | "Weekday" | "YearDay" | "String"
            | "IsZero" => 0,
            _ => return None,
        })
    }

    pub(super) fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let parts = self.parts();
        let int = |value: i64| Ok(Value::Int(value));
        match (name, arguments) {
            ("Format", [Value::String(layout)]) => Ok(Value::text(self.format(layout))),
            ("Sub", [Value::Time(other)]) => {
                let span =
                    (self.nanos - other.nanos).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                Ok(Value::Duration(span as i64))
            }
            ("Add", [Value::Duration(span) | Value::Int(span)]) => Ok(Value::Time(Self {
                nanos: self.nanos + i128::from(*span),
                ..self.clone()
            })),
            ("Before", [Value::Time(other)]) => Ok(Value::Bool(self.nanos < other.nanos)),
            ("After", [Value::Time(other)]) => Ok(Value::Bool(self.nanos > other.nanos)),
            ("Equal", [Value::Time(other)]) => Ok(Value::Bool(self.nanos == other.nanos)),
            ("Unix", _) => int(self.nanos.div_euclid(1_000_000_000) as i64),
            ("UnixMilli", _) => int(self.nanos.div_euclid(1_000_000) as i64),
            ("UnixNano", _) => int(self.nanos as i64),
            ("UTC", _) => Ok(Value::Time(Self::utc(self.nanos))),
            ("Local", _) => Ok(Value::Time(self.clone())),
            ("Year", _) => int(parts.year),
            ("Month", _) => Ok(Value::text(MONTHS[parts.month - 1])),
            ("Weekday", _) => Ok(Value::text(DAYS[parts.weekday])),
            ("Day", _) => int(i64::from(parts.day)),
            ("Hour", _) => int(parts.hour),
            ("Minute", _) => int(parts.minute),
            ("Second", _) => int(parts.second),
            ("Nanosecond", _) => int(parts.nanos as i64),
            ("YearDay", _) => int(parts.year_day),
            ("String", _) => Ok(Value::text(self.to_string())),
            // Year 1.
            ("IsZero", _) => Ok(Value::Bool(self.nanos == -62_135_596_800_000_000_000)),
            (name, arguments) => {
                let got = arguments.first().map_or("nothing", Value::type_name);
                Err(format!("wrong type for value of {name}; got {got}"))
            }
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// How long a fraction of seconds is that starts here: `.000`, `,999`.
fn fraction(before: &str, rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    if !matches!(bytes.first(), Some(b'.' | b',')) || !matches!(bytes.get(1), Some(b'0' | b'9')) {
        return None;
    }
    let digit = bytes[1];
    let run = bytes[1..].iter().take_while(|b| **b == digit).count();
    let next = bytes.get(1 + run);
    // Nines only count behind the seconds in parsing; in printing they count anywhere.
    let _ = before;
    (run <= 9 && !next.is_some_and(u8::is_ascii_digit)).then_some(1 + run)
}

fn write_fraction(out: &mut String, layout: &str, nanos: i128) {
    let digits = format!("{nanos:09}");
    let wanted = layout.len() - 1;
    let mut shown = &digits[..wanted];
    if layout.as_bytes()[1] == b'9' {
        shown = shown.trim_end_matches('0');
        if shown.is_empty() {
            return;
        }
    }
    out.push_str(&layout[..1]);
    out.push_str(shown);
}

/// A span as Go prints it: `1h2m3.5s`.
pub fn format_span(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let rest = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let width = unit.ilog10() as usize;
        let digits = format!("{:0width$}", value % unit);
        let digits = digits.trim_end_matches('0').to_owned();
        match digits.is_empty() || unit == 1 {
            true => (value / unit).to_string(),
            false => format!("{}.{digits}", value / unit),
        }
    };
    if rest < 1_000 {
        return format!("{sign}{rest}ns");
    }
    if rest < 1_000_000 {
        return format!("{sign}{}µs", fraction(rest, 1_000));
    }
    if rest < 1_000_000_000 {
        return format!("{sign}{}ms", fraction(rest, 1_000_000));
    }
    let minutes = rest / 60_000_000_000;
    let seconds = fraction(rest % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// The method of a span, and how many arguments it wants.
pub(super) fn span_method(name: &str) -> Option<usize> {
    matches!(
        name,
        "Seconds"
            | "Minutes"
            | "Hours"
            | "Milliseconds"
            | "Microseconds"
            | "Nanoseconds"
            | "String"
    )
    .then_some(0)
}

pub(super) fn call_span(span: i64, name: &str) -> Value {
    match name {
        "Seconds" => Value::Float(span as f64 / 1e9),
        "Minutes" => Value::Float(span as f64 / 60e9),
        "Hours" => Value::Float(span as f64 / 3600e9),
        "Milliseconds" => Value::Int(span / 1_000_000),
        "Microseconds" => Value::Int(span / 1_000),
        "Nanoseconds" => Value::Int(span),
        _ => Value::text(format_span(span)),
    }
}
