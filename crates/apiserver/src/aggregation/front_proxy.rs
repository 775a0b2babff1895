//! Who we are to other servers: a client certificate of an authority of its own, and the
//! ConfigMap that tells those servers to believe it.

use crate::core::Core;
use crate::outbound::Shown;
use crate::pki::{self, Pki, PkiError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Common name of the certificate.
pub(crate) const NAME: &str = "front-proxy-client";

/// The certificate that is shown now, made when it is needed and again before it ends.
#[derive(Default)]
pub(crate) struct FrontProxy(parking_lot::Mutex<Option<(Duration, Arc<Shown>)>>);

impl FrontProxy {
    pub(super) fn shown(&self, core: &Core) -> Result<Arc<Shown>, PkiError> {
        let now = core.clock.since_epoch();
        let mut held = self.0.lock();
        if let Some((made, shown)) = held.as_ref()
            && now.saturating_sub(*made) < pki::RENEW_AFTER
        {
            return Ok(shown.clone());
        }
        let (certificate, key) = core.pki.front_proxy_client(NAME, &*core.clock)?;
        let shown = Arc::new(Shown { certificate, key });
        *held = Some((now, shown.clone()));
        Ok(shown)
    }
}

/// Data of `extension-apiserver-authentication` in `kube-system`.
pub(crate) fn configuration(pki: &Pki) -> Value {
    json!({
        "client-ca-file": pki.ca_pem,
        "requestheader-allowed-names": format!("[{NAME:?}]"),
        "requestheader-client-ca-file": pki.front_proxy_ca_pem,
        "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        "requestheader-group-headers": "[\"X-Remote-Group\"]",
        "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
        "requestheader-username-headers": "[\"X-Remote-User\"]",
    })
}
