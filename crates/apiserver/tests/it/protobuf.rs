use crate::harness::{Server, admin, send};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![tag << 3 | 2, bytes.len() as u8], bytes.to_vec()].concat()
}

#[tokio::test]
async fn typed_clients_send_protobuf_and_take_json() {
    let server = Server::start().await;
    let meta = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let object = [
        field(1, &field(1, b"typed")),
        field(2, &[field(1, b"k"), field(2, b"v")].concat()),
    ]
    .concat();
    let body = [b"k8s\0".to_vec(), field(1, &meta), field(2, &object)].concat();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .header(
            "accept",
            "application/vnd.kubernetes.protobuf,application/json",
        )
        .body(Full::new(Bytes::from(body)))
        .expect("request");
    let (code, made) = send(server.api.service(admin()), request).await;
    assert_eq!(
        (code, made["data"]["k"].as_str()),
        (201, Some("v")),
        "{made}"
    );
}
