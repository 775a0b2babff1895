//! What every answer to a browser carries, and what a browser may not send.
//!
//! The session cookie becomes an `Authorization` header here, so that the routes know one form
//! only. Requests that change something and come from another origin are refused; with the
//! cookie's `SameSite=Strict` this is the second lock on the same door.

use super::session::COOKIE;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                   connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; \
                   frame-ancestors 'none'";

pub(super) async fn guard(mut request: Request, next: Next) -> Response {
    let cookie = cookie_token(request.headers());
    if let Some(token) = cookie.filter(|_| !request.headers().contains_key("authorization")) {
        let upgrade = request.headers().contains_key("upgrade");
        let changes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if (changes || upgrade) && !same_origin(request.headers()) {
            return super::plain(
                StatusCode::FORBIDDEN,
                "refused: the request comes from another origin",
            );
        }
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            request.headers_mut().insert("authorization", value);
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers
        .entry("content-security-policy")
        .or_insert(HeaderValue::from_static(CSP));
    response
}

fn cookie_token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers
        .get_all("cookie")
        .iter()
        .filter_map(|v| v.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_string())
        .filter(|value| !value.is_empty())
}

fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, o)| o == host),
        // Browsers send Origin with every request that could do harm; without one it is none.
        (None, _) => {
            text("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().expect("name"), v.parse().expect("value")))
            .collect()
    }

    #[test]
    fn only_the_own_origin_may_change_things() {
        assert!(same_origin(&headers(&[
            ("origin", "http://a:1"),
            ("host", "a:1")
        ])));
        assert!(!same_origin(&headers(&[
            ("origin", "http://evil"),
            ("host", "a:1")
        ])));
        assert!(!same_origin(&headers(&[
            ("sec-fetch-site", "cross-site"),
            ("host", "a:1")
        ])));
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=b; towpath_session=abc; c=d")]);
        assert_eq!(cookie_token(&headers).as_deref(), Some("abc"));
    }
}
