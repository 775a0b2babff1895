//! The server as the composition root sees it.

use crate::aggregate;
use crate::aggregation;
use crate::audit::Audit;
use crate::bootstrap;
use crate::components;
use crate::core::{Core, Settings, check_credential};
use crate::crd;
use crate::csr;
use crate::expire;
use crate::fairness;
use crate::front::{self, InProcess};
use crate::kinds::Kinds;
use crate::pki::{self, Pki, PkiError, Shown};
use crate::rbac::{Ask, Rbac};
use crate::sealed::{Keys, Sealed};
use crate::token::Tokens;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use towpath_daemon::{CancellationToken, Service};
use towpath_kit::traits::{
    Action, AuthError, Authenticator, Authorizer, Authors, Credential, NodePages, PodStreams,
    Principal, ResourceFigures,
};
use towpath_stdx::{Clock, Random, Secret, SystemClock, SystemRandom};
use towpath_store::{Options, Sqlite, Store};

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory: objects go to `objects/`, keys to `pki/` below it.
    pub data_dir: PathBuf,
    /// Addresses of the HTTPS listener that [`ApiServer::daemon_service`] starts.
    pub listen: Vec<SocketAddr>,
    /// Range of service addresses.
    pub service_cidr: (IpAddr, u8),
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// Further names and addresses for the server's certificate.
    pub names: Vec<String>,
    /// Events kept for watches and for states of the past.
    pub history_events: usize,
}

impl Config {
    /// Defaults over a data directory: 127.0.0.1:6443, services in 10.96.0.0/16.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 6443))],
            service_cidr: (IpAddr::V4(Ipv4Addr::new(10, 96, 0, 0)), 16),
            node_ports: (30000, 32767),
            names: Vec::new(),
            history_events: Options::default().ring_events,
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store did not open.
    #[error("open the object store")]
    Store(#[from] towpath_store::Error),
    /// Keys and certificates.
    #[error("set up the server's identity")]
    Pki(#[from] PkiError),
    /// The first objects could not be written.
    #[error("write the first objects: {0}")]
    Bootstrap(String),
    /// The audit policy cannot be used.
    #[error("read the audit policy {path}: {why}")]
    AuditPolicy {
        /// File.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Secrets could not be written anew.
    #[error("seal the secrets with a new key: {0}")]
    Rotate(String),
    /// The port is taken, or the address not there.
    #[error("listen on {address}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    core: Arc<Core>,
    config: Arc<Config>,
    cancel: CancellationToken,
    listening: Arc<RwLock<Vec<SocketAddr>>>,
    shown: Arc<parking_lot::Mutex<Vec<ShownAt>>>,
}

// A listener's address and its certificate.
type ShownAt = (IpAddr, Arc<Shown>);

/// How often it is looked whether certificates are due; a machine that slept must not miss it.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(6 * 3600);

impl ApiServer {
    /// Opens the store, makes keys and first objects; serves in-process callers from then on.
    pub async fn open(config: Config) -> Result<Self, Error> {
        Self::open_with(config, Arc::new(SystemClock), Arc::new(SystemRandom)).await
    }

    /// The same with another clock and randomness.
    pub async fn open_with(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let pki = Pki::open(&config.data_dir.join("pki"), &*clock, &*random)?;
        let directory = config.data_dir.join("objects");
        let audit = Audit::open(&config.data_dir, clock.clone(), random.clone());
        let unusable = |(path, why): (PathBuf, String)| Error::AuditPolicy {
            path: path.display().to_string(),
            why,
        };
        let audit = Arc::new(audit.map_err(unusable)?);
        let keys = Arc::new(Keys::open(
            config.data_dir.join("pki/secrets.key"),
            &*random,
        )?);
        let seals = keys.clone();
        let options = Options {
            ring_events: config.history_events,
            ..Options::default()
        };
        let open = move || {
            let backend = Sealed::new(Sqlite::open(&directory)?, seals);
            Store::with_backend(Box::new(backend), &directory, options)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let store = opened.map_err(|error| Error::Bootstrap(error.to_string()))??;
        let tokens = Tokens::new(&pki, clock.clone())?;
        let settings = Settings {
            service_cidr: config.service_cidr,
            node_ports: config.node_ports,
        };
        let core = Arc::new(Core {
            store,
            kinds: ArcSwap::from_pointee(Kinds::with(&BTreeMap::new(), &[])),
            served: tokio::sync::watch::Sender::new(()),
            definitions: parking_lot::Mutex::default(),
            rbac: Rbac::default(),
            tokens,
            pki,
            seals: keys,
            audit,
            requests: crate::requests::Requests::default(),
            clock,
            random,
            settings,
            streams: RwLock::default(),
            figures: RwLock::default(),
            node_pages: RwLock::default(),
            pages: crate::paging::Pages::default(),
            admission: crate::admission::Shared::default(),
            aggregation: aggregation::Shared::default(),
            fairness: fairness::Fairness::default(),
            closing: CancellationToken::new(),
            in_flight: Core::slots(),
        });
        crd::catch_up(&core);
        bootstrap::run(&core)
            .await
            .map_err(|failure| Error::Bootstrap(failure.message))?;
        let server = Self {
            core,
            config: Arc::new(config),
            cancel: CancellationToken::new(),
            listening: Arc::default(),
            shown: Arc::default(),
        };
        towpath_daemon::spawn(
            "event expiry",
            expire::run(server.core.clone(), server.cancel.clone()),
        );
        towpath_daemon::spawn(
            "aggregated roles",
            aggregate::run(server.core.clone(), server.cancel.clone()),
        );
        towpath_daemon::spawn(
            "API services",
            aggregation::run(server.core.clone(), server.cancel.clone()),
        );
        towpath_daemon::spawn(
            "priority and fairness",
            fairness::run(server.core.clone(), server.cancel.clone()),
        );
        towpath_daemon::spawn(
            "custom resource definitions",
            crd::run(server.core.clone(), server.cancel.clone()),
        );
        towpath_daemon::spawn("certificate renewal", renew(server.clone()));
        towpath_daemon::spawn(
            "certificate requests",
            csr::run(server.core.clone(), server.cancel.clone()),
        );
        Ok(server)
    }

    /// The API for one principal in this process.
    pub fn service(&self, principal: Principal) -> InProcess {
        InProcess::new(self.core.clone(), principal)
    }

    /// Checks credentials and mints tokens.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(Doors(self.core.clone()))
    }

    /// Decides by RBAC.
    pub fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::new(Doors(self.core.clone()))
    }

    /// Hands in who streams logs and runs programs in containers.
    pub fn set_pod_streams(&self, streams: Arc<dyn PodStreams>) {
        *self.core.streams.write() = Some(streams);
    }

    /// Who wrote last what.
    pub fn authors(&self) -> Arc<dyn Authors> {
        self.core.audit.authors.clone()
    }

    /// Hands in who knows what pods use; from then on `metrics.k8s.io` is served.
    pub fn set_figures(&self, figures: Arc<dyn ResourceFigures>) {
        *self.core.figures.write() = Some(figures);
        crd::rebuild(&self.core);
        self.core.aggregation.changed.notify_one();
    }

    /// Hands in what the node shows of itself; from then on `nodes/<name>/proxy` is served.
    pub fn set_node_pages(&self, pages: Arc<dyn NodePages>) {
        *self.core.node_pages.write() = Some(pages);
    }

    /// Token of the administrator, made at first start (`pki/admin.token`).
    pub fn admin_token(&self) -> Secret {
        self.core.pki.admin_token.clone()
    }

    /// Seals all secrets on disk with a new key; returns its id.
    pub async fn rotate_secrets_key(&self) -> Result<String, Error> {
        crate::keys::rotate_secrets(&self.core)
            .await
            .map_err(|failure| Error::Rotate(failure.message))
    }

    /// Signs tokens with a new key from now on; tokens of earlier keys stay good until they end.
    pub fn rotate_token_key(&self) -> Result<(), PkiError> {
        self.core.tokens.rotate(&self.core.pki)
    }

    /// Certificate of the cluster's authority as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.core.pki.ca_pem
    }

    /// A kubeconfig with the administrator's token for a server URL (`https://127.0.0.1:6443`).
    pub fn kubeconfig(&self, server_url: &str) -> String {
        let ca = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &self.core.pki.ca_pem,
        );
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: towpath\n  cluster:\n    server: {server_url}\n    certificate-authority-data: {ca}\ncontexts:\n- name: towpath\n  context:\n    cluster: towpath\n    user: admin\ncurrent-context: towpath\nusers:\n- name: admin\n  user:\n    token: {}\n",
            self.core.pki.admin_token.reveal_secret()
        )
    }

    /// A client certificate and key (PEM) for a user in a group.
    pub fn client_certificate(
        &self,
        user: &str,
        group: &str,
    ) -> Result<(String, Secret), PkiError> {
        self.core
            .pki
            .client_certificate(user, group, &*self.core.clock)
    }

    /// Binds a further HTTPS address and serves it until [`stop`](Self::stop); returns the
    /// address with the port that was bound.
    pub async fn add_listener(&self, address: SocketAddr) -> Result<SocketAddr, Error> {
        let fail = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let names = self.names(bound.ip());
        let (pki, clock) = (&self.core.pki, &*self.core.clock);
        let shown = Shown::new(pki.server_certificate(&names, clock)?);
        let tls = pki.server_config(shown.clone())?;
        self.shown.lock().push((bound.ip(), shown));
        towpath_daemon::spawn(
            format!("apiserver {bound}"),
            front::run(self.core.clone(), listener, tls, self.cancel.child_token()),
        );
        self.listening.write().push(bound);
        Ok(bound)
    }

    /// Makes new certificates for all listeners; connections that are open keep theirs.
    pub fn rotate_certificates(&self) -> Result<(), PkiError> {
        for (address, shown) in self.shown.lock().iter() {
            let names = self.names(*address);
            let next = self
                .core
                .pki
                .server_certificate(&names, &*self.core.clock)?;
            shown.replace(next);
        }
        Ok(())
    }

    /// Addresses that are served.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.read().clone()
    }

    fn names(&self, own: IpAddr) -> Vec<String> {
        let mut names: Vec<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "127.0.0.1",
            "::1",
        ]
        .map(str::to_string)
        .to_vec();
        if let (IpAddr::V4(network), _) = self.config.service_cidr {
            names.push(Ipv4Addr::from(u32::from(network) + 1).to_string());
        }
        // What an earlier version gave the service stays good.
        let state = self.core.store.snapshot();
        let service = state.get("services", &towpath_store::key("default", "kubernetes"));
        let address = service.and_then(|rec| rec.meta.field("spec.clusterIP"));
        names.extend(
            address
                .filter(|a| a.parse::<IpAddr>().is_ok())
                .map(str::to_string),
        );
        if !own.is_unspecified() {
            names.push(own.to_string());
        }
        names.extend(self.config.names.iter().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// The HTTPS listener as a service of the process, named `apiserver`; it closes the store
    /// when it ends, so it must stop last.
    pub fn daemon_service(&self) -> Service {
        let server = self.clone();
        Service::new("apiserver", &[], move |mut context| async move {
            for address in server.config.listen.clone() {
                server
                    .add_listener(address)
                    .await
                    .map_err(|error| chain(&error))?;
            }
            context.ready();
            context.cancel.cancelled().await;
            server.stop().await;
            Ok(())
        })
    }

    /// Ends listeners and watches and closes the store.
    pub async fn stop(&self) {
        self.core.closing.cancel();
        self.cancel.cancel();
        self.core.audit.flush().await;
        let store = self.core.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

// Replaces the certificates in time, until the server stops.
async fn renew(server: ApiServer) {
    let now = || server.core.clock.since_epoch();
    let mut made = now();
    loop {
        tokio::select! {
            () = server.cancel.cancelled() => return,
            () = tokio::time::sleep(CERTIFICATE_CHECK) => {}
        }
        if now().saturating_sub(made) < pki::RENEW_AFTER {
            continue;
        }
        match server.rotate_certificates() {
            Ok(()) => {
                made = now();
                tracing::info!("the server's certificates are new");
            }
            Err(error) => tracing::error!(error = chain(&error), "certificates not renewed"),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

struct Doors(Arc<Core>);

#[async_trait]
impl Authenticator for Doors {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        check_credential(&self.0, credential).ok_or(AuthError::Rejected)
    }

    fn mint(&self, principal: &Principal, ttl: Duration) -> Secret {
        self.0.tokens.mint(principal, ttl)
    }
}

impl Authorizer for Doors {
    fn allowed(&self, principal: &Principal, action: &Action) -> bool {
        let ask = Ask {
            verb: &action.verb,
            group: &action.group,
            resource: &action.resource,
            subresource: &action.subresource,
            namespace: &action.namespace,
            name: &action.name,
            path: "",
        };
        let state = self.0.store.snapshot();
        let allowed = self.0.rbac.allowed(&state, principal, &ask);
        if !allowed && components::is_component(principal) {
            crate::core::denied_component(principal, &ask);
        }
        allowed
    }
}
