//! Pull-through, and a credential that stays with its host.

use crate::harness::{ADMIN, Server};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex};
use towpath_kit::traits::{ImageError, Images};
use towpath_oci::client::{Client, Login};
use towpath_registry::Upstream;
use towpath_stdx::Secret;

fn login() -> Login {
    Login {
        user: "u".into(),
        password: Secret::from(ADMIN.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_pulled_once_and_kept() {
    let origin = Server::start().await;
    let (digest, _) = origin
        .push_image("library/thing", "1", b"layer of thing")
        .await;
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("localhost:{}", origin.address.port());
    let cache = Server::at(dir.path(), |config| {
        config.pull_through = true;
        config.upstreams = vec![Upstream {
            host: "registry-1.docker.io".into(),
            endpoint,
            login: Some(login()),
        }];
    })
    .await;
    let (a, b) = tokio::join!(
        cache.registry.resolve("thing:1"),
        cache.registry.resolve("docker.io/library/thing:1")
    );
    assert_eq!(
        (a.unwrap().digest, b.unwrap().digest),
        (digest.clone(), digest.clone())
    );
    let missing = cache.registry.resolve("absent:1").await;
    assert!(
        matches!(missing, Err(ImageError::Pull { .. })),
        "{missing:?}"
    );
    drop(origin);
    assert_eq!(
        cache.registry.resolve("thing:1").await.unwrap().digest,
        digest
    );
    assert_eq!(
        cache
            .registry
            .resolve(&format!("thing@{digest}"))
            .await
            .unwrap()
            .digest,
        digest
    );
    for bad in ["", "../x", "a:b:c", "a//b"] {
        assert!(
            matches!(
                cache.registry.resolve(bad).await,
                Err(ImageError::Invalid(_))
            ),
            "{bad}"
        );
    }
}

/// A server that notes every credential it gets and answers as told.
async fn evil(
    answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let app = Router::new().fallback(move |request: Request| {
        if let Some(value) = request.headers().get("authorization") {
            log.lock()
                .unwrap()
                .push(format!("{} {}", request.uri(), value.to_str().unwrap()));
        }
        let response = answer(&request);
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    towpath_daemon::spawn("test-evil", async move {
        axum::serve(listener, app).await.unwrap()
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_never_leaves_its_host() {
    let (elsewhere, stolen) =
        evil(|_| (http::StatusCode::OK, "{\"token\":\"t\"}").into_response()).await;
    let target = elsewhere.clone();
    let (foreign_realm, _) = evil(move |_| {
        let challenge = format!("Bearer realm=\"http://{target}/token\",service=\"x\"");
        (
            http::StatusCode::UNAUTHORIZED,
            [("www-authenticate", challenge)],
        )
            .into_response()
    })
    .await;
    let target = elsewhere.clone();
    let (redirects, own) = evil(move |request| {
        if request.headers().contains_key("authorization") {
            return (
                http::StatusCode::TEMPORARY_REDIRECT,
                [("location", format!("http://{target}/stolen"))],
            )
                .into_response();
        }
        (
            http::StatusCode::UNAUTHORIZED,
            [("www-authenticate", "Basic realm=\"x\"")],
        )
            .into_response()
    })
    .await;
    let logins = [&foreign_realm, &redirects]
        .into_iter()
        .map(|host| (host.clone(), login()))
        .collect();
    let client = Client::new(logins).unwrap();
    assert!(
        client
            .manifest(&foreign_realm, "a/b", "latest")
            .await
            .is_err()
    );
    let _ = client.manifest(&redirects, "a/b", "latest").await;
    assert_eq!(own.lock().unwrap().len(), 1, "the registry itself gets it");
    assert_eq!(*stolen.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_not_kept() {
    let (address, _) =
        evil(|_| (http::StatusCode::OK, "these are other bytes").into_response()).await;
    let client = Client::new(Default::default()).unwrap();
    let promised = towpath_oci::Digest::of(b"promised");
    let error = client
        .manifest(&address, "a/b", promised.as_str())
        .await
        .unwrap_err();
    assert!(
        matches!(error, towpath_oci::Error::Mismatch { .. }),
        "{error}"
    );
    use futures::StreamExt;
    let parts: Vec<_> = Box::pin(client.blob(&address, "a/b", &promised, 1000).await.unwrap())
        .collect()
        .await;
    assert!(parts.last().unwrap().is_err());
    let parts: Vec<_> = Box::pin(client.blob(&address, "a/b", &promised, 3).await.unwrap())
        .collect()
        .await;
    assert!(matches!(parts[0], Err(towpath_oci::Error::Limit(_))));
}
