//! How the command line reaches the server: the one of the data directory, or any named by
//! `TOWPATH_SERVER` and `TOWPATH_TOKEN`.

use crate::config::Config;
use crate::exit::{Exit, Problem};
use crate::state::ServerState;
use kube::Client;
use std::time::Duration;
use towpath_stdx::Secret;

/// A reachable server.
pub struct Connection {
    /// Kubernetes client through the server's own port.
    pub client: Client,
    /// `http://host:port`.
    pub url: String,
    token: Secret,
    http: reqwest::Client,
}

impl Connection {
    /// Connects to the server of this data directory.
    pub async fn open(config: &Config) -> Result<Self, Problem> {
        let (url, token) = match (
            std::env::var("TOWPATH_SERVER"),
            std::env::var("TOWPATH_TOKEN"),
        ) {
            (Ok(url), Ok(token)) => (url, Secret::from(token)),
            _ => local(config)?,
        };
        let url = url.trim_end_matches('/').to_string();
        let uri = format!("{url}/k8s").parse().map_err(|e| {
            Problem::new(
                Exit::Failed,
                "bad-address",
                format!("{url} is no address: {e}"),
            )
        })?;
        let mut kube_config = kube::Config::new(uri);
        kube_config.auth_info.token = Some(token.reveal_secret().to_string().into());
        let client = Client::try_from(kube_config)?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(|e| Problem::new(Exit::Unreachable, "client", e.to_string()))?;
        Ok(Self {
            client,
            url,
            token,
            http,
        })
    }

    /// A request to the server's own API, authenticated.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.token.reveal_secret())
    }

    /// The token, e.g. to hand to git.
    pub fn token(&self) -> &Secret {
        &self.token
    }
}

/// File that holds the administrator's token.
pub fn token_file(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("pki/admin.token")
}

/// The administrator's token of this data directory.
pub fn read_token(config: &Config) -> Result<Secret, Problem> {
    let path = token_file(config);
    let bytes = towpath_stdx::bounded::read_file(&path, 4096).map_err(|error| {
        Problem::new(Exit::Denied, "no-token", "no token for the server")
            .why(format!("read {}: {error}", path.display()))
            .next("set TOWPATH_SERVER and TOWPATH_TOKEN, or run as root on the server's machine")
    })?;
    Ok(Secret::from(
        String::from_utf8_lossy(&bytes).trim().to_string(),
    ))
}

fn local(config: &Config) -> Result<(String, Secret), Problem> {
    let state = ServerState::running(&config.data_dir).ok_or_else(|| {
        Problem::new(
            Exit::Unreachable,
            "server-down",
            "no server is running here",
        )
        .why(format!(
            "{} names no running process",
            config.data_dir.join("server.json").display()
        ))
        .next("towpath up")
    })?;
    Ok((state.url, read_token(config)?))
}
