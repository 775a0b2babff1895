//! What a server of others must prove, and what we show it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;
use towpath_kit::anyone::Anyone;

/// A certificate of ours with its key, for servers that ask who calls.
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Trust in the authorities of a `caBundle`, or in those of the system where it has none.
pub(crate) fn tls(bundle: &Value, shown: Option<&Shown>) -> Result<ClientConfig, String> {
    let builder = builder()?.with_root_certificates(roots(bundle)?);
    finish(builder, shown)
}

/// No trust needed: whoever answers is believed (`insecureSkipTLSVerify`).
pub(crate) fn unverified(shown: Option<&Shown>) -> Result<ClientConfig, String> {
    let provider = provider();
    let anyone = Arc::new(Anyone(provider));
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(anyone);
    finish(builder, shown)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn finish(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    shown: Option<&Shown>,
) -> Result<ClientConfig, String> {
    match shown {
        None => Ok(builder.with_no_client_auth()),
        Some(shown) => builder
            .with_client_auth_cert(vec![shown.certificate.clone()], shown.key.clone_key())
            .map_err(|error| error.to_string()),
    }
}

fn roots(bundle: &Value) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match bundle.as_str().filter(|bundle| !bundle.is_empty()) {
        Some(bundle) => {
            let pem = STANDARD
                .decode(bundle)
                .map_err(|error| format!("caBundle: {error}"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("caBundle: {error}"))?;
            }
            if roots.is_empty() {
                return Err("caBundle holds no certificate".into());
            }
        }
        None => {
            // As upstream: without an authority of its own, those of the system.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bundles() {
        assert!(tls(&json!("%%"), None).is_err());
        assert!(tls(&json!(STANDARD.encode("no PEM")), None).is_err());
    }
}
