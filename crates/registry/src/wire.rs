//! Answers in the protocol's form: error codes, headers, ranges.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};
use serde_json::json;
use std::ops::Range;
use towpath_store::BlobError;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// The codes of the distribution specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A request that is not granted.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) headers: Box<HeaderMap>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            code,
            message: message.into(),
            headers: Box::default(),
        }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::Missing(_) => Self::new(Code::BlobUnknown, error.to_string()),
            BlobError::Digest(_) | BlobError::Mismatch { .. } => {
                Self::new(Code::DigestInvalid, error.to_string())
            }
            BlobError::Name(_) => Self::new(Code::BlobUploadUnknown, error.to_string()),
            BlobError::Full(_) => Self::new(Code::Unknown, error.to_string())
                .with_status(StatusCode::INSUFFICIENT_STORAGE),
            BlobError::Io { .. } | BlobError::Remote { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "registry blob");
                Self::new(Code::Unknown, error.to_string())
            }
        }
    }
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Blob(error) => error.into(),
            crate::Error::Image(error) => Self::new(Code::ManifestInvalid, error.to_string()),
            crate::Error::Index { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                ) =>
            {
                Self::new(Code::Unknown, "no space left")
                    .with_status(StatusCode::INSUFFICIENT_STORAGE)
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "registry index");
                Self::new(Code::Unknown, error.to_string())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code.text(), "message": self.message }] });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(*self.headers);
        response
    }
}

/// A builder of answers that cannot fail half way.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        // Values are digests, numbers, checked names; others are left out.
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn body(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    pub(crate) fn empty(self) -> Response {
        self.header(header::CONTENT_LENGTH, "0").body(Body::empty())
    }

    pub(crate) fn json(self, value: &serde_json::Value) -> Response {
        self.header(CONTENT_TYPE, "application/json")
            .body(Body::from(value.to_string()))
    }
}

/// A `Range` header for content of a length: `None` = all of it, an error = 416. Several ranges
/// are answered as if none were asked for, as HTTP allows.
pub(crate) fn byte_range(headers: &HeaderMap, length: u64) -> Result<Option<Range<u64>>, ()> {
    let Some(text) = headers.get(header::RANGE).and_then(|v| v.to_str().ok()) else {
        return Ok(None);
    };
    let Some(spec) = text.trim().strip_prefix("bytes=") else {
        return Ok(None);
    };
    if spec.contains(',') {
        return Ok(None);
    }
    let Some((from, to)) = spec.trim().split_once('-') else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (from.trim(), to.trim()) {
        ("", suffix) => match number(suffix) {
            Some(0) => Err(()),
            Some(count) if length > 0 => Ok(Some(length.saturating_sub(count)..length)),
            Some(_) => Err(()),
            None => Ok(None),
        },
        (from, "") => match number(from) {
            Some(from) if from < length => Ok(Some(from..length)),
            Some(_) => Err(()),
            None => Ok(None),
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from > to => Ok(None),
            (Some(from), Some(to)) if from < length => {
                Ok(Some(from..to.saturating_add(1).min(length)))
            }
            (Some(_), Some(_)) => Err(()),
            _ => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let ask = |text: &str, length| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().expect("value"));
            byte_range(&headers, length)
        };
        assert_eq!(ask("bytes=0-4", 10), Ok(Some(0..5)));
        assert_eq!(ask("bytes=5-", 10), Ok(Some(5..10)));
        assert_eq!(ask("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(ask("bytes=-30", 10), Ok(Some(0..10)));
        assert_eq!(ask("bytes=8-100", 10), Ok(Some(8..10)));
        assert_eq!(ask("bytes=10-", 10), Err(()));
        assert_eq!(ask("bytes=-0", 10), Err(()));
        assert_eq!(ask("bytes=0-0", 0), Err(()));
        assert_eq!(ask("bytes=5-2", 10), Ok(None));
        assert_eq!(ask("bytes=0-1,3-4", 10), Ok(None));
        assert_eq!(ask("items=0-1", 10), Ok(None));
        assert_eq!(
            ask("bytes=18446744073709551615-18446744073709551615", 10),
            Err(())
        );
    }
}
