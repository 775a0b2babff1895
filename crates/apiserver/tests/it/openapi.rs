//! OpenAPI over the wire: tags, addresses that never change, and the protobuf form.

use crate::door::{Answer, Ask, Door};
use serde_json::Value;

const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

async fn get(door: &Door, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut ask = Ask::new("GET", path);
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    door.send(&ask).await
}

#[tokio::test]
async fn documents_have_tags_and_addresses_of_their_own() {
    let door = Door::own().await;
    let index = get(&door, "/openapi/v3", &[]).await.value();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("an address")
        .to_string();
    let kept = get(&door, &url, &[]).await;
    assert_eq!(kept.code, 200);
    assert_eq!(kept.headers["cache-control"], "public, immutable");
    assert!(
        kept.headers["expires"]
            .to_str()
            .expect("date")
            .ends_with("GMT")
    );
    let tag = kept.headers["etag"].to_str().expect("tag").to_string();
    assert!(url.ends_with(tag.trim_matches('"')), "{url} {tag}");
    let known = get(&door, &url, &[("if-none-match", &tag)]).await;
    assert_eq!((known.code, known.body.len()), (304, 0));
    let moved = get(&door, "/openapi/v3/apis/apps/v1?hash=OLD", &[]).await;
    assert_eq!(
        (
            moved.code,
            moved.headers["location"].to_str().expect("place")
        ),
        (301, url.as_str())
    );
    let plain = get(&door, "/openapi/v3/apis/apps/v1", &[]).await;
    assert_eq!(plain.headers["cache-control"], "no-cache, private");
    let other = get(&door, &url, &[("accept", "application/xml")]).await;
    assert_eq!(other.code, 406);
    door.close().await;
}

#[tokio::test]
async fn version_two_is_there_in_json_and_protobuf() {
    let door = Door::own().await;
    let json = get(&door, "/openapi/v2", &[]).await;
    let tag = json.headers["etag"].to_str().expect("tag").to_string();
    let typed = get(&door, "/openapi/v2", &[("accept", GNOSTIC)]).await;
    assert_eq!(typed.headers["etag"], tag.as_str());
    assert_eq!(
        typed.headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert!(typed.body.starts_with(b"\x0a\x032.0\x12"));
    for accept in [GNOSTIC, "application/json"] {
        let headers = [("accept", accept), ("if-none-match", tag.as_str())];
        let known = get(&door, "/openapi/v2", &headers).await;
        assert_eq!(known.code, 304);
    }
    let text = get(&door, "/openapi/v2", &[("accept", "text/html")]).await;
    assert_eq!(text.code, 406);
    if let Some(place) = std::env::var_os("TOWPATH_KEEP_OPENAPI") {
        // For a look at them with other readers of the same forms.
        let place = std::path::PathBuf::from(place);
        std::fs::write(place.join("v2.json"), &json.body).expect("write");
        std::fs::write(place.join("v2.pb"), &typed.body).expect("write");
    }
    let document: Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!(document["swagger"], "2.0");
    door.close().await;
}
