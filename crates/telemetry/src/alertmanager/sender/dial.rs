//! Connections. The address is looked at here, after the name was resolved, so that no name leads
//! where no message may go.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use towpath_alerting::alertmanager::Fault;

use super::{later, refused};
use crate::scrape::fetch::trust;
use crate::scrape::reachable;
use crate::scrape::written::Tls;

/// Any connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) type Open = Box<dyn Stream>;

pub(super) struct Dial {
    allow_local: bool,
    /// Trust without a configuration of its own.
    usual: Mutex<Option<Arc<ClientConfig>>>,
}

impl Dial {
    pub(super) fn new(allow_local: bool) -> Self {
        Self {
            allow_local,
            usual: Mutex::default(),
        }
    }

    pub(super) async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| later(format!("look up {host}: {error}")))?;
        let mut last = later(format!("look up {host}: no address"));
        for address in found {
            if !self.allowed(address.ip()) {
                last = refused(format!("messages may not go to {}", address.ip()));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = later(format!("connect to {address}: {error}")),
            }
        }
        Err(last)
    }

    fn allowed(&self, address: IpAddr) -> bool {
        reachable(address) || (self.allow_local && address.to_canonical().is_loopback())
    }

    /// Makes a connection private.
    pub(super) async fn tls<S>(&self, stream: S, host: &str, config: &Value) -> Result<Open, Fault>
    where
        S: Stream + 'static,
    {
        let name = config["server_name"].as_str().filter(|n| !n.is_empty());
        let name = name.unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|e| refused(e.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(self.trust(config).await?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| later(format!("tls: {error}")))?;
        Ok(Box::new(stream))
    }

    async fn trust(&self, config: &Value) -> Result<Arc<ClientConfig>, Fault> {
        let plain = config.as_object().is_none_or(serde_json::Map::is_empty);
        let known = self.usual.lock().clone().filter(|_| plain);
        if let Some(known) = known {
            return Ok(known);
        }
        let tls: Tls = match plain {
            true => Tls::default(),
            false => serde_json::from_value(config.clone())
                .map_err(|error| refused(format!("tls_config: {error}")))?,
        };
        let made = tokio::task::spawn_blocking(move || trust(&tls, Path::new(""))).await;
        let made = made.map_err(|error| later(error.to_string()))?;
        // A file that is missing now may be there the next time.
        let made = Arc::new(made.map_err(|why| later(format!("tls_config: {why}")))?);
        if plain {
            *self.usual.lock() = Some(Arc::clone(&made));
        }
        Ok(made)
    }
}
