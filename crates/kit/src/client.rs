//! Clients: the same `kube::Client` whether the API server is in this process or far away.

use bytes::Bytes;
use http_body::Body as HttpBody;
use kube::Client;
use std::path::Path;
use tower::Service;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read or names nothing usable.
    #[error("read kubeconfig {path}")]
    Kubeconfig {
        /// File.
        path: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A client over a tower service, e.g. the embedded API server: no socket, no TLS.
pub fn in_process<S, B>(service: S) -> Client
where
    S: Service<http::Request<kube::client::Body>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Client::new(service, "default")
}

/// A client for the current context of a kubeconfig file.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, Error> {
    let wrap = |source: Box<dyn std::error::Error + Send + Sync>| Error::Kubeconfig {
        path: path.display().to_string(),
        source,
    };
    let file = kube::config::Kubeconfig::read_from(path).map_err(|e| wrap(e.into()))?;
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(|e| wrap(e.into()))?;
    Client::try_from(config).map_err(|e| wrap(e.into()))
}
