//! Paths that are not about objects: version, health, OpenAPI, issuer discovery.

use crate::body::{self, Answer};
use crate::core::Call;
use crate::openapi;
use crate::token::ISSUER;
use serde_json::json;
use towpath_api::facts::KUBERNETES_VERSION;

pub(crate) fn serve(call: &Call) -> Answer {
    match call.path.trim_end_matches('/') {
        "" => {
            let kinds = call.core.kinds.load();
            let mut paths = vec!["/api".to_string(), "/api/v1".into(), "/apis".into()];
            for group in kinds.groups.iter().filter(|g| !g.name.is_empty()) {
                paths.push(format!("/apis/{}", group.name));
                paths.extend(
                    group
                        .versions
                        .iter()
                        .map(|v| format!("/apis/{}/{v}", group.name)),
                );
            }
            paths.extend(
                [
                    "/.well-known/openid-configuration",
                    "/healthz",
                    "/livez",
                    "/metrics",
                    "/openapi/v2",
                    "/openapi/v3",
                    "/openid/v1/jwks",
                    "/readyz",
                    "/version",
                ]
                .map(str::to_string),
            );
            Ok(body::json(200, &json!({"paths": paths})))
        }
        "/version" => {
            crate::accept::json_only(call.header(http::header::ACCEPT))?;
            Ok(body::json(200, &version()))
        }
        "/healthz" | "/livez" | "/livez/ping" | "/healthz/ping" => Ok(health(call, false)),
        "/readyz" | "/readyz/ping" => Ok(health(call, true)),
        "/openapi/v2" => openapi::v2(call),
        "/openapi/v3" => openapi::index(call),
        "/.well-known/openid-configuration" => Ok(body::json(
            200,
            &json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        )),
        "/metrics" => {
            let core = &call.core;
            Ok(body::text(
                200,
                core.audit.metrics()
                    + &core.fairness.metrics()
                    + &towpath_daemon::metrics::text(|name| name.starts_with("apiserver_")),
            ))
        }
        "/openid/v1/jwks" => {
            let set = serde_json::to_vec(&call.core.tokens.key_set()).unwrap_or_default();
            Ok(body::response(200, "application/jwk-set+json", set))
        }
        path => match path.strip_prefix("/openapi/v3/") {
            Some(rest) => openapi::document(call, rest),
            None => crate::discovery::nothing(call),
        },
    }
}

fn version() -> serde_json::Value {
    let numbers: Vec<&str> = KUBERNETES_VERSION
        .trim_start_matches('v')
        .split('.')
        .collect();
    json!({
        "major": numbers.first(),
        "minor": numbers.get(1),
        "gitVersion": format!("{KUBERNETES_VERSION}+towpath"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": "linux/amd64",
    })
}

// Alive while it answers; ready while it also takes writes and is not stopping.
fn health(call: &Call, ready: bool) -> http::Response<body::Body> {
    let closing = call.core.closing.is_cancelled();
    let fault = call
        .core
        .store
        .fault()
        .map(|why| format!("store is read-only: {why}"));
    let bad = fault.or_else(|| (ready && closing).then(|| "shutting down".to_string()));
    match (&bad, call.query.get("verbose")) {
        (None, None) => body::text(200, "ok"),
        (None, Some(_)) => body::text(200, "[+]ping ok\n[+]store ok\nhealthz check passed\n"),
        (Some(why), _) => body::text(
            500,
            format!("[+]ping ok\n[-]store failed: {why}\nhealthz check failed\n"),
        ),
    }
}
