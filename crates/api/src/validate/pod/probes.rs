//! Probes and hooks of a container: what is run or asked, exactly one thing, and how often.

use crate::field::FieldError;
use crate::validate::check::Check;
use serde_json::Value;

pub(super) fn probe(probe: &Value, path: &str, only_one_success: bool, check: &mut Check) {
    if probe.is_null() {
        return;
    }
    handler(probe, path, check);
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        check.not_negative(&format!("{path}.{name}"), &probe[name]);
    }
    check.positive(
        &format!("{path}.terminationGracePeriodSeconds"),
        &probe["terminationGracePeriodSeconds"],
    );
    if only_one_success
        && let Some(count) = probe["successThreshold"]
            .as_i64()
            .filter(|count| *count != 1)
    {
        check.invalid(&format!("{path}.successThreshold"), count, "must be 1");
    }
}

pub(super) fn handler(handler: &Value, path: &str, check: &mut Check) {
    let given: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"]
        .into_iter()
        .filter(|name| !handler[*name].is_null())
        .collect();
    let [first, rest @ ..] = given.as_slice() else {
        check.add(FieldError::required(path, "must specify a handler type"));
        return;
    };
    for name in rest {
        check.add(FieldError::forbidden(
            format!("{path}.{name}"),
            "may not specify more than 1 handler type",
        ));
    }
    let (at, action) = (format!("{path}.{first}"), &handler[*first]);
    match *first {
        "exec" => {
            check.required(&format!("{at}.command"), &action["command"], "");
        }
        "httpGet" => {
            check.required(&format!("{at}.path"), &action["path"], "");
            check.port_or_name(&format!("{at}.port"), &action["port"]);
        }
        "tcpSocket" => check.port_or_name(&format!("{at}.port"), &action["port"]),
        "grpc" => check.port(&format!("{at}.port"), &action["port"]),
        _ => {}
    }
}
