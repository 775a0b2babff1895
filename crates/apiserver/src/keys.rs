//! Replacing keys on demand: `POST /keys/secrets` and `/keys/tokens`. Only
//! administrators may, as no role names these paths.

use crate::body::{self, Answer};
use crate::core::{Call, Core};
use crate::write::refused;
use http::Method;
use serde_json::json;
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, Meta, NewRec, Op, Txn};

/// Table of one record that names the sealing key; its write carries the rotation.
const TABLE: &str = "towpath/seals";

pub(crate) async fn serve(call: &Call) -> Answer {
    if call.method != Method::POST {
        return Err(status::no_such_resource());
    }
    let core = &call.core;
    let failed = |error: crate::pki::PkiError| status::internal(error.to_string());
    let said = match call.path.as_str() {
        "/keys/secrets" => {
            let id = rotate_secrets(core).await?;
            json!({"rotated": "secrets", "key": id})
        }
        "/keys/tokens" => {
            core.tokens.rotate(&core.pki).map_err(failed)?;
            json!({"rotated": "tokens"})
        }
        _ => return Err(status::no_such_resource()),
    };
    tracing::info!(by = call.principal.name, path = call.path, "key replaced");
    Ok(body::json(200, &said))
}

/// Seals all secrets with a new key in one transaction; the old key is forgotten after it.
pub(crate) async fn rotate_secrets(core: &Core) -> Result<String, Failure> {
    let failed = |error: crate::pki::PkiError| status::internal(error.to_string());
    let id = core.seals.rotate(&*core.random).map_err(failed)?;
    let new = NewRec {
        body: format!("{{\"key\":\"{id}\",\"revision\":\"\"}}").into(),
        hole: format!("{{\"key\":\"{id}\",\"revision\":\"").len() as u32,
        meta: Meta::default(),
    };
    let op = Op::Put {
        resource: TABLE.into(),
        key: towpath_store::key("", "current"),
        expect: Expect::any(),
        new,
    };
    let txn = Txn {
        ops: vec![op],
        ..Txn::default()
    };
    core.store.commit(txn).await.map_err(refused)?;
    core.seals.forget_earlier().map_err(failed)?;
    Ok(id)
}
