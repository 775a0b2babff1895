//! Where a bucket is, and by which right it is used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig};
use towpath_stdx::{Secret, bounded};

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for an answer to one request.
const REQUEST: Duration = Duration::from_secs(60);
/// A request that failed is tried again for so long.
const RETRY: Duration = Duration::from_secs(8);
/// The longest file of credentials, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// By which right a bucket is used.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// What the environment says, as other programs of AWS understand it: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, or a token of a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`,
    /// `AWS_ROLE_ARN`), or that of a container, or else the machine's own role.
    Environment,
    /// A file as other programs of AWS read it, of which a section counts. It is read again
    /// whenever it is needed.
    File {
        /// Which file.
        path: PathBuf,
        /// Which section.
        profile: String,
    },
    /// These.
    Given {
        /// The id of the key.
        id: String,
        /// The key.
        secret: Secret,
    },
}

/// A bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketSettings {
    /// Its name.
    pub bucket: String,
    /// What all names in it begin with; may be empty.
    pub prefix: String,
    /// The region.
    pub region: String,
    /// The address of a server other than AWS, such as `https://s3.example.org`.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of requests instead of in the name of the host.
    pub path_style: bool,
    /// Whether the endpoint may be without TLS.
    pub allow_http: bool,
    /// By which right.
    pub keys: Keys,
}

/// What of the environment counts.
const VARIABLES: &[(&str, AmazonS3ConfigKey)] = &[
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

impl BucketSettings {
    /// Where it is, in a word.
    pub(super) fn place(&self) -> String {
        let at = self.endpoint.as_deref().unwrap_or("aws");
        format!("{at} {} {}", self.bucket, self.prefix)
    }

    pub(super) fn connect(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout(REQUEST)
            .with_allow_http(self.allow_http);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 4,
            retry_timeout: RETRY,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_allow_http(self.allow_http)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(self.endpoint_of(endpoint));
        }
        match &self.keys {
            Keys::Environment => {
                for (name, key) in VARIABLES {
                    if let Ok(value) = std::env::var(name) {
                        builder = builder.with_config(*key, value);
                    }
                }
            }
            Keys::File { path, profile } => {
                builder = builder.with_credentials(Arc::new(FromFile {
                    path: path.clone(),
                    profile: profile.clone(),
                }));
            }
            Keys::Given { id, secret } => {
                builder = builder
                    .with_access_key_id(id)
                    .with_secret_access_key(secret.reveal_secret());
            }
        }
        Ok(Arc::new(builder.build()?))
    }

    /// The client takes an endpoint as it is, so the bucket has to be in it where it is part of the
    /// name of the host.
    fn endpoint_of(&self, endpoint: &str) -> String {
        match endpoint.split_once("://") {
            Some((scheme, host)) if !self.path_style => {
                format!("{scheme}://{}.{host}", self.bucket)
            }
            _ => endpoint.to_owned(),
        }
    }
}

/// Credentials of a file.
#[derive(Debug)]
struct FromFile {
    path: PathBuf,
    profile: String,
}

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("read credentials {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "credentials {path} have no aws_access_key_id and aws_secret_access_key in section \
         [{profile}]"
    )]
    Missing { path: PathBuf, profile: String },
}

#[async_trait]
impl CredentialProvider for FromFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // A small file; the client asks for it before each request.
        let read = bounded::read_file(&self.path, MAX_FILE);
        let read = read.map_err(|source| FileError::Read {
            path: self.path.clone(),
            source: std::io::Error::other(source),
        });
        let parsed = read.and_then(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            section(&text, &self.profile).ok_or_else(|| FileError::Missing {
                path: self.path.clone(),
                profile: self.profile.clone(),
            })
        });
        match parsed {
            Ok(credential) => Ok(Arc::new(credential)),
            Err(why) => Err(object_store::Error::Generic {
                store: "S3",
                source: Box::new(why),
            }),
        }
    }
}

/// The credentials of a section.
fn section(text: &str, profile: &str) -> Option<AwsCredential> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential {
        key_id: id?,
        secret_key: secret?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_a_file_counts() {
        let text = "# note\n[other]\naws_access_key_id = a\n[default]\naws_access_key_id=k\n\
                    aws_secret_access_key = s=/+ \n\n[x]\naws_access_key_id=z\n";
        let found = section(text, "default").unwrap();
        assert_eq!(
            (found.key_id, found.secret_key, found.token),
            ("k".to_owned(), "s=/+".to_owned(), None)
        );
        assert!(section(text, "other").is_none());
        assert!(section(text, "absent").is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = BucketSettings {
            bucket: "b".to_owned(),
            prefix: String::new(),
            region: "r".to_owned(),
            endpoint: None,
            path_style: true,
            allow_http: false,
            keys: Keys::Given {
                id: "k".to_owned(),
                secret: "hidden".to_owned().into(),
            },
        };
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
