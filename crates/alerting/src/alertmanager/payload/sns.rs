//! AWS SNS: a form, signed by version 4.

use serde_json::Value;
use sha2::{Digest, Sha256};
use towpath_query::template::Time;

use super::making::{Making, named};
use super::talk::{Payload, Request, form};
use super::{Way, hash, hex, one};

/// The longest message, and that to a telephone, in bytes.
const MESSAGE_BYTES: (usize, usize) = (256 * 1024, 1600);

pub(super) fn sns(making: &Making<'_>) -> Result<Way, String> {
    let none = serde_json::Map::new();
    let signing = making.of.field("sigv4").and_then(Value::as_object);
    let signing = signing.unwrap_or(&none);
    let text = |name: &str| signing.get(name).and_then(Value::as_str).unwrap_or("");
    for field in ["profile", "role_arn", "external_id"] {
        if !text(field).is_empty() {
            return Err(format!("sigv4.{field} is not supported"));
        }
    }
    let (key, region) = (text("access_key"), text("region"));
    let secret = making.secret_in(signing, "secret_key")?;
    if key.is_empty() || secret.is_empty() {
        return Err("sigv4.access_key and sigv4.secret_key must be given".into());
    }
    if region.is_empty() {
        return Err("sigv4.region must be given".into());
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| pairs.push((name.to_owned(), value));
    put("Action", "Publish".into());
    put("Version", "2010-03-31".into());
    let topic = making.text("topic_arn", "")?;
    if !topic.is_empty() {
        if topic.ends_with(".fifo") {
            let group = hash(&making.message.group_key);
            put("MessageDeduplicationId", group.clone());
            put("MessageGroupId", group);
        }
        put("TopicArn", topic);
    }
    let phone = making.text("phone_number", "")?;
    let most = if phone.is_empty() {
        MESSAGE_BYTES.0
    } else {
        MESSAGE_BYTES.1
    };
    for (name, value) in [
        ("PhoneNumber", phone),
        ("TargetArn", making.text("target_arn", "")?),
        (
            "Subject",
            making.text("subject", &named("sns.default.subject"))?,
        ),
    ] {
        if !value.is_empty() {
            put(name, value);
        }
    }
    let mut message = making.text("message", &named("sns.default.message"))?;
    let mut attributes = Vec::new();
    let own = making.of.field("attributes").and_then(Value::as_object);
    for (name, value) in own.into_iter().flatten() {
        let value = making.fill(value.as_str().unwrap_or_default())?;
        attributes.push((making.fill(name)?, value));
    }
    if message.len() > most {
        let mut end = most;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        attributes.push(("truncated".into(), "true".into()));
    }
    put("Message", message);
    for (at, (name, value)) in attributes.into_iter().enumerate() {
        let entry = format!("MessageAttributes.entry.{}", at + 1);
        put(&format!("{entry}.Name"), name);
        put(&format!("{entry}.Value.DataType"), "String".into());
        put(&format!("{entry}.Value.StringValue"), value);
    }
    let url = match making.text("api_url", "")?.as_str() {
        "" => format!("https://sns.{region}.amazonaws.com/"),
        own if own.matches('/').count() < 3 => format!("{own}/"),
        own => own.to_owned(),
    };
    let signer = Signer {
        key,
        secret: &secret,
        region,
        service: "sns",
        now: making.message.now,
    };
    let headers = signer.sign(&url, &form(&pairs))?;
    Ok(one(Request {
        method: "POST",
        url,
        headers,
        body: Payload::Form(pairs),
    }))
}

struct Signer<'a> {
    key: &'a str,
    secret: &'a str,
    region: &'a str,
    service: &'a str,
    now: i64,
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}

impl Signer<'_> {
    /// Headers that authorize a POST of a form.
    fn sign(&self, url: &str, body: &str) -> Result<Vec<(String, String)>, String> {
        let (_, rest) = url.split_once("://").ok_or("api_url has no scheme")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let at = Time::from_millis(self.now).format("20060102T150405Z");
        let day = &at[..8];
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let canonical = format!(
            "POST\n/{path}\n\ncontent-type:{kind}\nhost:{host}\nx-amz-date:{at}\n\n\
             content-type;host;x-amz-date\n{}",
            hash(body)
        );
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hash(&canonical));
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
        for part in [self.region, self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, text.as_bytes()));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders=content-type;host;x-amz-date, Signature={signature}",
            self.key
        );
        Ok(vec![
            ("X-Amz-Date".into(), at),
            ("Authorization".into(), value),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::{hex, mac};

    #[test]
    fn codes_of_rfc_4231() {
        assert_eq!(
            hex(&mac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&mac(
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
