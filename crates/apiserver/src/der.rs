//! The little of X.509 that authentication needs: the subject of a certificate. The signature
//! has been verified by TLS before; this only reads names.

pub(crate) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
pub(crate) const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;

/// One element: tag, content, what follows it.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = rest.get(..count)?;
            let length = digits
                .iter()
                .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            (length, &rest[count..])
        }
        _ => return None,
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes)
        .filter(|(found, _, _)| *found == tag)
        .map(|(_, content, rest)| (content, rest))
}

/// The subject of a certificate, as it stands there.
pub(crate) fn subject_element(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut body, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(body, EXPLICIT_VERSION) {
        body = rest;
    }
    // serial, signature algorithm, issuer, validity
    for _ in 0..4 {
        body = element(body)?.2;
    }
    let rest = element(body)?.2;
    Some(&body[..body.len() - rest.len()])
}

/// Object identifiers and texts of the subject, in order.
pub(crate) fn subject(certificate: &[u8]) -> Option<Vec<(Vec<u8>, String)>> {
    names(subject_element(certificate)?)
}

/// Object identifiers and texts of a name, in order.
pub(crate) fn names(name: &[u8]) -> Option<Vec<(Vec<u8>, String)>> {
    let (mut names, _) = expect(name, SEQUENCE)?;
    let mut found = Vec::new();
    while !names.is_empty() {
        let (mut set, rest) = expect(names, SET)?;
        names = rest;
        while !set.is_empty() {
            let (pair, rest) = expect(set, SEQUENCE)?;
            set = rest;
            let (oid, value) = expect(pair, OID)?;
            let (_, text, _) = element(value)?;
            found.push((oid.to_vec(), String::from_utf8(text.to_vec()).ok()?));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn reads_the_subject_and_survives_damage() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "team");
        params.distinguished_name.push(DnType::CommonName, "jane");
        let key = KeyPair::generate().expect("key");
        let der = params
            .self_signed(&key)
            .expect("certificate")
            .der()
            .to_vec();
        let names = subject(&der).expect("subject");
        assert!(names.contains(&(COMMON_NAME.to_vec(), "jane".into())));
        assert!(names.contains(&(ORGANIZATION.to_vec(), "team".into())));
        for cut in 0..der.len() {
            let _ = subject(&der[..cut]);
        }
    }
}
