//! Certificate signing requests and the certificates made from them (RFC 2986, RFC 5280).
//!
//! Subject, key and names are taken over byte by byte, so that a certificate says exactly what
//! was asked for and approved; everything else is ours.

use crate::der::{element, names};
use crate::pki::PkiError;
use rcgen::{CertificateSigningRequestParams, KeyPair, SigningKey};
use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const ATTRIBUTES: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

// 1.2.840.113549.1.9.14, extensionRequest.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
// 1.2.840.10045.4.3.2, ecdsa-with-SHA256: the authority's key is on P-256.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
// 1.3.6.1.5.5.7.3.1 and .2.
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// Largest request that is read.
const REQUEST_BYTES: usize = 64 << 10;

/// A request whose signature shows that its maker has the key.
#[derive(Debug, Default)]
pub(crate) struct Request {
    subject: Vec<u8>,
    public_key: Vec<u8>,
    /// `GeneralNames` as they came; empty where there are none.
    names: Vec<u8>,
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// E-mail addresses, URIs and others.
    pub(crate) other_names: usize,
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) digital_signature: bool,
    pub(crate) key_encipherment: bool,
    pub(crate) server: bool,
    pub(crate) client: bool,
}

fn is(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes)
        .filter(|(found, _, _)| *found == tag)
        .map(|(_, content, rest)| (content, rest))
}

// An element as it stands, and what follows it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = element(bytes)?.2;
    Some((&bytes[..bytes.len() - rest.len()], rest))
}

fn put(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

impl Request {
    /// Reads a request as PEM; the error says what is wrong with it.
    pub(crate) fn read(pem: &str) -> Result<Self, &'static str> {
        const MARKS: [&str; 2] = [
            "-----BEGIN CERTIFICATE REQUEST-----",
            "-----END CERTIFICATE REQUEST-----",
        ];
        if pem.len() > REQUEST_BYTES {
            return Err("request is too large");
        }
        let body = pem
            .split_once(MARKS[0])
            .and_then(|(_, rest)| rest.split_once(MARKS[1]))
            .ok_or("PEM block type must be CERTIFICATE REQUEST")?;
        let text: String = body.0.split_whitespace().collect();
        let der = towpath_stdx::base64_decode(&text).ok_or("malformed PEM block")?;
        let request = Self::parse(&der).ok_or("malformed certificate request")?;
        match CertificateSigningRequestParams::from_der(&der.as_slice().into()) {
            Err(rcgen::Error::InvalidCertificationRequestSignature) => {
                Err("the request's signature is not its key's")
            }
            Err(rcgen::Error::CouldNotParseCertificationRequest) => {
                Err("malformed certificate request")
            }
            // Extensions that it does not know are not taken over; the signature is good.
            Ok(_) | Err(rcgen::Error::UnsupportedExtension) => Ok(request),
            Err(_) => Err("the request is of a kind that is not supported"),
        }
    }

    fn parse(der: &[u8]) -> Option<Self> {
        let (body, beyond) = is(der, SEQUENCE)?;
        let (info, rest) = is(body, SEQUENCE)?;
        let (algorithm, rest) = is(rest, SEQUENCE)?;
        is(algorithm, OID)?;
        let (signature, end) = is(rest, BITS)?;
        let whole_bytes = signature.first() == Some(&0);
        (whole_bytes && beyond.is_empty() && end.is_empty()).then_some(())?;
        let (_, rest) = is(info, INTEGER)?;
        let (subject, rest) = whole(rest)?;
        let (public_key, rest) = whole(rest)?;
        let mut request = Self {
            subject: subject.to_vec(),
            public_key: public_key.to_vec(),
            ..Self::default()
        };
        for (oid, text) in names(subject)? {
            match oid.as_slice() {
                crate::der::COMMON_NAME => request.user = text,
                crate::der::ORGANIZATION => request.groups.push(text),
                _ => {}
            }
        }
        if let Some((attributes, _)) = is(rest, ATTRIBUTES) {
            request.attributes(attributes)?;
        }
        Some(request)
    }

    fn attributes(&mut self, mut attributes: &[u8]) -> Option<()> {
        while !attributes.is_empty() {
            let (attribute, rest) = is(attributes, SEQUENCE)?;
            attributes = rest;
            let (oid, values) = is(attribute, OID)?;
            if oid != EXTENSION_REQUEST {
                continue;
            }
            let (values, _) = is(values, SET)?;
            let (mut extensions, _) = is(values, SEQUENCE)?;
            while !extensions.is_empty() {
                let (extension, rest) = is(extensions, SEQUENCE)?;
                extensions = rest;
                let (oid, value) = is(extension, OID)?;
                let value = is(value, BOOLEAN).map_or(value, |(_, rest)| rest);
                let (value, _) = is(value, OCTETS)?;
                if oid == ALTERNATIVE_NAMES {
                    self.names = value.to_vec();
                    self.general_names(value)?;
                }
            }
        }
        Some(())
    }

    fn general_names(&mut self, value: &[u8]) -> Option<()> {
        let (mut names, _) = is(value, SEQUENCE)?;
        while !names.is_empty() {
            let (tag, content, rest) = element(names)?;
            names = rest;
            match tag {
                0x82 => self.dns.push(String::from_utf8(content.to_vec()).ok()?),
                0x87 => self.addresses.push(match content.len() {
                    4 => <[u8; 4]>::try_from(content).ok()?.into(),
                    _ => <[u8; 16]>::try_from(content).ok()?.into(),
                }),
                _ => self.other_names += 1,
            }
        }
        Some(())
    }

    /// Makes the certificate, in DER. Times are seconds since 1970; the serial number is 16
    /// random bytes.
    pub(crate) fn sign(
        &self,
        authority_der: &[u8],
        authority_key: &KeyPair,
        uses: Uses,
        (from, until): (u64, u64),
        mut serial: [u8; 16],
    ) -> Result<Vec<u8>, PkiError> {
        // Positive, and never empty.
        serial[0] = serial[0] & 0x7f | 0x40;
        let issuer = crate::der::subject_element(authority_der)
            .ok_or(PkiError::Key("the authority's certificate"))?;
        let algorithm = put(SEQUENCE, &[&put(OID, &[ECDSA_SHA256])]);
        let extensions = self.extensions(uses, authority_key);
        let body = put(
            SEQUENCE,
            &[
                &put(0xa0, &[&put(INTEGER, &[&[2]])]),
                &put(INTEGER, &[&serial]),
                &algorithm,
                issuer,
                &put(SEQUENCE, &[&time(from), &time(until)]),
                &self.subject,
                &self.public_key,
                &put(EXTENSIONS, &[&put(SEQUENCE, &[&extensions])]),
            ],
        );
        let signature = authority_key
            .sign(&body)
            .map_err(|source| PkiError::Certificate {
                what: "a signature",
                source,
            })?;
        let signature = put(BITS, &[&[0], &signature]);
        Ok(put(SEQUENCE, &[&body, &algorithm, &signature]))
    }

    fn extensions(&self, uses: Uses, authority_key: &KeyPair) -> Vec<u8> {
        let extension = |oid: &[u8], critical: bool, value: &[u8]| {
            let mark = put(BOOLEAN, &[&[0xff]]);
            let mark: &[u8] = if critical { &mark } else { &[] };
            put(SEQUENCE, &[&put(OID, &[oid]), mark, &put(OCTETS, &[value])])
        };
        let bits = u8::from(uses.digital_signature) << 7 | u8::from(uses.key_encipherment) << 5;
        let usage = put(BITS, &[&[bits.trailing_zeros().min(7) as u8, bits]]);
        let mut extended = Vec::new();
        if uses.server {
            extended.extend(put(OID, &[SERVER_AUTH]));
        }
        if uses.client {
            extended.extend(put(OID, &[CLIENT_AUTH]));
        }
        let authority = put(
            SEQUENCE,
            &[&put(
                0x80,
                &[&key_identifier(
                    &rcgen::PublicKeyData::subject_public_key_info(authority_key),
                )],
            )],
        );
        let own = put(OCTETS, &[&key_identifier(&self.public_key)]);
        let mut out = extension(KEY_USAGE, true, &usage);
        out.extend(extension(
            EXTENDED_KEY_USAGE,
            false,
            &put(SEQUENCE, &[&extended]),
        ));
        out.extend(extension(BASIC_CONSTRAINTS, true, &put(SEQUENCE, &[])));
        out.extend(extension(SUBJECT_KEY, false, &own));
        out.extend(extension(AUTHORITY_KEY, false, &authority));
        if !self.names.is_empty() {
            let nameless = self.user.is_empty() && self.groups.is_empty();
            out.extend(extension(ALTERNATIVE_NAMES, nameless, &self.names));
        }
        out
    }
}

// As rcgen makes those of the authority: the first bytes of the key's SHA-256.
fn key_identifier(public_key_info: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    Sha256::digest(public_key_info)[..20].to_vec()
}

fn time(seconds: u64) -> Vec<u8> {
    // `2026-11-21T17:00:00Z` as `20261121170000Z`.
    let text: String = towpath_stdx::clock::rfc3339(seconds)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .filter(|c| *c != 'T')
        .collect();
    match text.as_str() {
        year if year < "2050" => put(UTC_TIME, &[&text.as_bytes()[2..]]),
        _ => put(GENERALIZED_TIME, &[text.as_bytes()]),
    }
}

/// Certificate bytes as PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType};

    fn request() -> (String, Vec<u8>) {
        let mut params =
            CertificateParams::new(vec!["a.example.org".to_string(), "10.0.0.1".into()])
                .expect("names");
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "team");
        params.distinguished_name.push(DnType::CommonName, "jane");
        let key = KeyPair::generate().expect("key");
        let request = params.serialize_request(&key).expect("request");
        (request.pem().expect("PEM"), request.der().to_vec())
    }

    #[test]
    fn a_request_is_read_and_damage_is_refused() {
        let (pem, der) = request();
        let request = Request::read(&pem).expect("request");
        assert_eq!(
            (request.user.as_str(), &request.groups[..]),
            ("jane", &["team".to_string()][..])
        );
        assert_eq!(request.dns, ["a.example.org"]);
        assert_eq!(
            request.addresses,
            ["10.0.0.1".parse::<IpAddr>().expect("address")]
        );
        for cut in 0..der.len() {
            let _ = Request::parse(&der[..cut]);
        }
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0x11;
            let text = super::pem(&damaged).replace("CERTIFICATE", "CERTIFICATE REQUEST");
            assert!(Request::read(&text).is_err(), "byte {at}");
        }
        assert!(Request::read(&pem.replace(" REQUEST", "")).is_err());
    }

    #[test]
    fn a_certificate_says_what_was_asked_for() {
        let (pem, _) = request();
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let authority = params.self_signed(&key).expect("authority");
        let uses = Uses {
            digital_signature: true,
            client: true,
            ..Uses::default()
        };
        let request = Request::read(&pem).expect("request");
        let der = request
            .sign(
                authority.der(),
                &key,
                uses,
                (1_700_000_000, 2_600_000_000),
                [0xff; 16],
            )
            .expect("certificate");
        let certificate = rustls::pki_types::CertificateDer::from(der);
        let names = crate::pki::subject(&certificate).expect("subject");
        assert_eq!(names, ("jane".to_string(), vec!["team".to_string()]));
    }
}
