//! A webhook server for tests: HTTPS with an authority of its own, behaviour by path, and every
//! review it was sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Hooks {
    pub(crate) port: u16,
    /// As `caBundle` wants it.
    pub(crate) bundle: String,
    seen: Arc<parking_lot::Mutex<Vec<(String, Value)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn certificates(names: &[&str]) -> (String, rustls::ServerConfig) {
    let authority_key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
    let leaf = CertificateParams::new(names).expect("params");
    let leaf = leaf.signed_by(&key, &issuer).expect("certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("configuration");
    (STANDARD.encode(authority.pem()), config)
}

impl Hooks {
    #[allow(clippy::disallowed_methods)] // a server of the test's own
    pub(crate) async fn start(names: &[&str]) -> Self {
        let (bundle, config) = certificates(names);
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("port");
        let port = listener.local_addr().expect("address").port();
        let seen: Arc<parking_lot::Mutex<Vec<(String, Value)>>> = Arc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (acceptor, seen) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, seen.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            port,
            bundle,
            seen,
            task,
        }
    }

    pub(crate) fn client(&self, path: &str) -> Value {
        let url = format!("https://127.0.0.1:{}{path}", self.port);
        json!({"url": url, "caBundle": self.bundle})
    }

    /// What came in since the last call, in order: path and request.
    pub(crate) fn taken(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.seen.lock())
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    seen: Arc<parking_lot::Mutex<Vec<(String, Value)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_string();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("body")
        .to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    seen.lock().push((path.clone(), review["request"].clone()));
    let text = |text: String| Response::new(Full::new(Bytes::from(text)));
    if review["kind"] == "ConversionReview" {
        return Ok(text(convert(&review, &path)));
    }
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["html"] => return Ok(text("<html>no</html>".into())),
        ["broken"] => {
            let mut failed = text("it broke".into());
            *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(failed);
        }
        ["huge"] => return Ok(text("x".repeat(4 << 20))),
        ["slow"] => tokio::time::sleep(Duration::from_secs(5)).await,
        ["uid"] => response["uid"] = "other".into(),
        ["deny"] => {
            response["allowed"] = false.into();
            response["warnings"] = json!(["mind \"this\""]);
            response["auditAnnotations"] = json!({"why": "because"});
        }
        ["deny", code] => {
            response["allowed"] = false.into();
            let code: u16 = code.parse().expect("code");
            response["status"] = json!({"code": code, "reason": "Conflict", "message": "not now"});
        }
        ["warn"] => response["warnings"] = json!(["take care"]),
        ["patch-without-type"] => response["patch"] = STANDARD.encode("[]").into(),
        ["bad-patch"] => {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = STANDARD
                .encode(r#"[{"op":"remove","path":"/not/there"}]"#)
                .into();
        }
        // Sets a label to how many times it was set.
        ["label", name] => {
            let labels = &review["request"]["object"]["metadata"]["labels"];
            let count = labels[*name].as_str().and_then(|n| n.parse::<u32>().ok());
            let next = (count.unwrap_or(0) + 1).to_string();
            let mut patch = Vec::new();
            if labels.is_null() {
                patch.push(json!({"op": "add", "path": "/metadata/labels", "value": {}}));
            }
            patch.push(
                json!({"op": "add", "path": format!("/metadata/labels/{name}"), "value": next}),
            );
            set(&mut response, &json!(patch));
        }
        // Adds a field of the spec.
        ["spec", field, value] => {
            let value = match *value {
                "object" => json!({}),
                value => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
            };
            let path = format!("/spec/{field}");
            set(
                &mut response,
                &json!([{"op": "add", "path": path, "value": value}]),
            );
        }
        _ => {}
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(text(review.to_string()))
}

fn set(response: &mut Value, patch: &Value) {
    response["patchType"] = "JSONPatch".into();
    response["patch"] = STANDARD.encode(patch.to_string()).into();
}

/// Converts between `v1` with `spec.host` and `spec.port`, and `v2` with `spec.address`; the path
/// after `/convert/` names a fault.
fn convert(review: &Value, path: &str) -> String {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].clone();
    let objects = request["objects"].as_array().cloned().unwrap_or_default();
    let mut converted: Vec<Value> = objects
        .into_iter()
        .map(|mut object| {
            let spec = object["spec"].take();
            let text = |key: &str| spec[key].as_str().unwrap_or_default().to_string();
            object["spec"] = match wanted.as_str().unwrap_or_default().ends_with("/v2") {
                true => json!({"address": format!("{}:{}", text("host"), text("port"))}),
                false => {
                    let address = text("address");
                    let (host, port) = address.split_once(':').unwrap_or((&address, ""));
                    json!({"host": host, "port": port})
                }
            };
            object["apiVersion"] = wanted.clone();
            object["metadata"]["annotations"]["converted"] = wanted.clone();
            object
        })
        .collect();
    let fault = path.trim_start_matches("/convert").trim_start_matches('/');
    let mut uid = request["uid"].clone();
    let mut result = json!({"status": "Success"});
    for object in &mut converted {
        match fault {
            "name" => object["metadata"]["name"] = "other".into(),
            "uid-of-object" => object["metadata"]["uid"] = "other".into(),
            "namespace" => object["metadata"]["namespace"] = "other".into(),
            "version" => object["apiVersion"] = "conversion.example.com/v3".into(),
            "kind" => object["kind"] = "Other".into(),
            "no-metadata" => {
                object.as_object_mut().expect("object").remove("metadata");
            }
            "labels" => object["metadata"]["labels"] = json!({"a": 1}),
            "bad-label" => object["metadata"]["labels"] = json!({"a": "no label!"}),
            "generation" => {
                object["metadata"]["generation"] = 77.into();
                object["metadata"]["finalizers"] = json!(["example.com/never"]);
                object["metadata"]["labels"] = json!({"seen": "yes"});
            }
            _ => {}
        }
    }
    match fault {
        "uid" => uid = "other".into(),
        "fail" => result = json!({"status": "Failed", "message": "not today"}),
        "silent" => result = json!({"status": "Failed"}),
        "none" => converted.clear(),
        "empty" => {
            return json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"]})
                .to_string();
        }
        "other" => return json!({"kind": "Other", "apiVersion": "v1", "response": {}}).to_string(),
        _ => {}
    }
    json!({
        "kind": "ConversionReview", "apiVersion": review["apiVersion"],
        "response": {"uid": uid, "result": result, "convertedObjects": converted},
    })
    .to_string()
}
