//! The little of a Kubernetes API that watches need: lists as streams, and patches kept.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

#[derive(Clone)]
pub struct Api(Arc<Mutex<State>>);

struct State {
    /// Plural to name to object.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    events: broadcast::Sender<(String, Value)>,
    patches: Vec<(String, Value)>,
    revision: u64,
}

impl Api {
    pub fn new() -> Self {
        let events = broadcast::Sender::new(256);
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            events,
            patches: Vec::new(),
            revision: 1,
        })))
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        towpath_kit::client::in_process(tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        }))
    }

    pub fn put(&self, plural: &str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        let name = format!(
            "{}/{}",
            object["metadata"]["namespace"], object["metadata"]["name"]
        );
        let old = state
            .objects
            .entry(plural.into())
            .or_default()
            .insert(name, object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        let _ = state
            .events
            .send((plural.into(), json!({"type": kind, "object": object})));
    }

    pub fn patches(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().patches.clone()
    }

    async fn handle(
        &self,
        request: Request<Body>,
    ) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
        use http_body_util::BodyExt;
        let path = request.uri().path().to_string();
        let full =
            |value: &Value| http_body_util::Full::new(Bytes::from(value.to_string())).boxed();
        if request.method() != http::Method::GET {
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            let mut body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            self.0
                .lock()
                .unwrap()
                .patches
                .push((path.clone(), body.clone()));
            let plural = path.split('/').rev().nth(1).unwrap_or_default().to_string();
            if body["metadata"].is_object() {
                if let Some((_, rest)) = path.split_once("/namespaces/") {
                    body["metadata"]["namespace"] = json!(rest.split('/').next());
                }
                self.put(&plural, body.clone());
            } else {
                body = json!({"metadata": {"name": "x"}, "spec": {}});
            }
            return Response::new(full(&body));
        }
        let plural = path.rsplit('/').next().unwrap_or_default().to_string();
        let state = self.0.lock().unwrap();
        let mut receive = state.events.subscribe();
        let kind = match plural.as_str() {
            "services" => ("v1", "Service"),
            "endpointslices" => ("discovery.k8s.io/v1", "EndpointSlice"),
            "namespaces" => ("v1", "Namespace"),
            _ => ("networking.k8s.io/v1", "Ingress"),
        };
        let mut first: Vec<Value> = state
            .objects
            .get(&plural)
            .into_iter()
            .flat_map(|all| all.values())
            .map(|object| json!({"type": "ADDED", "object": object}))
            .collect();
        let metadata = json!({
            "resourceVersion": state.revision.to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"},
        });
        first.push(json!({"type": "BOOKMARK", "object": {"apiVersion": kind.0, "kind": kind.1, "metadata": metadata, "spec": {}, "addressType": "IPv4", "endpoints": []}}));
        drop(state);
        let (send, stream) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(256);
        tokio::spawn(async move {
            let line = |value: Value| Ok(Frame::data(Bytes::from(format!("{value}\n"))));
            for event in first {
                let _ = send.send(line(event)).await;
            }
            while let Ok((of, event)) = receive.recv().await {
                if of == plural && send.send(line(event)).await.is_err() {
                    return;
                }
            }
        });
        let stream = futures::stream::unfold(stream, |mut stream| async move {
            let item = stream.recv().await?;
            Some((item, stream))
        });
        Response::new(BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(
            stream,
        )))))
    }
}

// The stream is only ever polled by its owner.
struct SyncStream<S>(S);
impl<S: futures::Stream + Unpin> futures::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        std::pin::Pin::new(&mut self.0).poll_next(context)
    }
}
