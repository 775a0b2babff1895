//! Pulling from another registry.
//!
//! A credential belongs to one registry host. It goes to that host and to the token realm that
//! belongs to it, over HTTPS or to this machine, and nowhere else: a redirect drops it, and a
//! realm on a foreign host is asked without it. Bytes are digested while they stream.

use crate::Error;
use crate::digest::{Digest, Hasher};
use crate::manifest::{self, MANIFEST_BYTES};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use reqwest::{Response, Url};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use towpath_stdx::Secret;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;
const TOKENS: usize = 256;
const ERROR_BYTES: usize = 4 << 10;
const TOKEN_BYTES: usize = 64 << 10;

/// A user and password (or token) for one registry.
#[derive(Clone, Debug)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// A client of other registries. Share one: it keeps connections and tokens.
pub struct Client {
    http: reqwest::Client,
    logins: HashMap<String, Login>,
    // By host and repository, as realms hand them out for one scope.
    tokens: Mutex<HashMap<(String, String), Secret>>,
}

/// A manifest as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its bytes.
    pub bytes: Bytes,
    /// Content type without parameters.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
}

impl Client {
    /// A client with credentials by registry host.
    pub fn new(logins: HashMap<String, Login>) -> Result<Self, Error> {
        // Fails only where the process has chosen one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .user_agent(concat!("towpath/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Unreachable {
                url: "any registry".into(),
                cause: words(&error),
            })?;
        Ok(Self {
            http,
            logins,
            tokens: Mutex::default(),
        })
    }

    /// A manifest by tag or digest; a digest is checked.
    pub async fn manifest(
        &self,
        host: &str,
        repository: &str,
        reference: &str,
    ) -> Result<Received, Error> {
        let url = url(host, &format!("/v2/{repository}/manifests/{reference}"))?;
        let response = self.get(host, repository, url, true).await?;
        let media_type = content_type(response.headers());
        let bytes = body(response, MANIFEST_BYTES).await?;
        let digest = match reference.parse::<Digest>() {
            Ok(expected) => {
                let mut hasher = Hasher::new(expected.algorithm());
                hasher.update(&bytes);
                check(&expected, hasher.finish())?
            }
            Err(_) => Digest::of(&bytes),
        };
        Ok(Received {
            bytes,
            media_type,
            digest,
        })
    }

    /// A blob as a stream that fails at its end where the digest or size is not as promised.
    pub async fn blob(
        &self,
        host: &str,
        repository: &str,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let url = url(host, &format!("/v2/{repository}/blobs/{digest}"))?;
        let shown = url.to_string();
        let response = self.get(host, repository, url, false).await?;
        let (expected, hasher) = (digest.clone(), Hasher::new(digest.algorithm()));
        let stream = response.bytes_stream();
        Ok(futures::stream::unfold(
            Some((stream, hasher, 0u64)),
            move |state| {
                let (expected, shown) = (expected.clone(), shown.clone());
                async move {
                    let (mut stream, mut hasher, mut seen) = state?;
                    match stream.next().await {
                        Some(Ok(bytes)) => {
                            seen += bytes.len() as u64;
                            if seen > size_bytes {
                                return Some((
                                    Err(Error::Limit(format!(
                                        "{size_bytes} bytes promised for {expected}"
                                    ))),
                                    None,
                                ));
                            }
                            hasher.update(&bytes);
                            Some((Ok(bytes), Some((stream, hasher, seen))))
                        }
                        Some(Err(error)) => Some((
                            Err(Error::Unreachable {
                                url: shown,
                                cause: words(&error),
                            }),
                            None,
                        )),
                        None => match check(&expected, hasher.finish()) {
                            Ok(_) => None,
                            Err(error) => Some((Err(error), None)),
                        },
                    }
                }
            },
        ))
    }

    async fn get(
        &self,
        host: &str,
        repository: &str,
        url: Url,
        accept_manifests: bool,
    ) -> Result<Response, Error> {
        let key = (host.to_string(), repository.to_string());
        let mut token = self
            .tokens
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .get(&key)
            .cloned();
        for attempt in 0..2 {
            let response = self
                .follow(url.clone(), token.as_ref(), accept_manifests)
                .await?;
            if response.status() == StatusCode::UNAUTHORIZED && attempt == 0 {
                token = self.answer(host, repository, &response).await?;
                if let Some(token) = &token {
                    let mut tokens = self.tokens.lock().unwrap_or_else(|e| e.into_inner());
                    if tokens.len() >= TOKENS {
                        tokens.clear();
                    }
                    tokens.insert(key.clone(), token.clone());
                    continue;
                }
            }
            if response.status().is_success() {
                return Ok(response);
            }
            let (url, status) = (response.url().to_string(), response.status().as_u16());
            let text = body(response, ERROR_BYTES).await.unwrap_or_default();
            return Err(Error::Refused {
                url,
                status,
                message: String::from_utf8_lossy(&text).trim().to_string(),
            });
        }
        unreachable!("the second attempt returns")
    }

    async fn follow(
        &self,
        mut url: Url,
        authorization: Option<&Secret>,
        manifests: bool,
    ) -> Result<Response, Error> {
        let first = url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.http.get(url.clone());
            if manifests {
                let types = [
                    manifest::IMAGE,
                    manifest::INDEX,
                    manifest::DOCKER_IMAGE,
                    manifest::DOCKER_LIST,
                ];
                request = request.header(ACCEPT, types.join(", "));
            }
            if let Some(value) = authorization.filter(|_| same_origin(&first, &url)) {
                request = request.header(AUTHORIZATION, value.reveal_secret());
            }
            let response = request
                .send()
                .await
                .map_err(|error| unreachable_error(&url, &error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|v| v.to_str().ok())
                .and_then(|v| url.join(v).ok());
            let refused = |message: &str| Error::Refused {
                url: url.to_string(),
                status: response.status().as_u16(),
                message: message.into(),
            };
            let target = target.ok_or_else(|| refused("redirect without a usable location"))?;
            if url.scheme() == "https" && target.scheme() != "https" {
                return Err(refused("redirect away from HTTPS"));
            }
            url = target;
        }
        Err(Error::Refused {
            url: first.to_string(),
            status: 310,
            message: "too many redirects".into(),
        })
    }

    // The value of `Authorization` that answers a challenge, or none.
    async fn answer(
        &self,
        host: &str,
        repository: &str,
        response: &Response,
    ) -> Result<Option<Secret>, Error> {
        let login = self.logins.get(host);
        for value in response.headers().get_all(WWW_AUTHENTICATE) {
            let Some(challenge) = value.to_str().ok().and_then(Challenge::parse) else {
                continue;
            };
            match challenge {
                Challenge::Basic => {
                    if let Some(login) = login {
                        return Ok(Some(basic(login)));
                    }
                }
                Challenge::Bearer { realm, service } => {
                    return self
                        .token(host, repository, &realm, service.as_deref(), login)
                        .await
                        .map(Some);
                }
            }
        }
        Ok(None)
    }

    async fn token(
        &self,
        host: &str,
        repository: &str,
        realm: &str,
        service: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Secret, Error> {
        let refused = |message: &str| Error::Refused {
            url: realm.to_string(),
            status: 401,
            message: message.into(),
        };
        let mut url = Url::parse(realm).map_err(|_| refused("the token realm is not a URL"))?;
        let own = url
            .host_str()
            .is_some_and(|realm_host| is_realm_of(host, realm_host, url.port()));
        if url.scheme() != "https" && !(own && is_local(host)) {
            return Err(refused("the token realm is not HTTPS"));
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &format!("repository:{repository}:pull"));
        }
        let mut request = self.http.get(url.clone()).timeout(READ_LIMIT);
        if let Some(login) = login.filter(|_| own) {
            request = request.header(AUTHORIZATION, basic(login).reveal_secret());
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable_error(&url, &error))?;
        if !response.status().is_success() {
            return Err(refused(&format!(
                "the token realm answered {}",
                response.status()
            )));
        }
        let bytes = body(response, TOKEN_BYTES).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&bytes).map_err(|_| refused("the token answer is malformed"))?;
        let token = answer
            .token
            .or(answer.access_token)
            .ok_or_else(|| refused("the token answer holds no token"))?;
        Ok(Secret::from(format!("Bearer {token}")))
    }
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest.trim_start();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_string()),
                "service" => service = Some(value.to_string()),
                _ => {}
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
        })
    }
}

// Whether a realm belongs to a registry: the same host and port, or a known pair.
fn is_realm_of(host: &str, realm_host: &str, realm_port: Option<u16>) -> bool {
    let realm = match realm_port {
        Some(port) => format!("{realm_host}:{port}"),
        None => realm_host.to_string(),
    };
    realm == host || (host == "registry-1.docker.io" && realm == "auth.docker.io")
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || name
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn url(host: &str, path: &str) -> Result<Url, Error> {
    let scheme = if is_local(host) { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{host}{path}"))
        .map_err(|_| Error::Reference(host.into(), "the host is malformed"))
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

fn basic(login: &Login) -> Secret {
    let plain = format!("{}:{}", login.user, login.password.reveal_secret());
    Secret::from(format!("Basic {}", base64(plain.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |group, (i, b)| group | u32::from(*b) << (16 - 8 * i));
        for index in 0..4 {
            let symbol = ALPHABET[(group >> (18 - 6 * index)) as usize & 63];
            out.push(if index <= chunk.len() {
                symbol as char
            } else {
                '='
            });
        }
    }
    out
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_string()
}

async fn body(response: Response, limit_bytes: usize) -> Result<Bytes, Error> {
    let url = response.url().to_string();
    let mut stream = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| Error::Unreachable {
            url: url.clone(),
            cause: words(&error),
        })?;
        if all.len() + part.len() > limit_bytes {
            return Err(Error::Limit(format!("{limit_bytes} bytes from {url}")));
        }
        all.extend_from_slice(&part);
    }
    Ok(all.into())
}

fn check(expected: &Digest, actual: Digest) -> Result<Digest, Error> {
    if *expected == actual {
        return Ok(actual);
    }
    Err(Error::Mismatch {
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

fn unreachable_error(url: &Url, error: &reqwest::Error) -> Error {
    Error::Unreachable {
        url: url.to_string(),
        cause: words(error),
    }
}

// The whole chain: reqwest's own message only says that sending failed.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a,b""#;
        let Some(Challenge::Bearer { realm, service }) = Challenge::parse(text) else {
            panic!("not read")
        };
        assert_eq!(
            (realm.as_str(), service.as_deref()),
            ("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(Challenge::parse("Basic realm=x"), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Bearer service=x"), None);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn a_realm_belongs_to_its_registry_only() {
        assert!(is_realm_of("ghcr.io", "ghcr.io", None));
        assert!(is_realm_of("registry-1.docker.io", "auth.docker.io", None));
        assert!(!is_realm_of("ghcr.io", "evil.example", None));
        assert!(!is_realm_of("ghcr.io", "ghcr.io", Some(444)));
        assert!(!is_realm_of("evil.example", "auth.docker.io", None));
    }

    #[test]
    fn base64_pads() {
        assert_eq!(
            (
                base64(b"a:b").as_str(),
                base64(b"ab").as_str(),
                base64(b"a").as_str()
            ),
            ("YTpi", "YWI=", "YQ==")
        );
    }
}
