//! What the query says about a list or watch, and which of it contradicts itself.

use crate::route::Query;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

const MATCH: &str = "resourceVersionMatch";
const INITIAL: &str = "sendInitialEvents";

/// Refuses options that do not go together, as upstream words it.
pub(crate) fn check(query: &Query, watch: bool) -> Result<(), Failure> {
    let text = |key: &str| query.get(key).unwrap_or_default();
    let forbidden = |errors: &mut Vec<FieldError>, field: &str, why: &str| {
        errors.push(FieldError::forbidden(field, why));
    };
    let (wanted, initial) = (text(MATCH), query.get(INITIAL).is_some());
    let mut errors = Vec::new();
    if watch {
        if initial {
            if wanted != "NotOlderThan" {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                forbidden(&mut errors, MATCH, why);
                if !wanted.is_empty() {
                    errors.push(FieldError::unsupported(MATCH, wanted, &["NotOlderThan"]));
                }
            }
            if !text("continue").is_empty() {
                let why = "sendInitialEvents is forbidden with continue";
                forbidden(&mut errors, INITIAL, why);
            }
        } else if !wanted.is_empty() {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            forbidden(&mut errors, MATCH, why);
        }
    } else {
        if !wanted.is_empty() {
            if text("resourceVersion").is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                forbidden(&mut errors, MATCH, why);
            }
            if !text("continue").is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                forbidden(&mut errors, MATCH, why);
            }
            if !matches!(wanted, "Exact" | "NotOlderThan") {
                let known = ["Exact", "NotOlderThan", ""];
                errors.push(FieldError::unsupported(MATCH, wanted, &known));
            }
            if wanted == "Exact" && text("resourceVersion") == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                forbidden(&mut errors, MATCH, why);
            }
        }
        if initial {
            let why = "sendInitialEvents is forbidden for list";
            forbidden(&mut errors, INITIAL, why);
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(status::invalid("meta.k8s.io", "ListOptions", "", &errors)),
    }
}

/// `limit`; upstream takes a negative one as none.
pub(crate) fn limit(query: &Query) -> Result<usize, Failure> {
    match query.get("limit").map(str::trim).unwrap_or_default() {
        "" => Ok(0),
        text => {
            let limit: i64 = text.parse().map_err(|_| {
                status::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?;
            Ok(usize::try_from(limit).unwrap_or(0))
        }
    }
}

/// `resourceVersion`; upstream says of one that is no number what its parser says.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, Failure> {
    match query.get("resourceVersion").unwrap_or_default() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| not_a_revision(text)),
    }
}

/// 500: a revision that is no number.
pub(crate) fn not_a_revision(text: &str) -> Failure {
    status::untold(format!(
        "strconv.ParseUint: parsing {text:?}: invalid syntax"
    ))
}
