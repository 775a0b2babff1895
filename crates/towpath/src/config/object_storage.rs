//! Settings of the bucket in which segments of telemetry are kept beside the local disk.

use super::Error;
use super::telemetry::{bytes, duration, refuse};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use towpath_signals::objects::{BucketSettings, Keys};

/// A bucket of S3, or of a server that speaks as S3 does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ObjectStorage {
    /// Name of the bucket.
    pub bucket: String,
    /// What all names in it begin with; no two servers have the same.
    pub prefix: String,
    /// The region.
    pub region: String,
    /// Address of a server other than AWS, e.g. `https://s3.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of requests; where absent so with an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Whether the endpoint may be without TLS.
    pub allow_http: bool,
    /// File with the access key, as other programs of AWS read it; where absent the environment
    /// says, or a web identity, or the machine's role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Section of that file.
    pub profile: String,
    /// What local copies of each signal's segments may take on disk, as a quantity: beyond it
    /// those that are in the bucket go, the oldest first.
    pub local: String,
    /// What of the bucket that was read lately is kept in memory, as a quantity.
    pub memory: String,
    /// How long what counts no longer stays in the bucket, e.g. `1h`.
    pub grace: String,
    /// Whether a server with an empty data directory takes over from one that still writes.
    pub take_over: bool,
}

impl Default for ObjectStorage {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: "towpath".into(),
            region: "us-east-1".into(),
            endpoint: None,
            path_style: None,
            allow_http: false,
            credentials_file: None,
            profile: "default".into(),
            local: "5Gi".into(),
            memory: "32Mi".into(),
            grace: "1h".into(),
            take_over: false,
        }
    }
}

impl ObjectStorage {
    pub(super) fn check(&self) -> Result<(), Error> {
        let name = |own: &str| format!("telemetry.object-storage.{own}");
        let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if self.bucket.is_empty() || !self.bucket.chars().all(known) {
            return refuse(&name("bucket"), &self.bucket, "the name of a bucket");
        }
        let part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let parts = self.prefix.split('/').all(part);
        if !parts || !self.prefix.chars().all(|c| known(c) || c == '/') {
            let reason = "names with slashes between them, e.g. towpath/one";
            return refuse(&name("prefix"), &self.prefix, reason);
        }
        if let Some(endpoint) = &self.endpoint {
            let plain = endpoint.starts_with("http://");
            if !plain && !endpoint.starts_with("https://") || endpoint.contains(['@', '?', '#']) {
                let reason = "an address, e.g. https://s3.example.org";
                return refuse(&name("endpoint"), endpoint, reason);
            }
            if plain && !self.allow_http {
                let reason = "an address with https, or allow-http = true";
                return refuse(&name("endpoint"), endpoint, reason);
            }
        }
        for (own, value, least) in [("local", &self.local, 0), ("memory", &self.memory, 1 << 20)] {
            if bytes(value).is_none_or(|bytes| bytes < least) {
                let reason = "a quantity of bytes, memory at least 1Mi";
                return refuse(&name(own), value, reason);
            }
        }
        if duration(&self.grace).is_none_or(|ms| ms < 60_000) {
            return refuse(
                &name("grace"),
                &self.grace,
                "a time of at least 1m, e.g. 1h",
            );
        }
        Ok(())
    }

    /// The bucket.
    pub fn settings(&self) -> BucketSettings {
        let keys = match &self.credentials_file {
            None => Keys::Environment,
            Some(path) => Keys::File {
                path: path.clone(),
                profile: self.profile.clone(),
            },
        };
        BucketSettings {
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style.unwrap_or(self.endpoint.is_some()),
            allow_http: self.allow_http,
            keys,
        }
    }

    /// What local copies of a signal's segments may take.
    pub fn local_bytes(&self) -> u64 {
        bytes(&self.local).unwrap_or(5 << 30)
    }

    /// What was read lately.
    pub fn memory_bytes(&self) -> usize {
        let bytes = bytes(&self.memory).unwrap_or(32 << 20);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// How long what counts no longer stays.
    pub fn grace(&self) -> Duration {
        let ms = duration(&self.grace).and_then(|ms| ms.try_into().ok());
        Duration::from_millis(ms.unwrap_or(3_600_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_checked() {
        let read = |text: &str| {
            let settings: ObjectStorage = toml::from_str(text).expect("settings");
            settings.check().map(|()| settings)
        };
        let settings = read("bucket = \"b\"\n").expect("fine").settings();
        assert!(!settings.path_style && settings.keys == Keys::Environment);
        let other = "bucket = \"b\"\nendpoint = \"http://s3:7070\"\nallow-http = true\n";
        assert!(read(other).expect("fine").settings().path_style);
        for wrong in [
            "",
            "bucket = \"a b\"",
            "bucket = \"b\"\nprefix = \"\"",
            "bucket = \"b\"\nprefix = \"a/../b\"",
            "bucket = \"b\"\nendpoint = \"http://s3\"",
            "bucket = \"b\"\nendpoint = \"https://user:word@s3\"",
            "bucket = \"b\"\nlocal = \"much\"",
            "bucket = \"b\"\ngrace = \"1s\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
