//! The cluster's own certificate authority, the server's certificate, client certificates and
//! the key that signs tokens, kept under `<data>/pki`.

use crate::keyring::Keyring;
use crate::x509::{Request, Uses};
use arc_swap::ArcSwap;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use towpath_stdx::{Clock, Random, Secret};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("keep {path}")]
    File {
        /// Which.
        path: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A key or certificate cannot be made or read.
    #[error("make {what}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
    /// A key that is kept cannot be used.
    #[error("use {0}")]
    Key(&'static str),
    /// TLS refuses what we made.
    #[error("set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

const DAY_SECONDS: u64 = 24 * 3600;
const CLIENT_DAYS: u64 = 365;
/// Life of the server's certificate.
const SERVER_DAYS: u64 = 365;
/// It is replaced when a third of its life is left.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(SERVER_DAYS * 2 / 3 * DAY_SECONDS);

/// The certificate that new connections are shown; it can be replaced while others go on.
#[derive(Debug)]
pub(crate) struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    pub(crate) fn new(first: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(first)))
    }

    pub(crate) fn replace(&self, next: CertifiedKey) {
        self.0.store(Arc::new(next));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

// The key that signs tokens.
const TOKEN_KEY: &str = "token.key";

/// Everything under `<data>/pki`.
pub(crate) struct Pki {
    pub(crate) ca_pem: String,
    ca_key: String,
    /// The authority of nothing but the front proxy's certificate.
    pub(crate) front_proxy_ca_pem: String,
    front_proxy_ca_key: String,
    directory: PathBuf,
    pub(crate) admin_token: Secret,
}

/// Public halves of keys that signed tokens are kept until the longest token has ended.
const EARLIER_KEY_SECONDS: u64 = 366 * 24 * 3600;

fn file(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.display().to_string();
    move |source| PkiError::File { path, source }
}

fn made(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { what, source }
}

// Reads a file, or makes and keeps its content, readable by its owner alone.
fn kept(path: &Path, make: impl FnOnce() -> Result<String, PkiError>) -> Result<String, PkiError> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.is_empty() => return Ok(text),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(path)(error)),
        _ => {}
    }
    let text = make()?;
    write_private(path, text.as_bytes()).map_err(file(path))?;
    Ok(text)
}

pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&part, path)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(parent)?.sync_all()
}

fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params
}

// A certificate that signs others, as PEM.
fn authority(name: &str, key: &str, clock: &dyn Clock) -> Result<String, PkiError> {
    let key = KeyPair::from_pem(key).map_err(made("the authority's key"))?;
    let mut params = named(name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = date_time_ymd(years(clock) - 1, 1, 1);
    params.not_after = date_time_ymd(years(clock) + 20, 1, 1);
    let certificate = params
        .self_signed(&key)
        .map_err(made("the authority's certificate"))?;
    Ok(certificate.pem())
}

// Certificates begin in the past, so that a clock that was set back does not refuse them.
fn years(clock: &dyn Clock) -> i32 {
    clock.rfc3339()[..4].parse().unwrap_or(2026)
}

impl Pki {
    /// Reads or makes the authority, the token key and the admin token.
    pub(crate) fn open(
        directory: &Path,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, PkiError> {
        std::fs::create_dir_all(directory).map_err(file(directory))?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(file(directory))?;
        let new_key = || {
            KeyPair::generate()
                .map(|key| key.serialize_pem())
                .map_err(made("a key"))
        };
        let ca_key = kept(&directory.join("ca.key"), new_key)?;
        let ca_pem = kept(&directory.join("ca.crt"), || {
            authority("towpath", &ca_key, clock)
        })?;
        let front_proxy_ca_key = kept(&directory.join("front-proxy-ca.key"), new_key)?;
        let front_proxy_ca_pem = kept(&directory.join("front-proxy-ca.crt"), || {
            authority("towpath-front-proxy", &front_proxy_ca_key, clock)
        })?;
        kept(&directory.join(TOKEN_KEY), new_key)?;
        let admin_token = kept(&directory.join("admin.token"), || {
            Ok(towpath_stdx::id::token(random))
        })?;
        let admin_token = Secret::from(admin_token.trim().to_string());
        Ok(Self {
            ca_pem,
            ca_key,
            front_proxy_ca_pem,
            front_proxy_ca_key,
            directory: directory.to_path_buf(),
            admin_token,
        })
    }

    /// The keys of tokens as they are kept: the one that signs and those before it.
    pub(crate) fn token_keys(&self, clock: &dyn Clock) -> Result<Keyring, PkiError> {
        let path = self.directory.join(TOKEN_KEY);
        let signing = Secret::from(std::fs::read_to_string(&path).map_err(file(&path))?);
        let now = clock.since_epoch().as_secs();
        let mut earlier = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(file(&self.directory))? {
            let path = entry.map_err(file(&self.directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(since) = name
                .strip_prefix("token-")
                .and_then(|rest| rest.strip_suffix(".pub"))
            else {
                continue;
            };
            let Ok(since) = since.parse::<u64>() else {
                continue;
            };
            if since + EARLIER_KEY_SECONDS < now {
                std::fs::remove_file(&path).map_err(file(&path))?;
                continue;
            }
            let pem = std::fs::read_to_string(&path).map_err(file(&path))?;
            earlier.push((since, pem));
        }
        // The latest first: it has signed most of what is still about.
        earlier.sort();
        let earlier: Vec<String> = earlier.into_iter().rev().map(|(_, pem)| pem).collect();
        Keyring::read(&signing, &earlier)
    }

    /// Makes a new key for tokens; the public half of the present one is kept, so that what it
    /// signed stays good.
    pub(crate) fn rotate_token_key(&self, clock: &dyn Clock) -> Result<Keyring, PkiError> {
        let path = self.directory.join(TOKEN_KEY);
        let present = std::fs::read_to_string(&path).map_err(file(&path))?;
        let public = KeyPair::from_pem(&present)
            .map_err(made("the token key"))?
            .public_key_pem();
        let mut since = clock.since_epoch().as_secs();
        let earlier = |since: u64| self.directory.join(format!("token-{since}.pub"));
        while earlier(since).exists() {
            since += 1;
        }
        let kept = earlier(since);
        write_private(&kept, public.as_bytes()).map_err(file(&kept))?;
        let fresh = KeyPair::generate().map_err(made("a key"))?;
        write_private(&path, fresh.serialize_pem().as_bytes()).map_err(file(&path))?;
        self.token_keys(clock)
    }

    fn issue(
        &self,
        params: CertificateParams,
        clock: &dyn Clock,
        days: u64,
    ) -> Result<(String, Vec<u8>, KeyPair), PkiError> {
        Self::issue_by((&self.ca_pem, &self.ca_key), params, clock, days)
    }

    fn issue_by(
        (ca, key): (&str, &str),
        mut params: CertificateParams,
        clock: &dyn Clock,
        days: u64,
    ) -> Result<(String, Vec<u8>, KeyPair), PkiError> {
        let ca_key = KeyPair::from_pem(key).map_err(made("the authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(ca, ca_key).map_err(made("the authority"))?;
        params.not_before = date_time_ymd(years(clock) - 1, 1, 1);
        let end = clock.since_epoch() + Duration::from_secs(days * DAY_SECONDS);
        params.not_after = date_time_ymd(1970, 1, 1) + end;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(made("a key"))?;
        let certificate = params
            .signed_by(&key, &issuer)
            .map_err(made("a certificate"))?;
        Ok((certificate.pem(), certificate.der().to_vec(), key))
    }

    /// A fresh certificate of the server for the given names and addresses.
    pub(crate) fn server_certificate(
        &self,
        names: &[String],
        clock: &dyn Clock,
    ) -> Result<CertifiedKey, PkiError> {
        let mut params =
            CertificateParams::new(names.to_vec()).map_err(made("the server's certificate"))?;
        params.distinguished_name = named("towpath-apiserver", None).distinguished_name;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (_, der, key) = self.issue(params, clock, SERVER_DAYS)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| PkiError::Tls(error.into()))?;
        Ok(CertifiedKey::new(vec![CertificateDer::from(der)], key))
    }

    /// A TLS configuration that shows what `shown` holds at each handshake; client certificates
    /// of this authority are checked where offered.
    pub(crate) fn server_config(&self, shown: Arc<Shown>) -> Result<ServerConfig, PkiError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = |error: rustls::Error| PkiError::Tls(error.into());
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from(pem_der(&self.ca_pem)))
            .map_err(tls)?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(|error| PkiError::Tls(error.into()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// A certificate (DER) for what a request asks.
    pub(crate) fn sign(
        &self,
        request: &Request,
        uses: Uses,
        times: (u64, u64),
        serial: [u8; 16],
    ) -> Result<Vec<u8>, PkiError> {
        let key = KeyPair::from_pem(&self.ca_key).map_err(made("the authority's key"))?;
        request.sign(&pem_der(&self.ca_pem), &key, uses, times, serial)
    }

    /// The certificate by which aggregated servers know us, and its key.
    pub(crate) fn front_proxy_client(
        &self,
        name: &str,
        clock: &dyn Clock,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), PkiError> {
        let mut params = named(name, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let by = (
            self.front_proxy_ca_pem.as_str(),
            self.front_proxy_ca_key.as_str(),
        );
        let (_, der, key) = Self::issue_by(by, params, clock, CLIENT_DAYS)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((CertificateDer::from(der), key))
    }

    /// A client certificate: common name = user, organization = group. Returns certificate and
    /// key as PEM.
    pub(crate) fn client_certificate(
        &self,
        user: &str,
        group: &str,
        clock: &dyn Clock,
    ) -> Result<(String, Secret), PkiError> {
        let mut params = named(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (pem, _, key) = self.issue(params, clock, CLIENT_DAYS)?;
        Ok((pem, Secret::from(key.serialize_pem())))
    }
}

/// The bytes of the first block of a PEM text.
fn pem_der(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    towpath_stdx::base64_decode(&body).unwrap_or_default()
}

/// User and groups of a client certificate that TLS has verified.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<(String, Vec<String>)> {
    let names = crate::der::subject(certificate)?;
    let find = |oid: &[u8]| {
        names
            .iter()
            .filter(|(o, _)| o == oid)
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    let user = find(crate::der::COMMON_NAME).into_iter().next()?;
    Some((user, find(crate::der::ORGANIZATION)))
}
