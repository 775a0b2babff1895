//! The `Status` objects an API server answers with, in upstream's exact shapes and words.

use crate::field::{FieldError, aggregate, quote};
use serde_json::{Map, Value, json};
use std::fmt;

/// A failure that becomes a `Status` object; [`Failure::to_value`] is what goes on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// `details`, where the reason has them.
    pub details: Option<Value>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Failure {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = Map::new();
        for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
            if !text.is_empty() {
                details.insert(key.into(), text.into());
            }
        }
        self.details = Some(Value::Object(details));
        self
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        details[key] = value;
        self
    }

    fn plain(mut self) -> Self {
        self.details = Some(json!({}));
        self
    }

    /// The same failure with a hint when to try again.
    pub fn retry_after(self, seconds: u32) -> Self {
        self.with("retryAfterSeconds", seconds.into())
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = self.code.into();
        status
    }
}

/// `pods` or `deployments.apps`: how a resource or kind is named in messages.
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_string()
    } else {
        format!("{resource}.{group}")
    }
}

/// 404: no object of that name.
pub fn not_found(group: &str, resource: &str, name: &str) -> Failure {
    let message = format!("{} {} not found", qualified(group, resource), quote(name));
    Failure::new(404, "NotFound", message).about(group, resource, name)
}

/// 404: no such path or resource.
pub fn no_such_resource() -> Failure {
    Failure::new(
        404,
        "NotFound",
        "the server could not find the requested resource",
    )
    .plain()
}

/// 409: an object of that name exists.
pub fn already_exists(group: &str, resource: &str, name: &str) -> Failure {
    let message = format!(
        "{} {} already exists",
        qualified(group, resource),
        quote(name)
    );
    Failure::new(409, "AlreadyExists", message).about(group, resource, name)
}

/// 409: no free name was found for a `generateName`.
pub fn generate_name_conflict(group: &str, resource: &str, name: &str) -> Failure {
    let message = format!(
        "{} {} already exists, the server was not able to generate a unique name for the object",
        qualified(group, resource),
        quote(name)
    );
    Failure::new(409, "AlreadyExists", message)
        .about(group, resource, name)
        .retry_after(1)
}

/// Text of a [`conflict`] whose resource version is no longer the newest.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// 409: the object is in another state than the request assumes.
pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Failure {
    let message = format!(
        "Operation cannot be fulfilled on {} {}: {why}",
        qualified(group, resource),
        quote(name)
    );
    Failure::new(409, "Conflict", message).about(group, resource, name)
}

/// 409: a delete or update whose UID precondition does not hold.
pub fn uid_precondition(
    group: &str,
    resource: &str,
    name: &str,
    wanted: &str,
    found: &str,
) -> Failure {
    let why =
        format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
    conflict(group, resource, name, &why)
}

/// 409: a delete whose UID or revision precondition does not hold, in the words of the store.
pub fn delete_precondition(kind: &str, name: &str, why: &str) -> Failure {
    conflict("", kind, name, why)
}

/// 409: the name is taken by an object on its way out.
pub fn being_deleted(group: &str, resource: &str, name: &str) -> Failure {
    let mut failure = already_exists(group, resource, name);
    failure.message = format!("object is being deleted: {}", failure.message);
    failure
}

/// 409: a server-side apply that would take fields of other managers, one `(message, field)` each.
pub fn apply_conflict(message: impl Into<String>, causes: &[(String, String)]) -> Failure {
    let causes: Vec<Value> = causes
        .iter()
        .map(|(message, field)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
        .collect();
    Failure::new(409, "Conflict", message).with("causes", causes.into())
}

/// 422: the object breaks rules.
pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Failure {
    let causes: Vec<Value> = errors
        .iter()
        .map(|e| json!({"reason": e.kind.reason(), "message": e.body(), "field": e.field}))
        .collect();
    let mut message = format!("{} {} is invalid", qualified(group, kind), quote(name));
    if !errors.is_empty() {
        message.push_str(&format!(": {}", aggregate(errors)));
    }
    let failure = Failure::new(422, "Invalid", message).about(group, kind, name);
    if causes.is_empty() {
        failure
    } else {
        failure.with("causes", causes.into())
    }
}

/// 400: the request itself is wrong.
pub fn bad_request(message: impl Into<String>) -> Failure {
    Failure::new(400, "BadRequest", message)
}

/// 400: the body is not an object of the kind the path asks for.
pub fn undecodable(kind: &str, version: &str, why: &str) -> Failure {
    bad_request(format!(
        "{kind} in version {} cannot be handled as a {kind}: {why}",
        quote(version)
    ))
}

/// 400: unknown or duplicate fields under `fieldValidation=Strict`; `warnings` as given by
/// [`unknown_field`] and [`duplicate_field`].
pub fn strict(kind: &str, version: &str, warnings: &[String]) -> Failure {
    undecodable(
        kind,
        version,
        &format!("strict decoding error: {}", warnings.join(", ")),
    )
}

/// Text for a field that the schema does not know, as error and as warning.
pub fn unknown_field(path: &str) -> String {
    format!("unknown field {}", quote(path))
}

/// Text for a key that occurs twice, as error and as warning.
pub fn duplicate_field(path: &str) -> String {
    format!("duplicate field {}", quote(path))
}

/// 401: nobody we know.
pub fn unauthorized() -> Failure {
    Failure::new(401, "Unauthorized", "Unauthorized")
}

/// 403: not allowed, `why` in full.
pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Failure {
    let message = if resource.is_empty() {
        format!("forbidden: {why}")
    } else if name.is_empty() {
        format!("{} is forbidden: {why}", qualified(group, resource))
    } else {
        format!(
            "{} {} is forbidden: {why}",
            qualified(group, resource),
            quote(name)
        )
    };
    Failure::new(403, "Forbidden", message).about(group, resource, name)
}

/// What an authorizer's denial is about; subresource and namespace may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Denied<'a> {
    /// User name.
    pub user: &'a str,
    /// Verb of the request.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural name; empty for a path outside the API.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Object name or empty.
    pub name: &'a str,
    /// Request path, for paths outside the API.
    pub path: &'a str,
}

/// 403 as the authorization step words it.
pub fn denied(request: Denied<'_>) -> Failure {
    let user = quote(request.user);
    if request.resource.is_empty() {
        let why = format!(
            "User {user} cannot {} path {}",
            request.verb,
            quote(request.path)
        );
        return forbidden("", "", "", &why).plain();
    }
    let mut resource = request.resource.to_string();
    if !request.subresource.is_empty() {
        resource = format!("{resource}/{}", request.subresource);
    }
    let place = if request.namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {}", quote(request.namespace))
    };
    let why = format!(
        "User {user} cannot {} resource {} in API group {} {place}",
        request.verb,
        quote(&resource),
        quote(request.group)
    );
    forbidden(request.group, request.resource, request.name, &why)
}

/// 405: the subresource has no such verb.
pub fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Failure {
    let name = qualified(group, resource);
    let message = format!(
        "{verb} is not supported on resources of kind {}",
        quote(&name)
    );
    Failure::new(405, "MethodNotAllowed", message).about(group, resource, "")
}

/// 405 of upstream's router, which names neither resource nor verb.
pub fn no_such_method() -> Failure {
    let message = "the server does not allow this method on the requested resource";
    Failure::new(405, "MethodNotAllowed", message).plain()
}

/// 406: no accepted media type can be produced.
pub fn not_acceptable(accepted: &[&str]) -> Failure {
    let message = format!(
        "only the following media types are accepted: {}",
        accepted.join(", ")
    );
    Failure::new(406, "NotAcceptable", message)
}

/// 410: the revision asked for is gone.
pub fn expired(message: impl Into<String>) -> Failure {
    Failure::new(410, "Expired", message)
}

/// 413: more than the server reads.
pub fn too_large(limit_bytes: usize) -> Failure {
    let message = format!("Request entity too large: limit is {limit_bytes}");
    Failure::new(413, "RequestEntityTooLarge", message)
}

/// 415: the body's media type is not understood.
pub fn unsupported_media_type(accepted: &[&str]) -> Failure {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Failure::new(415, "UnsupportedMediaType", message)
}

/// 413: a patch of too many operations.
pub fn too_many_operations(message: &str) -> Failure {
    let message = format!("Request entity too large: {message}");
    Failure::new(413, "RequestEntityTooLarge", message)
}

/// 422 for a patch that does not fit the object.
pub fn unprocessable(why: impl Into<String>) -> Failure {
    Failure::new(422, "Invalid", why).plain()
}

/// 500 without a reason: what upstream answers where an error of a merge reaches the client as is.
pub fn untold(message: impl Into<String>) -> Failure {
    Failure::new(500, "", message)
}

/// 429: try again later (also: an eviction that a budget forbids for now).
pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Failure {
    Failure::new(429, "TooManyRequests", message).retry_after(retry_after_seconds)
}

/// 500: our fault.
pub fn internal(why: impl fmt::Display) -> Failure {
    let why = why.to_string();
    Failure::new(
        500,
        "InternalError",
        format!("Internal error occurred: {why}"),
    )
    .with("causes", json!([{"message": why}]))
}

/// 503: not ready or shutting down.
pub fn unavailable(message: impl Into<String>) -> Failure {
    Failure::new(503, "ServiceUnavailable", message)
}

/// 504: it took too long.
pub fn timeout(why: &str) -> Failure {
    Failure::new(504, "Timeout", format!("Timeout: {why}")).plain()
}

/// 504: a revision that lies in the future.
pub fn too_large_resource_version(wanted: u64, current: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    Failure::new(504, "Timeout", message)
        .with(
            "causes",
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
        )
        .retry_after(1)
}

/// The `Status` a successful delete answers with.
pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    details["kind"] = resource.into();
    details["uid"] = uid.into();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_joins_and_lists_causes() {
        let errors = [
            FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
            FieldError::required("spec.selector", ""),
        ];
        let status = invalid("apps", "Deployment", "web", &errors).to_value();
        assert_eq!(
            status["message"],
            "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]"
        );
        assert_eq!(
            status["details"]["causes"][0]["reason"],
            "FieldValueInvalid"
        );
        assert_eq!(status["code"], 422);
    }

    #[test]
    fn names_carry_their_group() {
        assert_eq!(
            not_found("apps", "deployments", "x").message,
            "deployments.apps \"x\" not found"
        );
        assert_eq!(
            not_found("", "pods", "x").to_value()["details"],
            json!({"name": "x", "kind": "pods"})
        );
        let request = Denied {
            user: "u",
            verb: "list",
            resource: "pods",
            namespace: "a",
            ..Denied::default()
        };
        assert_eq!(
            denied(request).message,
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\""
        );
    }
}
