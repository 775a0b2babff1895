use crate::door::{Ask, Door};
use crate::harness::{Server, admin, send};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use std::io::Read;
use towpath_api::protobuf;

const KIND: &str = "application/vnd.kubernetes.protobuf";

#[tokio::test]
async fn typed_clients_send_protobuf_and_take_what_they_name_first() {
    let server = Server::start().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "typed"}, "data": {"k": "v"}});
    let body = protobuf::encode(object.to_string().as_bytes()).expect("protobuf");
    for (accept, name) in [("application/json", "json"), (KIND, "protobuf")] {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/namespaces/default/configmaps?dryRun=All")
            .header("content-type", KIND)
            .header("accept", format!("{accept},*/*"))
            .body(Full::new(Bytes::from(body.clone())))
            .expect("request");
        let (code, made) = send(server.api.service(admin()), request).await;
        assert_eq!(code, 201, "{name}: {made}");
        if accept == KIND {
            assert!(made.as_str().is_some_and(|text| text.starts_with("k8s\0")));
        } else {
            assert_eq!(made["data"]["k"], "v");
        }
    }
}

#[tokio::test]
async fn long_lists_are_written_piece_by_piece_in_every_media_type() {
    let door = Door::own().await;
    let long = "x".repeat(900);
    for number in 0..400 {
        let object = json!({"metadata": {"name": format!("a{number:04}")}, "data": {"k": long, "n": number.to_string()}});
        let (code, made) = door
            .call("POST", "/api/v1/namespaces/default/configmaps", &object)
            .await;
        assert_eq!(code, 201, "{made}");
    }
    let ask = Ask::new("GET", "/api/v1/namespaces/default/configmaps");
    let plain = door.send(&ask).await;
    assert!(plain.body.len() > 256 << 10);
    let wanted = plain.value();
    let typed = door.send(&ask.clone().header("accept", KIND)).await;
    assert_eq!(typed.headers["content-type"], KIND);
    let mut found = typed.value();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(401));
    for item in found["items"].as_array_mut().into_iter().flatten() {
        item["apiVersion"] = "v1".into();
        item["kind"] = "ConfigMap".into();
    }
    assert_eq!(found, wanted);
    let yaml = door
        .send(&ask.clone().header("accept", "application/yaml"))
        .await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert_eq!(yaml.value(), wanted);
    for (accept, bytes) in [("application/json", &plain.body), (KIND, &typed.body)] {
        let ask = ask
            .clone()
            .header("accept", accept)
            .header("accept-encoding", "gzip");
        let zipped = door.send(&ask).await;
        assert_eq!(zipped.headers["content-encoding"], "gzip", "{accept}");
        assert!(zipped.body.len() < bytes.len() / 4);
        let mut whole = Vec::new();
        flate2::read::GzDecoder::new(&zipped.body[..])
            .take(16 << 20)
            .read_to_end(&mut whole)
            .expect("gzip");
        assert!(whole == bytes[..], "{accept}");
    }
    // A watch is never compressed.
    let watch = Ask::new(
        "GET",
        "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1",
    )
    .header("accept-encoding", "gzip");
    assert!(
        !door
            .send(&watch)
            .await
            .headers
            .contains_key("content-encoding")
    );
    door.close().await;
}
