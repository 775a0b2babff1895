//! CycloneDX 1.6 as JSON: the same packages give the same bytes, so the same digest.

use crate::Package;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// What the document describes.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// `demo/hello`.
    pub name: String,
    /// `sha256:…` of an image, or a commit id.
    pub version: String,
}

/// Writes the document; the serial number derives from its content and there is no time in it.
pub fn cyclonedx(subject: &Subject, packages: &[Package]) -> Vec<u8> {
    let mut sorted: Vec<&Package> = packages.iter().collect();
    sorted.sort_by_key(|p| (p.purl(), p.file.clone()));
    let mut components: Vec<Value> = Vec::new();
    let mut last = String::new();
    for package in sorted {
        let purl = package.purl();
        if purl == last {
            continue;
        }
        components.push(component(package, &purl));
        last = purl;
    }
    let image = subject.version.starts_with("sha256:");
    let metadata = json!({
        "tools": {"components": [{"type": "application", "name": "towpath"}]},
        "component": {
            "type": if image { "container" } else { "application" },
            "bom-ref": format!("{}@{}", subject.name, subject.version),
            "name": subject.name,
            "version": subject.version,
        },
    });
    let mut document = Map::new();
    document.insert(
        "$schema".into(),
        json!("http://cyclonedx.org/schema/bom-1.6.schema.json"),
    );
    document.insert("bomFormat".into(), json!("CycloneDX"));
    document.insert("specVersion".into(), json!("1.6"));
    document.insert("version".into(), json!(1));
    document.insert("metadata".into(), metadata);
    document.insert("components".into(), Value::Array(components));
    let content = Value::Object(document.clone()).to_string();
    document.insert("serialNumber".into(), json!(serial(content.as_bytes())));
    Value::Object(document).to_string().into_bytes()
}

fn component(package: &Package, purl: &str) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), json!("library"));
    out.insert("bom-ref".into(), json!(purl));
    out.insert("name".into(), json!(package.name));
    out.insert("version".into(), json!(package.version));
    out.insert("purl".into(), json!(purl));
    if !package.file.is_empty() {
        let mut occurrence = Map::new();
        occurrence.insert("location".into(), json!(package.file));
        if package.line > 0 {
            occurrence.insert("line".into(), json!(package.line));
        }
        out.insert("evidence".into(), json!({"occurrences": [occurrence]}));
    }
    Value::Object(out)
}

// A version-8 UUID (RFC 9562) out of the content's hash.
fn serial(content: &[u8]) -> String {
    let mut bytes = Sha256::digest(content)[..16].to_vec();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = towpath_stdx::id::hex(&bytes);
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_packages_same_bytes() {
        let package = |name: &str| Package {
            ecosystem: "npm".into(),
            name: name.into(),
            version: "1.0.0".into(),
            file: "l".into(),
            line: 3,
            ..Package::default()
        };
        let subject = Subject {
            name: "demo/hello".into(),
            version: "sha256:ab".into(),
        };
        let one = cyclonedx(&subject, &[package("b"), package("a"), package("a")]);
        let two = cyclonedx(&subject, &[package("a"), package("b")]);
        assert_eq!(one, two);
        let value: Value = serde_json::from_slice(&one).unwrap();
        assert_eq!(value["specVersion"], "1.6");
        assert_eq!(value["components"].as_array().unwrap().len(), 2);
        assert_eq!(value["components"][0]["purl"], "pkg:npm/a@1.0.0");
        assert!(
            value["serialNumber"]
                .as_str()
                .unwrap()
                .starts_with("urn:uuid:")
        );
    }
}
