//! `http_config`: what authorizes requests, and whom they trust.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::making::Making;

/// How requests are made.
#[derive(Clone, Default)]
pub struct Access {
    /// What authorizes them, as the value of a header.
    pub authorization: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// `tls_config`, as it is written.
    pub tls: Value,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// What cannot be done is refused before anything is sent.
const REFUSED: &[&str] = &[
    "oauth2",
    "proxy_url",
    "proxy_from_environment",
    "proxy_connect_header",
];

pub(super) fn access(making: &Making<'_>) -> Result<Access, String> {
    let mut out = Access {
        follow_redirects: true,
        ..Access::default()
    };
    let Some(config) = making.of.field("http_config").and_then(Value::as_object) else {
        return Ok(out);
    };
    for field in REFUSED {
        let set = match config.get(*field) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        };
        if set {
            return Err(format!("http_config.{field} is not supported"));
        }
    }
    out.authorization = authorization(making, config)?;
    if let Some(tls) = config.get("tls_config") {
        out.tls = checked(tls)?;
    }
    let follow = config.get("follow_redirects").and_then(Value::as_bool);
    out.follow_redirects = follow.unwrap_or(true);
    let headers = config.get("http_headers").and_then(Value::as_object);
    for (name, given) in headers.into_iter().flatten() {
        let list = |field: &str| -> Vec<String> {
            let items = given.get(field).and_then(Value::as_array);
            let items = items.into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for value in list("values") {
            out.headers.push((name.clone(), value));
        }
        for value in list("secrets") {
            making.mask.borrow_mut().add(&value);
            out.headers.push((name.clone(), value));
        }
        for file in list("files") {
            let value = (making.read)(&file)?.trim().to_owned();
            making.mask.borrow_mut().add(&value);
            out.headers.push((name.clone(), value));
        }
    }
    Ok(out)
}

/// A `tls_config`, unless it asks for what cannot be done.
pub(super) fn checked(tls: &Value) -> Result<Value, String> {
    let text = |name: &str| tls.get(name).and_then(Value::as_str).unwrap_or("");
    for name in ["ca_ref", "cert_ref", "key_ref", "max_version"] {
        if !text(name).is_empty() {
            return Err(format!("tls_config.{name} is not supported"));
        }
    }
    // Nothing older than 1.2 is spoken anyway.
    if !["", "TLS10", "TLS11", "TLS12"].contains(&text("min_version")) {
        return Err(format!(
            "tls_config.min_version {} is not supported",
            text("min_version")
        ));
    }
    Ok(tls.clone())
}

fn authorization(
    making: &Making<'_>,
    config: &Map<String, Value>,
) -> Result<Option<String>, String> {
    if let Some(basic) = config.get("basic_auth").and_then(Value::as_object) {
        let user = basic.get("username").and_then(Value::as_str).unwrap_or("");
        let user = match (user, basic.get("username_file").and_then(Value::as_str)) {
            ("", Some(file)) => (making.read)(file)?.trim().to_owned(),
            (user, _) => user.to_owned(),
        };
        let encoded = STANDARD.encode(format!("{user}:{}", making.secret_in(basic, "password")?));
        making.mask.borrow_mut().add(&encoded);
        return Ok(Some(format!("Basic {encoded}")));
    }
    if let Some(own) = config.get("authorization").and_then(Value::as_object) {
        let kind = own.get("type").and_then(Value::as_str).unwrap_or("Bearer");
        let credentials = making.secret_in(own, "credentials")?;
        return Ok(Some(format!("{kind} {credentials}")));
    }
    match making.secret_in(config, "bearer_token")?.as_str() {
        "" => Ok(None),
        token => Ok(Some(format!("Bearer {token}"))),
    }
}
