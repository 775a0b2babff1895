use async_trait::async_trait;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_registry::{Config, Registry, router};
use towpath_stdx::Secret;
use towpath_store::Blobs;

pub(crate) const ADMIN: &str = "admin-token";
pub(crate) const READER: &str = "reader-token";

/// Two fixed tokens and whatever was minted; the reader may only get in namespace `demo`.
#[derive(Default)]
pub(crate) struct Access {
    minted: Mutex<HashMap<String, Principal>>,
}

fn principal(name: &str) -> Principal {
    Principal {
        name: name.into(),
        groups: vec!["system:authenticated".into()],
        ..Principal::default()
    }
}

#[async_trait]
impl Authenticator for Access {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        let token = match credential {
            Credential::Bearer(token) => token,
            Credential::Basic { password, .. } => password,
        };
        match token.reveal_secret() {
            ADMIN => Ok(principal("admin")),
            READER => Ok(principal("reader")),
            other => self
                .minted
                .lock()
                .unwrap()
                .get(other)
                .cloned()
                .ok_or(AuthError::Rejected),
        }
    }

    fn mint(&self, principal: &Principal, _: Duration) -> Secret {
        let mut minted = self.minted.lock().unwrap();
        let token = format!("minted-{}", minted.len());
        minted.insert(token.clone(), principal.clone());
        Secret::from(token)
    }
}

impl Authorizer for Access {
    fn allowed(&self, principal: &Principal, action: &Action) -> bool {
        assert_eq!(
            (action.group.as_str(), action.resource.as_str()),
            ("towpath.dev", "images")
        );
        match principal.name.as_str() {
            "admin" => true,
            "reader" => action.namespace == "demo" && action.verb == "get",
            _ => false,
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Registry,
    pub(crate) http: reqwest::Client,
    task: tokio::task::JoinHandle<()>,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self::at(dir.path(), |_| {}).await;
        server._dir = Some(dir);
        server
    }

    pub(crate) async fn at(dir: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(dir.join("index"));
        config.pull_through = false;
        change(&mut config);
        let registry = Registry::open(config, Blobs::open(&dir.join("blobs")).unwrap()).unwrap();
        let access = Arc::new(Access::default());
        let router = router(registry.clone(), access.clone(), access);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = towpath_daemon::spawn("test-registry", async move {
            axum::serve(listener, router).await.unwrap()
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            address,
            registry,
            http,
            task,
            _dir: None,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_string()
        } else {
            format!("http://{}{path}", self.address)
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method.parse().unwrap(), self.url(path))
            .bearer_auth(ADMIN)
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = towpath_oci::Digest::of(bytes).to_string();
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self
            .request("POST", &path)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        digest
    }

    pub(crate) async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        layer: &[u8],
    ) -> (String, String) {
        let config = self.push_blob(repository, br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#).await;
        let digest = self.push_blob(repository, layer).await;
        let manifest = image(&config, &digest, layer.len(), "");
        let answer = self
            .request("PUT", &format!("/v2/{repository}/manifests/{tag}"))
            .header("content-type", towpath_oci::manifest::IMAGE)
            .body(manifest.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        (
            towpath_oci::Digest::of(manifest.as_bytes()).to_string(),
            manifest,
        )
    }
}

/// An image manifest with odd spacing and unknown fields, to be kept byte for byte.
pub(crate) fn image(config: &str, layer: &str, layer_bytes: usize, more: &str) -> String {
    format!(
        r#"{{  "schemaVersion":2, "mediaType":"{}",
  "config":{{"mediaType":"{}","digest":"{config}","size":78}},
  "layers":[{{"mediaType":"{}","digest":"{layer}","size":{layer_bytes},"x-unknown":1}}],"unknown":{{"b":1,"a":2}}{more}}}"#,
        towpath_oci::manifest::IMAGE,
        towpath_oci::manifest::CONFIG,
        towpath_oci::manifest::LAYER_GZIP,
    )
}
