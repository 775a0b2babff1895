//! Forms as `multipart/form-data` (RFC 7578): fields by name. Files are not parameters.

/// The boundary that a content type names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    let kind = parts.next()?.trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("boundary");
        named.then(|| value.trim().trim_matches('"'))
    })?;
    // RFC 2046, section 5.1.1.
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}

/// The fields of a body; what comes behind a broken part is left out.
pub(super) fn fields(body: &[u8], boundary: &str) -> Vec<(String, String)> {
    let open = format!("--{boundary}");
    let edge = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(edge.as_bytes());
    let mut out = Vec::new();
    let mut rest = match body.strip_prefix(open.as_bytes()) {
        Some(rest) => rest,
        // What stands before the first boundary is for people.
        None => match finder.find(body) {
            Some(at) => &body[at + edge.len()..],
            None => return out,
        },
    };
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(end) = finder.find(part) else {
            return out;
        };
        out.extend(field(&part[..end]));
        rest = &part[end + edge.len()..];
    }
    out
}

/// One part, if it is a field and no file.
fn field(part: &[u8]) -> Option<(String, String)> {
    let head_end = memchr::memmem::find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..head_end]).ok()?;
    let value = &part[head_end + 4..];
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let it = name.trim().eq_ignore_ascii_case("content-disposition");
        it.then(|| value.trim())
    })?;
    let parameters = disposition.strip_prefix("form-data")?;
    if parameters.contains("filename") {
        return None;
    }
    let name = parameters.split(';').find_map(|one| {
        let (name, value) = one.trim().split_once('=')?;
        (name.trim() == "name").then(|| value.trim().trim_matches('"'))
    })?;
    let value = String::from_utf8_lossy(value).into_owned();
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nup\r\n\
        --x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nfile\r\n\
        --x\r\ncontent-type: text/plain\r\nContent-Disposition: form-data; name=time\r\n\r\na\r\nb\r\n--x--\r\n";

    #[test]
    fn fields_are_read_and_files_left() {
        let kind = "multipart/form-data; boundary=\"x\"";
        assert_eq!(boundary(kind).as_deref(), Some("x"));
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("text/plain; boundary=x"), None);
        let pairs = fields(BODY.as_bytes(), "x");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(pairs, [("query", "up"), ("time", "a\r\nb")]);
        assert!(fields(&BODY.as_bytes()[..50], "x").is_empty());
        assert!(fields(b"", "x").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            fields(&body, "x");
            fields(&[BODY.as_bytes(), &body].concat(), "x");
            boundary(&String::from_utf8_lossy(&body));
        }
    }
}
