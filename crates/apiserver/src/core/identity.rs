//! Who asks, and as whom.

use super::Core;
use super::rights::deny;
use crate::rbac::Ask;
use crate::route;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use towpath_api::status::{self, Failure};
use towpath_kit::traits::{Credential, Principal};

pub(super) fn authenticate(core: &Core, headers: &HeaderMap) -> Result<Principal, Failure> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(Principal::anonymous());
    };
    let credential = header
        .to_str()
        .ok()
        .and_then(Credential::from_header)
        .ok_or_else(status::unauthorized)?;
    check_credential(core, &credential).ok_or_else(status::unauthorized)
}

pub(crate) fn check_credential(core: &Core, credential: &Credential) -> Option<Principal> {
    let token = match credential {
        Credential::Bearer(token) => token,
        Credential::Basic { password, .. } => password,
    };
    let state = core.store.snapshot();
    // Minted tokens and service accounts' alike; audiences are those of this server.
    core.tokens
        .check(token.reveal_secret(), &[], &state)
        .map(|checked| checked.principal)
}

pub(super) fn impersonate(
    core: &Core,
    principal: Principal,
    headers: &HeaderMap,
) -> Result<Principal, Failure> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_string()
    };
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(str::to_string)
            .collect()
    };
    let user = text("impersonate-user");
    let groups = all("impersonate-group");
    let extras: Vec<(String, Vec<String>)> = headers
        .keys()
        .filter_map(|name| {
            let key = name.as_str().strip_prefix("impersonate-extra-")?;
            Some((route::decode(key, false), all(name.as_str())))
        })
        .collect();
    if user.is_empty() {
        if groups.is_empty() && extras.is_empty() {
            return Ok(principal);
        }
        return Err(status::bad_request(
            "requested impersonation without impersonating a user",
        ));
    }
    let state = core.store.snapshot();
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let ask = Ask {
            verb: "impersonate",
            group,
            resource,
            subresource,
            namespace,
            name,
            path: "",
        };
        match core.rbac.allowed(&state, &principal, &ask) {
            true => Ok(()),
            false => Err(deny(&principal, &ask)),
        }
    };
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let mut target = Principal {
        name: user.clone(),
        ..Principal::default()
    };
    match user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => {
            check("", "serviceaccounts", "", namespace, name)?;
            target.groups = crate::token::account(namespace, name, "").groups;
        }
        None => check("", "users", "", "", &user)?,
    }
    for group in &groups {
        check("", "groups", "", "", group)?;
    }
    let uid = text("impersonate-uid");
    if !uid.is_empty() {
        check(AUTHENTICATION, "uids", "", "", &uid)?;
        target.uid = uid;
    }
    for (key, values) in extras {
        for value in &values {
            check(AUTHENTICATION, "userextras", &key, "", value)?;
        }
        target.extra.insert(key, values);
    }
    if !groups.is_empty() {
        target.groups = groups;
    }
    let sign = if target.name == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !target.groups.iter().any(|group| group == sign) {
        target.groups.push(sign.into());
    }
    Ok(target)
}
