//! The decoders of this crate under mutated inputs (see `mutate.rs` in the tests of `api`).

#[path = "../../api/tests/it/mutate.rs"]
mod mutate;

use crate::accept::{self, Offer};
use crate::audit::policy::Policy;
use crate::keyring::Keyring;
use crate::kinds::Kinds;
use crate::list_options;
use crate::paging::Continue;
use crate::route::{self, Query};
use crate::{der, patch, ws, x509};
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towpath_stdx::Secret;

fn corpus(decoder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/fuzz")
        .join(decoder)
}

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

#[test]
fn queries_and_tokens_of_lists() {
    const WORDS: &[&str] = &[
        "limit=",
        "continue=",
        "resourceVersion=",
        "resourceVersionMatch=",
        "Exact",
        "NotOlderThan",
        "sendInitialEvents=true",
        "watch=1",
        "&",
        "=",
        "%",
        "%2",
        "%ff",
        "+",
        "-1",
        "18446744073709551616",
        "labelSelector=",
        "fieldSelector=",
        "timeoutSeconds=",
    ];
    mutate::run(&corpus("queries"), WORDS, |input| {
        let words = text(input);
        let query = Query::parse(&words);
        let mut said = String::new();
        for watch in [false, true] {
            if let Err(failure) = list_options::check(&query, watch) {
                said.push_str(&failure.message);
            }
        }
        if let Err(failure) = list_options::limit(&query) {
            said.push_str(&failure.message);
        }
        if let Err(failure) = list_options::revision(&query) {
            said.push_str(&failure.message);
        }
        match Continue::decode(query.get("continue").unwrap_or(&words)) {
            Ok(token) => {
                let again = Continue::decode(&token.encode()).expect("what was written");
                assert_eq!((again.revision, again.after), (token.revision, token.after));
                said.push_str("token");
            }
            Err(failure) => said.push_str(&failure.message),
        }
        said
    });
}

#[test]
fn paths() {
    let kinds = Kinds::with(&BTreeMap::new(), &[]);
    const WORDS: &[&str] = &[
        "/api",
        "/apis",
        "/v1",
        "/apps",
        "/namespaces",
        "/pods",
        "/status",
        "/watch",
        "/..",
        "//",
        "%2f",
        "%00",
        "/log",
        "/exec",
        "/proxy",
        "/a",
        "/deployments",
        "/openapi/v3",
    ];
    mutate::run(&corpus("paths"), WORDS, |input| {
        let path = text(input);
        let mut said = String::new();
        for method in [
            Method::GET,
            Method::POST,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            match route::route(&kinds, &method, &path, &Query::parse("watch=1")) {
                Ok(route::Route::Objects(target)) => {
                    said.push_str(&format!(
                        "{} {} ",
                        target.resource.plural, target.subresource
                    ));
                }
                Ok(_) => said.push_str("other "),
                Err(failure) => said.push_str(&failure.message),
            }
        }
        said
    });
}

#[test]
fn accepted_types() {
    const WORDS: &[&str] = &[
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "*/*",
        "application/*",
        ";q=",
        "0.5",
        "NaN",
        "-1",
        "1e400",
        ";as=Table",
        ";g=meta.k8s.io",
        ";v=v1",
        ";stream=watch",
        ",",
        ";",
        "=",
        "as=PartialObjectMetadata",
    ];
    mutate::run(&corpus("accept"), WORDS, |input| {
        let words = text(input);
        let offer = Offer {
            protobuf: true,
            forms: true,
            tables: true,
        };
        let _ = accept::first(&words, &["application/json", "text/plain"]);
        format!(
            "{:?} {:?}",
            accept::negotiate(&words, offer),
            accept::for_status(&words)
        )
    });
}

#[test]
fn yaml_bodies() {
    const WORDS: &[&str] = &[
        "&a ",
        "*a",
        "<<: *a",
        "- ",
        ": ",
        "? ",
        "|",
        ">",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "!!binary ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\n  ",
        "\t",
        "0777",
        "0x1F",
        ".inf",
        "yes",
        "~",
        "# ",
        "a: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n",
    ];
    mutate::run(&corpus("yaml"), WORDS, |input| match patch::yaml(input) {
        Ok((value, _)) => {
            // Aliases may make it larger, but not without bound.
            assert!(value.to_string().len() < 64 << 20);
            format!("{}", value.is_object())
        }
        Err(failure) => failure.message,
    });
}

#[test]
fn certificates_and_requests() {
    mutate::run(
        &corpus("der"),
        &[
            "\x30\x02\x01\x00",
            "\x06\x03\x55\x04\x03",
            "\x0c\x01a",
            "\x31\x00",
            "\x30\x7f",
            "\x02\x01\x00",
            "\x03\x02\x05",
        ],
        |input| {
            let mut said = String::new();
            if let Some(names) = der::subject(input) {
                said.push_str(&format!("subject {} ", names.len()));
            }
            if let Some(names) = der::names(input) {
                said.push_str(&format!("names {} ", names.len()));
            }
            if let Some((tag, _, _)) = der::element(input) {
                said.push_str(if tag == 0x30 { "sequence" } else { "other" });
            }
            let pem = x509::pem(input).replace("CERTIFICATE-----", "CERTIFICATE REQUEST-----");
            match x509::Request::read(&pem) {
                Ok(_) => said.push_str(" request"),
                Err(why) => said.push_str(why),
            }
            said
        },
    );
    mutate::run(
        &corpus("pem"),
        &[
            "-----BEGIN CERTIFICATE REQUEST-----",
            "-----END CERTIFICATE REQUEST-----",
            "\n",
            "====",
            "MII",
        ],
        |input| {
            x509::Request::read(&text(input))
                .err()
                .unwrap_or("read")
                .to_string()
        },
    );
}

#[test]
fn signed_tokens() {
    let key = rcgen::KeyPair::generate().expect("key");
    let keyring = Keyring::read(&Secret::from(key.serialize_pem()), &[]).expect("keyring");
    let rules = || {
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        rules
    };
    let good = keyring.sign(&serde_json::json!({"sub": "a"}));
    assert!(
        keyring
            .open::<Value>(good.reveal_secret(), &rules())
            .is_some()
    );
    mutate::run(
        &corpus("jwt"),
        &[
            ".",
            "..",
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJhbGciOiJFUzI1NiJ9",
            "e30",
            "=",
        ],
        |input| {
            // Nobody else's signature is good, nor is one of another part.
            let opened = keyring.open::<Value>(&text(input), &rules());
            assert!(opened.is_none());
            let mut mixed = good.reveal_secret().as_bytes().to_vec();
            let at = input.len() % mixed.len();
            mixed.splice(at..at, input.iter().copied());
            let taken = keyring.open::<Value>(&text(&mixed), &rules());
            assert!(taken.is_none() || mixed == good.reveal_secret().as_bytes());
            ""
        },
    );
}

#[test]
fn audit_policies() {
    const WORDS: &[&str] = &[
        "level: ",
        "None",
        "Metadata",
        "RequestResponse",
        "rules:",
        "- ",
        "users: [",
        "verbs: [",
        "resources:",
        "group: ",
        "nonResourceURLs: [",
        "omitStages: [",
        "RequestReceived",
        "*",
        "kind: Policy",
        "omitManagedFields: true",
    ];
    mutate::run(&corpus("policies"), WORDS, |input| {
        match Policy::read(&text(input)) {
            Ok(policy) => format!(
                "{:?}",
                policy.decide(&Default::default(), &Default::default())
            ),
            Err(error) => error,
        }
    });
}

#[test]
fn frames_of_streams() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    mutate::run(
        &corpus("frames"),
        &["\0\0\0\0", "\x7f", "\x7e", "\x02", "{\"Width\":"],
        |input| {
            for protocol in ["v5.channel.k8s.io", "base64.channel.k8s.io"] {
                runtime.block_on(ws::carry_bytes(protocol, input));
            }
            ""
        },
    );
}
