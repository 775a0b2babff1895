use crate::harness::Lab;
use async_trait::async_trait;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_stdx::Secret;

struct Access;

#[async_trait]
impl Authenticator for Access {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        match credential {
            Credential::Bearer(token) if token.reveal_secret() == "good" => {
                Ok(Principal::component("job"))
            }
            _ => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from(String::new())
    }
}

impl Authorizer for Access {
    fn allowed(&self, _: &Principal, action: &Action) -> bool {
        action.namespace == "demo"
    }
}

async fn post(lab: &Lab, query: &str, token: &str, body: Vec<u8>) -> (u16, Vec<serde_json::Value>) {
    let router = towpath_build::router(lab.engine.clone(), Arc::new(Access), Arc::new(Access));
    let request = Request::post(format!("/api/v1/builds?{query}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let lines = String::from_utf8(bytes.to_vec()).unwrap();
    (
        status,
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn context(dockerfile: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "Dockerfile", dockerfile.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_goes_in_and_a_digest_comes_out() {
    let lab = Lab::with(|config| config.context_bytes = 1 << 20).await;
    let good = context("FROM scratch\nCOPY Dockerfile /\n");
    let query =
        "repository=demo/app&tag=demo/app:1&tag=demo/app:2&epoch=1700000000&label=a=b&arg=X=1";
    let (status, lines) = post(&lab, query, "good", good.clone()).await;
    assert_eq!(status, 200, "{lines:?}");
    let end = lines.last().unwrap();
    assert!(
        end["digest"].as_str().unwrap().starts_with("sha256:"),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line["log"]
            .as_str()
            .is_some_and(|l| l.contains("[2/2] COPY"))),
        "{lines:?}"
    );
    let (_, lines) = post(&lab, query, "good", context("FROM scratch\nBAD\n")).await;
    let end = lines.last().unwrap();
    assert_eq!(
        (
            end["findings"][0]["line"].as_u64(),
            end["findings"][0]["file"].as_str()
        ),
        (Some(2), Some("Dockerfile"))
    );
    for (query, token, body, wanted) in [
        (query, "bad", good.clone(), 401),
        (
            "repository=other/app&tag=other/app:1",
            "good",
            good.clone(),
            403,
        ),
        (
            "repository=demo/app&tag=other/app:1",
            "good",
            good.clone(),
            403,
        ),
        ("repository=demo/app&tag=../x", "good", good.clone(), 400),
        (
            "repository=demo/app&dockerfile=../Dockerfile",
            "good",
            good.clone(),
            400,
        ),
        ("repository=demo/app&nonsense=1", "good", good.clone(), 400),
        ("tag=demo/app:1", "good", good.clone(), 400),
        (query, "good", b"no archive".repeat(100), 400),
        (query, "good", context(&"#".repeat(2 << 20)), 413),
    ] {
        let (status, lines) = post(&lab, query, token, body).await;
        assert_eq!(status, wanted, "{query}: {lines:?}");
        assert!(lines[0]["code"].is_string());
    }
}
