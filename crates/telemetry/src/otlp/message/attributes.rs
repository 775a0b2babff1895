//! Values, attributes, resources and scopes: `common.proto` and `resource.proto`.

use super::json;
use serde::Deserialize;

/// A value of any of the protocol's types.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(from = "AnyJson")]
pub struct AnyValue {
    /// Which; a missing one is an empty value.
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<any_value::Value>,
}

/// Alternatives of a value.
pub mod any_value {
    /// What a value is.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// Text.
        #[prost(string, tag = "1")]
        StringValue(String),
        /// Yes or no.
        #[prost(bool, tag = "2")]
        BoolValue(bool),
        /// A whole number.
        #[prost(int64, tag = "3")]
        IntValue(i64),
        /// A number.
        #[prost(double, tag = "4")]
        DoubleValue(f64),
        /// Values in order.
        #[prost(message, tag = "5")]
        ArrayValue(super::ArrayValue),
        /// Values by name.
        #[prost(message, tag = "6")]
        KvlistValue(super::KeyValueList),
        /// Bytes.
        #[prost(bytes = "vec", tag = "7")]
        BytesValue(Vec<u8>),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct AnyJson {
    string_value: Option<String>,
    bool_value: Option<bool>,
    #[serde(deserialize_with = "json::int64_option")]
    int_value: Option<i64>,
    #[serde(deserialize_with = "json::double_option")]
    double_value: Option<f64>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<String>,
}

impl From<AnyJson> for AnyValue {
    fn from(json: AnyJson) -> Self {
        use any_value::Value;
        let bytes = |text: String| towpath_stdx::base64_decode(&text).unwrap_or_default();
        let value = (json.string_value.map(Value::StringValue))
            .or(json.bool_value.map(Value::BoolValue))
            .or(json.int_value.map(Value::IntValue))
            .or(json.double_value.map(Value::DoubleValue))
            .or(json.array_value.map(Value::ArrayValue))
            .or(json.kvlist_value.map(Value::KvlistValue))
            .or(json.bytes_value.map(|text| Value::BytesValue(bytes(text))));
        Self { value }
    }
}

/// Values in order.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub struct ArrayValue {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub values: Vec<AnyValue>,
}

/// Values by name.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub struct KeyValueList {
    /// The pairs.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub values: Vec<KeyValue>,
}

/// An attribute.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// Who sends.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// What is said about it.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
}

/// The library that measured.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstrumentationScope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// What is said about it.
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
}
