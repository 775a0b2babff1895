//! A stand-in for the Kubernetes API that survives kills: objects are files.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone)]
pub struct Api {
    dir: PathBuf,
    /// Status writes fail while set: a crash between making runs and writing them down.
    pub lose_status: Arc<AtomicBool>,
}

fn reply(status: StatusCode, value: &Value) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed());
    *response.status_mut() = status;
    response
}

fn refuse(status: StatusCode, reason: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let value = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": status.as_u16()});
    reply(status, &value)
}

fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    into.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut into[key], value);
                }
            }
        }
        other => *into = other.clone(),
    }
}

impl Api {
    pub fn new(dir: &Path) -> Self {
        for plural in ["repositories", "runs"] {
            std::fs::create_dir_all(dir.join(plural)).unwrap();
        }
        Self {
            dir: dir.to_path_buf(),
            lose_status: Arc::default(),
        }
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        towpath_kit::client::in_process(tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        }))
    }

    fn file(&self, plural: &str, namespace: &str, name: &str) -> PathBuf {
        self.dir
            .join(plural)
            .join(format!("{namespace}.{name}.json"))
    }

    pub fn put_repository(&self, name: &str, spec: Value) {
        let file = self.file("repositories", "demo", name);
        let metadata =
            json!({"name": name, "namespace": "demo", "uid": name, "resourceVersion": "1"});
        let mut object = json!({"apiVersion": "towpath.dev/v1alpha1", "kind": "Repository", "metadata": metadata});
        if let Some(old) = read(&file) {
            object["status"] = old["status"].clone();
        }
        object["spec"] = spec;
        write(&file, &object);
    }

    pub fn delete_repository(&self, name: &str) {
        std::fs::remove_file(self.file("repositories", "demo", name)).unwrap();
    }

    pub fn repository(&self, name: &str) -> Value {
        read(&self.file("repositories", "demo", name)).unwrap_or_default()
    }

    pub fn runs(&self) -> Vec<Value> {
        let entries = std::fs::read_dir(self.dir.join("runs")).unwrap().flatten();
        entries.filter_map(|entry| read(&entry.path())).collect()
    }

    async fn handle(&self, request: Request<Body>) -> Response<BoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let parts: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        // apis/towpath.dev/v1alpha1[/namespaces/<ns>]/<plural>[/<name>[/status]]
        let Some(["namespaces", namespace, plural, rest @ ..]) = parts.get(3..) else {
            return self.watch(parts.last().copied().unwrap_or_default());
        };
        match (&head.method, rest) {
            (&Method::GET, [name]) => match read(&self.file(plural, namespace, name)) {
                Some(object) => reply(StatusCode::OK, &object),
                None => refuse(StatusCode::NOT_FOUND, "NotFound"),
            },
            (&Method::POST, []) => {
                let object: Value = serde_json::from_slice(&bytes).unwrap();
                let file = self.file(
                    plural,
                    namespace,
                    object["metadata"]["name"].as_str().unwrap(),
                );
                let unfinished = self.dir.join(format!("new-{}", std::process::id()));
                std::fs::write(&unfinished, object.to_string()).unwrap();
                // A hard link fails where the name is taken.
                match std::fs::hard_link(&unfinished, &file) {
                    Ok(()) => reply(StatusCode::CREATED, &object),
                    Err(_) => refuse(StatusCode::CONFLICT, "AlreadyExists"),
                }
            }
            (&Method::PATCH, [name, "status"]) => {
                if self.lose_status.load(Ordering::SeqCst) {
                    return refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
                }
                let file = self.file(plural, namespace, name);
                let Some(mut object) = read(&file) else {
                    return refuse(StatusCode::NOT_FOUND, "NotFound");
                };
                merge(&mut object, &serde_json::from_slice(&bytes).unwrap());
                write(&file, &object);
                reply(StatusCode::OK, &object)
            }
            other => panic!("{other:?}"),
        }
    }

    // The present state, then silence.
    fn watch(&self, plural: &str) -> Response<BoxBody<Bytes, Infallible>> {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.dir.join(plural)).unwrap().flatten() {
            if let Some(object) = read(&entry.path()) {
                text += &format!("{}\n", json!({"type": "ADDED", "object": object}));
            }
        }
        let metadata =
            json!({"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}});
        let object = json!({"apiVersion": "towpath.dev/v1alpha1", "kind": "Repository", "metadata": metadata, "spec": {}});
        text += &format!("{}\n", json!({"type": "BOOKMARK", "object": object}));
        let first = futures::stream::once(async move { Ok(hyper_frame(text)) });
        let stream = futures::StreamExt::chain(first, futures::stream::pending());
        Response::new(http_body_util::StreamBody::new(Shared(Box::pin(stream))).boxed())
    }
}

fn hyper_frame(text: String) -> http_body::Frame<Bytes> {
    http_body::Frame::data(Bytes::from(text))
}

type Frames = std::pin::Pin<
    Box<dyn futures::Stream<Item = Result<http_body::Frame<Bytes>, Infallible>> + Send + Sync>,
>;
struct Shared(Frames);
impl futures::Stream for Shared {
    type Item = Result<http_body::Frame<Bytes>, Infallible>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write(path: &Path, value: &Value) {
    let unfinished = path.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&unfinished, value.to_string()).unwrap();
    std::fs::rename(&unfinished, path).unwrap();
}
