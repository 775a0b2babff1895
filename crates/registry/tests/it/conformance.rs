//! The distribution specification, request by request.

use crate::harness::{READER, Server, image};
use serde_json::Value;
use towpath_oci::Digest;
use towpath_oci::manifest::{IMAGE, INDEX};

async fn codes(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (
        status,
        body["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_string(),
    )
}

#[tokio::test]
async fn a_table_of_requests() {
    let server = Server::start().await;
    let (digest, _) = server.push_image("demo/hello", "v1", b"layer").await;
    let layer = Digest::of(b"layer");
    let absent = Digest::of(b"absent");
    let long = "a".repeat(256);
    let table: Vec<(&str, String, u16, &str)> = vec![
        ("GET", "/v2/".into(), 200, ""),
        ("GET", "/v2".into(), 200, ""),
        ("POST", "/v2/".into(), 405, "UNSUPPORTED"),
        ("GET", "/v2/demo/hello/manifests/v1".into(), 200, ""),
        ("HEAD", "/v2/demo/hello/manifests/v1".into(), 200, ""),
        ("GET", format!("/v2/demo/hello/manifests/{digest}"), 200, ""),
        (
            "GET",
            format!("/v2/demo/hello/manifests/{}", digest.replace(':', "%3A")),
            200,
            "",
        ),
        (
            "GET",
            "/v2/demo/hello/manifests/nope".into(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "GET",
            format!("/v2/demo/hello/manifests/{absent}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "GET",
            "/v2/demo/none/manifests/v1".into(),
            404,
            "NAME_UNKNOWN",
        ),
        (
            "GET",
            "/v2/demo/hello/manifests/sha256:zz".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "GET",
            "/v2/demo/hello/manifests/-bad".into(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "GET",
            format!("/v2/demo/hello/manifests/{}", "t".repeat(129)),
            400,
            "MANIFEST_INVALID",
        ),
        ("GET", format!("/v2/demo/hello/blobs/{layer}"), 200, ""),
        (
            "GET",
            format!("/v2/demo/hello/blobs/{absent}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "GET",
            format!("/v2/demo/other/blobs/{layer}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "GET",
            "/v2/demo/hello/blobs/sha256:../../../etc/passwd".into(),
            404,
            "NAME_UNKNOWN",
        ),
        (
            "GET",
            "/v2/demo/hello/blobs/sha256:..%2f..%2fetc%2fpasswd".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "GET",
            "/v2/demo/hello/blobs/sha512:00".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "GET",
            "/v2/Demo/hello/tags/list".into(),
            400,
            "NAME_INVALID",
        ),
        (
            "GET",
            "/v2/demo%2f..%2fx/tags/list".into(),
            400,
            "NAME_INVALID",
        ),
        ("GET", format!("/v2/{long}/tags/list"), 400, "NAME_INVALID"),
        ("GET", "/v2/demo/none/tags/list".into(), 404, "NAME_UNKNOWN"),
        (
            "GET",
            "/v2/demo/hello/tags/list?n=99999999999999999999999".into(),
            200,
            "",
        ),
        (
            "GET",
            "/v2/demo/hello/tags/list?n=2147483648".into(),
            200,
            "",
        ),
        (
            "GET",
            "/v2/demo/hello/tags/list?n=-1".into(),
            400,
            "SIZE_INVALID",
        ),
        (
            "GET",
            "/v2/demo/hello/tags/list?n=x".into(),
            400,
            "SIZE_INVALID",
        ),
        ("GET", "/v2/_catalog?n=1".into(), 200, ""),
        ("GET", format!("/v2/demo/hello/referrers/{absent}"), 200, ""),
        (
            "GET",
            "/v2/demo/hello/referrers/x".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "PATCH",
            "/v2/demo/hello/blobs/uploads/unknown".into(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "GET",
            "/v2/demo/hello/blobs/uploads/..%2f..%2fx".into(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "PUT",
            "/v2/demo/hello/blobs/uploads/unknown".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "POST",
            "/v2/demo/hello/blobs/uploads/?digest-algorithm=sha512".into(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "DELETE",
            format!("/v2/demo/hello/blobs/{layer}"),
            405,
            "DENIED",
        ),
        (
            "DELETE",
            format!("/v2/demo/hello/blobs/{absent}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "DELETE",
            "/v2/demo/hello/manifests/nope".into(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        ("GET", "/v2/demo/hello/nothing".into(), 404, "NAME_UNKNOWN"),
    ];
    for (method, path, status, code) in table {
        let answer = server.request(method, &path).send().await.unwrap();
        assert_eq!(
            answer.headers()["docker-distribution-api-version"],
            "registry/2.0"
        );
        assert_eq!(
            codes(answer).await,
            (status, code.to_string()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_bytes_come_back_as_sent() {
    let server = Server::start().await;
    let (digest, manifest) = server.push_image("demo/hello", "v1", b"0123456789").await;
    let layer = Digest::of(b"0123456789");
    for path in [
        "/v2/demo/hello/manifests/v1".to_string(),
        format!("/v2/demo/hello/blobs/{layer}"),
    ] {
        let head = server.request("HEAD", &path).send().await.unwrap();
        let get = server.request("GET", &path).send().await.unwrap();
        for name in [
            "content-length",
            "content-type",
            "docker-content-digest",
            "etag",
            "accept-ranges",
        ] {
            assert_eq!(head.headers()[name], get.headers()[name], "{path} {name}");
        }
    }
    let got = server
        .request("GET", &format!("/v2/demo/hello/manifests/{digest}"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.headers()["content-type"], IMAGE);
    assert_eq!(got.text().await.unwrap(), manifest);
    let path = format!("/v2/demo/hello/blobs/{layer}");
    for (range, status, content) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=-3", 206, "789"),
        ("bytes=8-", 206, "89"),
        ("bytes=20-", 416, ""),
    ] {
        let answer = server
            .request("GET", &path)
            .header("range", range)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{range}");
        if status == 206 {
            assert_eq!(answer.text().await.unwrap(), content);
        }
    }
}

#[tokio::test]
async fn uploads_in_chunks_keep_their_order() {
    let server = Server::start().await;
    let content = b"hello chunked world".to_vec();
    let digest = Digest::of(&content);
    let start = server
        .request("POST", "/v2/demo/a/blobs/uploads/")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            start.status().as_u16(),
            start.headers()["range"].to_str().unwrap()
        ),
        (202, "0-0")
    );
    assert!(start.headers().contains_key("oci-chunk-min-length"));
    let location = start.headers()["location"].to_str().unwrap().to_string();
    let patch = |range: &'static str, part: &[u8]| {
        server
            .request("PATCH", &location)
            .header("content-range", range)
            .body(part.to_vec())
            .send()
    };
    let first = patch("0-4", &content[..5]).await.unwrap();
    assert_eq!(
        (
            first.status().as_u16(),
            first.headers()["range"].to_str().unwrap()
        ),
        (202, "0-4")
    );
    let gap = patch("7-8", b"xx").await.unwrap();
    assert_eq!(
        (
            gap.status().as_u16(),
            gap.headers()["range"].to_str().unwrap()
        ),
        (416, "0-4")
    );
    assert_eq!(
        codes(patch("5-9", b"xx").await.unwrap()).await,
        (400, "SIZE_INVALID".into())
    );
    let status = server.request("GET", &location).send().await.unwrap();
    assert_eq!(
        (
            status.status().as_u16(),
            status.headers()["range"].to_str().unwrap()
        ),
        (204, "0-4")
    );
    let foreign = location.replace("demo/a", "demo/b");
    assert_eq!(
        server
            .request("GET", &foreign)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    let done = server
        .request("PUT", &format!("{location}?digest={digest}"))
        .body(content[5..].to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), 201);
    assert_eq!(done.headers()["docker-content-digest"], digest.as_str());
    let got = server
        .request("GET", &format!("/v2/demo/a/blobs/{digest}"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.bytes().await.unwrap(), content);
    assert_eq!(
        server
            .request("GET", &location)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn a_wrong_digest_names_nothing_and_cancel_ends_an_upload() {
    let server = Server::start().await;
    let wrong = Digest::of(b"something else");
    let path = format!("/v2/demo/a/blobs/uploads/?digest={wrong}");
    assert_eq!(
        codes(
            server
                .request("POST", &path)
                .body("x")
                .send()
                .await
                .unwrap()
        )
        .await,
        (400, "DIGEST_INVALID".into())
    );
    assert_eq!(
        server
            .request("GET", &format!("/v2/demo/a/blobs/{wrong}"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    let start = server
        .request("POST", "/v2/demo/a/blobs/uploads/")
        .send()
        .await
        .unwrap();
    let location = start.headers()["location"].to_str().unwrap().to_string();
    assert_eq!(
        server
            .request("DELETE", &location)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(
        server
            .request("PATCH", &location)
            .body("x")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn mounts_link_only_what_the_caller_may_read() {
    let server = Server::start().await;
    let digest = server.push_blob("secret/a", b"content").await;
    let mount = format!("/v2/demo/b/blobs/uploads/?mount={digest}&from=secret/a");
    assert_eq!(
        server
            .request("POST", &mount)
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    assert_eq!(
        server
            .request("GET", &format!("/v2/demo/b/blobs/{digest}"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let anywhere = format!("/v2/demo/c/blobs/uploads/?mount={digest}");
    assert_eq!(
        server
            .request("POST", &anywhere)
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    let absent = format!(
        "/v2/demo/b/blobs/uploads/?mount={}&from=secret/a",
        Digest::of(b"no")
    );
    assert_eq!(
        server
            .request("POST", &absent)
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
}

#[tokio::test]
async fn manifests_are_checked() {
    let server = Server::start().await;
    let put = |reference: String, kind: &'static str, body: Vec<u8>| {
        server
            .request("PUT", &format!("/v2/demo/a/manifests/{reference}"))
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let config = server.push_blob("demo/a", b"{}").await;
    let absent = Digest::of(b"absent");
    let incomplete = image(&config, absent.as_str(), 1, "");
    assert_eq!(
        codes(put("v".into(), IMAGE, incomplete.into()).await.unwrap()).await,
        (400, "MANIFEST_BLOB_UNKNOWN".into())
    );
    for bad in ["", "{}", "[]", "{\"schemaVersion\":2}", "\u{feff}{"] {
        assert_eq!(
            codes(put("v".into(), IMAGE, bad.into()).await.unwrap()).await,
            (400, "MANIFEST_INVALID".into()),
            "{bad}"
        );
    }
    let huge = vec![b' '; (4 << 20) + 1];
    assert_eq!(put("v".into(), IMAGE, huge).await.unwrap().status(), 413);
    let whole = image(&config, &config, 2, "");
    assert_eq!(
        codes(
            put(absent.to_string(), IMAGE, whole.clone().into())
                .await
                .unwrap()
        )
        .await,
        (400, "DIGEST_INVALID".into())
    );
    let foreign = server.push_blob("demo/z", b"other repository").await;
    let borrowed = image(&config, &foreign, 1, "");
    assert_eq!(
        codes(put("v".into(), IMAGE, borrowed.into()).await.unwrap()).await,
        (400, "MANIFEST_BLOB_UNKNOWN".into())
    );
    let both = put("v1?tag=v2&tag=v3".into(), IMAGE, whole.into())
        .await
        .unwrap();
    assert_eq!(both.status(), 201);
    let tags: Value = server
        .request("GET", "/v2/demo/a/tags/list")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["v1", "v2", "v3"]));
}

#[tokio::test]
async fn tags_are_paged_and_deleted() {
    let server = Server::start().await;
    let mut digest = String::new();
    for tag in ["b", "a", "d", "c"] {
        digest = server.push_image("demo/a", tag, b"same").await.0;
    }
    let page = server
        .request("GET", "/v2/demo/a/tags/list?n=2")
        .send()
        .await
        .unwrap();
    let link = page.headers()["link"].to_str().unwrap().to_string();
    assert_eq!(link, "</v2/demo/a/tags/list?n=2&last=b>; rel=\"next\"");
    assert_eq!(
        page.json::<Value>().await.unwrap()["tags"],
        serde_json::json!(["a", "b"])
    );
    let rest = server
        .request("GET", "/v2/demo/a/tags/list?n=2&last=b")
        .send()
        .await
        .unwrap();
    assert!(!rest.headers().contains_key("link"));
    assert_eq!(
        rest.json::<Value>().await.unwrap()["tags"],
        serde_json::json!(["c", "d"])
    );
    let none = server
        .request("GET", "/v2/demo/a/tags/list?n=0")
        .send()
        .await
        .unwrap();
    assert_eq!(
        none.json::<Value>().await.unwrap()["tags"],
        serde_json::json!([])
    );
    assert_eq!(
        server
            .request("DELETE", "/v2/demo/a/manifests/a")
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    assert_eq!(
        server
            .request("GET", "/v2/demo/a/manifests/a")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(
        server
            .request("GET", "/v2/demo/a/manifests/b")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        server
            .request("DELETE", &format!("/v2/demo/a/manifests/{digest}"))
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    assert_eq!(
        server
            .request("GET", "/v2/demo/a/manifests/b")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_may_come_first() {
    let server = Server::start().await;
    let config = server.push_blob("demo/a", b"{}").await;
    let subject = Digest::of(b"not pushed yet");
    for (kind, tag) in [("application/sbom", "s"), ("application/sig", "g")] {
        let more = format!(
            r#","artifactType":"{kind}","annotations":{{"k":"{tag}"}},"subject":{{"mediaType":"{IMAGE}","digest":"{subject}","size":1}}"#
        );
        let answer = server
            .request("PUT", &format!("/v2/demo/a/manifests/{tag}"))
            .header("content-type", IMAGE)
            .body(image(&config, &config, 2, &more))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["oci-subject"]),
            (201, &subject.as_str().parse().unwrap())
        );
    }
    let all = server
        .request("GET", &format!("/v2/demo/a/referrers/{subject}"))
        .send()
        .await
        .unwrap();
    assert_eq!(all.headers()["content-type"], INDEX);
    assert!(!all.headers().contains_key("oci-filters-applied"));
    assert_eq!(
        all.json::<Value>().await.unwrap()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let path = format!("/v2/demo/a/referrers/{subject}?artifactType=application/sbom");
    let one = server.request("GET", &path).send().await.unwrap();
    assert_eq!(one.headers()["oci-filters-applied"], "artifactType");
    let one: Value = one.json().await.unwrap();
    assert_eq!(one["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(one["manifests"][0]["annotations"]["k"], "s");
    assert_eq!(one["manifests"][0]["artifactType"], "application/sbom");
    assert_eq!(
        server
            .request("DELETE", "/v2/demo/a/manifests/s")
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
}

#[tokio::test]
async fn rights_and_tokens() {
    let server = Server::start().await;
    server.push_image("demo/a", "v", b"1").await;
    server.push_image("other/a", "v", b"1").await;
    let anonymous = server.http.get(server.url("/v2/")).send().await.unwrap();
    let challenge = anonymous.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_string();
    assert_eq!(anonymous.status(), 401);
    assert!(
        challenge.starts_with(&format!(
            "Bearer realm=\"http://{}/v2/token\",service=",
            server.address
        )),
        "{challenge}"
    );
    let pull = server
        .http
        .get(server.url("/v2/demo/a/manifests/v"))
        .send()
        .await
        .unwrap();
    assert!(
        pull.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .ends_with("scope=\"repository:demo/a:pull\"")
    );
    let bad = server
        .http
        .get(server.url("/v2/"))
        .bearer_auth("nonsense")
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 401);
    let reader = |method: &str, path: &str| {
        server
            .http
            .request(method.parse().unwrap(), server.url(path))
            .basic_auth("any", Some(READER))
            .send()
    };
    assert_eq!(
        reader("GET", "/v2/demo/a/manifests/v")
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        codes(reader("GET", "/v2/other/a/manifests/v").await.unwrap()).await,
        (403, "DENIED".into())
    );
    assert_eq!(
        reader("POST", "/v2/demo/a/blobs/uploads/")
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        reader("DELETE", "/v2/demo/a/manifests/v")
            .await
            .unwrap()
            .status(),
        403
    );
    let catalog: Value = reader("GET", "/v2/_catalog")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(catalog["repositories"], serde_json::json!(["demo/a"]));
    let token =
        "/v2/token?service=x&scope=repository:demo/a:pull,push&scope=repository:other/a:pull";
    let token: Value = reader("GET", token).await.unwrap().json().await.unwrap();
    let with = |path: &str| {
        server
            .http
            .get(server.url(path))
            .bearer_auth(token["token"].as_str().unwrap())
            .send()
    };
    assert_eq!(with("/v2/").await.unwrap().status(), 200);
    assert_eq!(with("/v2/demo/a/manifests/v").await.unwrap().status(), 200);
    assert_eq!(with("/v2/other/a/manifests/v").await.unwrap().status(), 401);
    let form = format!(
        "grant_type=password&username=u&password={READER}&scope=repository%3Ademo%2Fa%3Apull"
    );
    let posted = server
        .http
        .post(server.url("/v2/token"))
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 200);
    assert_eq!(
        server
            .http
            .get(server.url("/v2/token?scope=repository:demo/a:pull"))
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
}

#[tokio::test]
async fn collection_takes_only_what_nothing_names() {
    use std::time::Duration;
    let server = Server::start().await;
    let (digest, _) = server.push_image("demo/a", "v", b"kept layer").await;
    let orphan = server.push_blob("demo/a", b"orphan").await;
    let none = |_: &str| false;
    let young = server
        .registry
        .collect(towpath_registry::GRACE, &none, false)
        .await
        .unwrap();
    assert_eq!(young.blobs, Vec::<String>::new());
    let planned = server
        .registry
        .collect(Duration::ZERO, &none, true)
        .await
        .unwrap();
    assert_eq!(planned.blobs, std::slice::from_ref(&orphan));
    let done = server
        .registry
        .collect(Duration::ZERO, &none, false)
        .await
        .unwrap();
    assert_eq!(done, planned);
    assert_eq!(
        server
            .request("GET", &format!("/v2/demo/a/blobs/{orphan}"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(
        server
            .request("GET", "/v2/demo/a/manifests/v")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    server
        .request("DELETE", &format!("/v2/demo/a/manifests/{digest}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        server
            .registry
            .collect(Duration::ZERO, &none, false)
            .await
            .unwrap()
            .blobs
            .len(),
        3
    );
}
