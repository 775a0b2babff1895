//! How single fields stand in the protocol's JSON.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};

/// An integer as a number or as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
    Null(()),
}

/// Absent, in a field that protobuf's JSON may write as `null`.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

fn integer<E: de::Error>(value: Loose<'_>) -> Result<i128, E> {
    match value {
        Loose::Signed(n) => Ok(n.into()),
        Loose::Unsigned(n) => Ok(n.into()),
        Loose::Float(n) if n.fract() == 0.0 && n.abs() < 2f64.powi(64) => Ok(n as i128),
        Loose::Float(n) => Err(E::custom(format!("{n} is not an integer"))),
        Loose::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| E::custom(format!("{text:?} is not an integer"))),
        Loose::Null(()) => Ok(0),
    }
}

fn narrow<E: de::Error, T: TryFrom<i128>>(n: i128) -> Result<T, E> {
    T::try_from(n).map_err(|_| E::custom(format!("{n} is out of range")))
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
            integer(Loose::deserialize(d)?).and_then(narrow)
        }
    )*};
}
integers!(int64: i64, uint64: u64, int32: i32, uint32: u32);

/// An integer that may be absent.
pub(super) fn int64_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    match Option::<Loose<'_>>::deserialize(d)? {
        None | Some(Loose::Null(())) => Ok(None),
        Some(value) => integer(value).and_then(narrow).map(Some),
    }
}

/// A list of unsigned integers.
pub(super) fn uint64s<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u64>, D::Error> {
    let values = Option::<Vec<Loose<'_>>>::deserialize(d)?.unwrap_or_default();
    let each = values.into_iter();
    each.map(|v| integer(v).and_then(narrow)).collect()
}

fn real<E: de::Error>(value: Loose<'_>) -> Result<f64, E> {
    match value {
        Loose::Signed(n) => Ok(n as f64),
        Loose::Unsigned(n) => Ok(n as f64),
        Loose::Float(n) => Ok(n),
        Loose::Text(text) => match &*text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            other => other
                .parse()
                .map_err(|_| E::custom(format!("{other:?} is not a number"))),
        },
        Loose::Null(()) => Ok(0.0),
    }
}

/// A number, or one of the names for those that JSON has no figures for.
pub(super) fn double<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    real(Loose::deserialize(d)?)
}

/// A number that may be absent.
pub(super) fn double_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    match Option::<Loose<'_>>::deserialize(d)? {
        None | Some(Loose::Null(())) => Ok(None),
        Some(value) => real(value).map(Some),
    }
}

/// A list of numbers.
pub(super) fn doubles<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
    let values = Option::<Vec<Loose<'_>>>::deserialize(d)?.unwrap_or_default();
    values.into_iter().map(real).collect()
}

/// An id of a trace or a span in hexadecimal.
pub(super) fn id<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(d)?.unwrap_or_default();
    hex(&text)
        .map(Bytes::from)
        .ok_or_else(|| de::Error::custom(format!("{text:?} is not hexadecimal")))
}

/// Bytes of hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// An enumeration: its number, or one of its names.
fn named<'de, D: Deserializer<'de>>(d: D, prefix: &str, names: &[&str]) -> Result<i32, D::Error> {
    match Loose::deserialize(d)? {
        Loose::Text(text) => {
            let short = text.strip_prefix(prefix).unwrap_or(&text);
            match names.iter().position(|name| *name == short) {
                Some(at) => Ok(at as i32),
                None => integer(Loose::Text(text)).and_then(narrow),
            }
        }
        other => integer(other).and_then(narrow),
    }
}

pub(super) fn kind<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    let names = [
        "UNSPECIFIED",
        "INTERNAL",
        "SERVER",
        "CLIENT",
        "PRODUCER",
        "CONSUMER",
    ];
    named(d, "SPAN_KIND_", &names)
}

pub(super) fn status<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    named(d, "STATUS_CODE_", &["UNSET", "OK", "ERROR"])
}

pub(super) fn temporality<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    let names = ["UNSPECIFIED", "DELTA", "CUMULATIVE"];
    named(d, "AGGREGATION_TEMPORALITY_", &names)
}

pub(super) fn severity<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    const NAMES: [&str; 25] = [
        "UNSPECIFIED",
        "TRACE",
        "TRACE2",
        "TRACE3",
        "TRACE4",
        "DEBUG",
        "DEBUG2",
        "DEBUG3",
        "DEBUG4",
        "INFO",
        "INFO2",
        "INFO3",
        "INFO4",
        "WARN",
        "WARN2",
        "WARN3",
        "WARN4",
        "ERROR",
        "ERROR2",
        "ERROR3",
        "ERROR4",
        "FATAL",
        "FATAL2",
        "FATAL3",
        "FATAL4",
    ];
    named(d, "SEVERITY_NUMBER_", &NAMES)
}
