//! Which form of an object a client wants, from its `Accept` header.

use towpath_api::status::{self, Failure};

/// Forms that can be produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Object,
    /// A server-side table.
    Table,
    /// Only `metadata`.
    Partial,
}

/// Picks the first acceptable form.
pub(crate) fn negotiate(accept: &str) -> Result<Form, Failure> {
    if accept.trim().is_empty() {
        return Ok(Form::Object);
    }
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            continue;
        }
        let (mut shape, mut group, mut version) = ("", "", "");
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => shape = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                _ => {}
            }
        }
        let meta = group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1");
        match shape {
            "" => return Ok(Form::Object),
            "Table" if meta => return Ok(Form::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => {
                return Ok(Form::Partial);
            }
            _ => {}
        }
    }
    Err(status::not_acceptable(&["application/json"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_acceptable_form_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(kubectl), Ok(Form::Table));
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf, */*"),
            Ok(Form::Object)
        );
        assert_eq!(
            negotiate("application/json;as=Unknown;v=v1;g=meta.k8s.io, application/json"),
            Ok(Form::Object)
        );
        assert!(negotiate("application/vnd.kubernetes.protobuf").is_err());
        assert!(negotiate("application/cbor").is_err());
    }
}
