//! Values of expressions and their conversions, as GitHub defines them.

use serde_json::Value as Json;
use std::sync::Arc;

/// A value. Arrays and objects are shared: equality of two of them is identity.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Double.
    Number(f64),
    /// Text.
    Text(Arc<str>),
    /// List.
    Array(Arc<Vec<Value>>),
    /// Map, in order; keys are looked up without regard to case.
    Object(Arc<Vec<(String, Value)>>),
}

impl Value {
    /// Text value.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// Object from entries.
    pub fn object(entries: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self::Object(Arc::new(entries.into_iter().collect()))
    }

    /// Object of texts.
    pub fn texts<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::object(entries.into_iter().map(|(k, v)| (k.clone(), Self::text(v))))
    }

    /// Property of an object; null where there is none.
    pub fn get(&self, key: &str) -> Value {
        match self {
            Self::Object(entries) => entries
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map_or(Self::Null, |(_, value)| value.clone()),
            _ => Self::Null,
        }
    }

    /// Whether a condition holds.
    pub fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(value) => *value != 0.0 && !value.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::Array(_) | Self::Object(_) => true,
        }
    }

    /// As text: `true`, `1.5`, ``, `Array`, `Object`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => number_text(*value),
            Self::Text(text) => text.to_string(),
            Self::Array(_) => "Array".into(),
            Self::Object(_) => "Object".into(),
        }
    }

    /// As number, for comparisons between types.
    pub fn to_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(value) => f64::from(*value),
            Self::Number(value) => *value,
            Self::Text(text) => text_number(text),
            Self::Array(_) | Self::Object(_) => f64::NAN,
        }
    }

    /// GitHub's `==`.
    pub fn loosely_equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => same_text(a, b),
            (Self::Array(a), Self::Array(b)) => Arc::ptr_eq(a, b),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.to_number() == b.to_number(),
        }
    }

    /// Order for `<` and its kin; `None` where nothing compares.
    pub fn order(&self, other: &Value) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.to_uppercase().cmp(&b.to_uppercase())),
            (Self::Array(_) | Self::Object(_), _) | (_, Self::Array(_) | Self::Object(_)) => None,
            (a, b) => a.to_number().partial_cmp(&b.to_number()),
        }
    }

    /// Rough size in memory, bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => 16 + text.len(),
            Self::Array(items) => 16 + items.iter().map(Value::size).sum::<usize>(),
            Self::Object(entries) => {
                16 + entries
                    .iter()
                    .map(|(k, v)| k.len() + v.size())
                    .sum::<usize>()
            }
            _ => 16,
        }
    }

    /// From JSON.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::text(text),
            Json::Array(items) => {
                Self::Array(Arc::new(items.iter().map(Self::from_json).collect()))
            }
            Json::Object(map) => {
                Self::object(map.iter().map(|(k, v)| (k.clone(), Self::from_json(v))))
            }
        }
    }

    /// To JSON; whole numbers stay whole.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                Json::from(*value as i64)
            }
            Self::Number(value) => Json::from(*value),
            Self::Text(text) => Json::String(text.to_string()),
            Self::Array(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Object(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(k, v)| (k.clone(), v.to_json()))
                    .collect(),
            ),
        }
    }
}

fn same_text(a: &str, b: &str) -> bool {
    a == b
        || a.eq_ignore_ascii_case(b)
        || (!(a.is_ascii() && b.is_ascii()) && a.to_uppercase() == b.to_uppercase())
}

/// 15 significant digits, without a trailing zero fraction.
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&exponent) {
        let text = format!("{value:.14E}");
        let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
        let mantissa = if mantissa.contains('.') {
            mantissa.trim_end_matches('0').trim_end_matches('.')
        } else {
            mantissa
        };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}E{sign}{digits:0>2}");
    }
    let decimals = (14 - exponent).clamp(0, 30) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// Text to number: trimmed; empty is 0; decimal, exponent, hex and octal; else NaN.
pub(super) fn text_number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).map_or(f64::NAN, |n| f64::from(n as i32));
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u32::from_str_radix(octal, 8).map_or(f64::NAN, |n| f64::from(n as i32));
    }
    match text {
        "Infinity" | "+Infinity" => return f64::INFINITY,
        "-Infinity" => return f64::NEG_INFINITY,
        _ => {}
    }
    let numeric = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}
