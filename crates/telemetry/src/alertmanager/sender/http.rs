//! Requests: one connection each, few redirects, bounded answers.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use towpath_alerting::alertmanager::{Access, Answer, Fault, Request};

use super::dial::{Dial, Open};
use super::{later, refused};
use crate::scrape::fetch::{joined, origin};

/// No answer is read further.
const ANSWER_BYTES: usize = 64 << 10;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// Sends a request and takes what is answered.
pub(super) async fn ask(
    dial: &Dial,
    access: &Access,
    request: &Request,
    key: &str,
) -> Result<Answer, Fault> {
    // URLs hold secrets, so that no failure says them.
    let unreadable = || refused("the URL cannot be read");
    let mut uri: Uri = request.url.parse().map_err(|_| unreadable())?;
    let first = origin(&uri).map_err(refused)?;
    let (body, kind) = request.bytes();
    let mut body = Bytes::from(body);
    let mut kind = kind;
    let mut method: Method = request
        .method
        .parse()
        .map_err(|_| refused("the method cannot be read"))?;
    for _ in 0..=MAX_REDIRECTS {
        let own = origin(&uri).map_err(refused)? == first;
        let mut headers = headers(&uri, access, request, key, own)?;
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let (answer, to) = exchange(dial, access, &uri, &method, headers, body.clone()).await?;
        let Some(to) = to.filter(|_| access.follow_redirects) else {
            return Ok(answer);
        };
        uri = joined(&uri, &to).map_err(|_| refused("the address of a redirect cannot be read"))?;
        // As clients do: only 307 and 308 say the same again.
        if ![307, 308].contains(&answer.status) {
            method = Method::GET;
            body = Bytes::new();
            kind = None;
        }
    }
    Err(refused(format!("more than {MAX_REDIRECTS} redirects")))
}

fn headers(
    uri: &Uri,
    access: &Access,
    request: &Request,
    key: &str,
    own: bool,
) -> Result<HeaderMap, Fault> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|e| refused(e.to_string()));
    let mut headers = HeaderMap::new();
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    headers.insert(HOST, value(host)?);
    let agent = concat!("towpath/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert("idempotency-key", value(key)?);
    // Credentials go to the host they are for and to no other one.
    if !own {
        return Ok(headers);
    }
    let mut secret = |name: HeaderName, text: &str, replace: bool| {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| refused("a credential cannot be a header's value"))?;
        value.set_sensitive(true);
        match replace {
            true => drop(headers.insert(name, value)),
            false => drop(headers.append(name, value)),
        }
        Ok::<_, Fault>(())
    };
    if let Some(text) = &access.authorization {
        secret(AUTHORIZATION, text, true)?;
    }
    for (name, text) in &access.headers {
        let name = name
            .parse()
            .map_err(|_| refused(format!("malformed header {name}")))?;
        secret(name, text, false)?;
    }
    for (name, text) in &request.headers {
        let name = name
            .parse()
            .map_err(|_| refused(format!("malformed header {name}")))?;
        secret(name, text, true)?;
    }
    Ok(headers)
}

/// One request on a connection of its own; where the answer is a redirect, where to.
async fn exchange(
    dial: &Dial,
    access: &Access,
    uri: &Uri,
    method: &Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Answer, Option<String>), Fault> {
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = dial.tcp(host, port).await?;
    let stream: Open = match https {
        true => dial.tls(stream, host, &access.tls).await?,
        false => Box::new(stream),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = http::Request::new(Full::new(body));
    *request.method_mut() = method.clone();
    *request.uri_mut() = path
        .parse()
        .map_err(|_| refused("the URL cannot be read"))?;
    *request.headers_mut() = headers;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| later(error.to_string()))?;
    let task = towpath_daemon::spawn("alert connection", async move {
        let _ = connection.await;
    });
    // The connection ends with this, also where the deadline ends it.
    let _end = End(task);
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| later(error.to_string()))?;
    let text = |name: HeaderName| {
        let value = answer.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let to = text(LOCATION)
        .filter(|_| answer.status().is_redirection())
        .map(str::to_owned);
    let made = Answer {
        status: answer.status().as_u16(),
        content_type: text(CONTENT_TYPE).unwrap_or_default().to_owned(),
        retry_after_ms: text(RETRY_AFTER).and_then(retry_after),
        body: String::new(),
    };
    let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect();
    let body = body.await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((Answer { body, ..made }, to))
}

struct End(tokio::task::JoinHandle<()>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long to wait: seconds, or a date, in milliseconds from now.
fn retry_after(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.trim().parse::<i64>() {
        return Some(seconds.saturating_mul(1000).max(0));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    let now = towpath_stdx::Clock::since_epoch(&towpath_stdx::SystemClock).as_millis();
    let wait = at.timestamp().as_millisecond() - i64::try_from(now).ok()?;
    Some(wait.max(0))
}

#[cfg(test)]
mod tests {
    use super::retry_after;

    #[test]
    fn waits_are_read() {
        assert_eq!(retry_after("120"), Some(120_000));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        let far = retry_after("Sat, 06 Nov 2094 08:49:37 GMT");
        assert!(far.is_some_and(|ms| ms > 86_400_000), "{far:?}");
        assert_eq!(retry_after("soon"), None);
    }
}
