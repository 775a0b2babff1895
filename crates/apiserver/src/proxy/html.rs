//! Links in a page, and redirects, that begin at the root of the server that wrote them.

/// Attributes that hold an address.
const LINKS: [&str; 16] = [
    "action",
    "background",
    "cite",
    "classid",
    "codebase",
    "data",
    "formaction",
    "href",
    "icon",
    "longdesc",
    "manifest",
    "poster",
    "profile",
    "src",
    "usemap",
    "content-location",
];

/// An address from the root of a server, as one below the prefix; none where it stays as it is.
pub(super) fn led_back(to: &str, prefix: &str) -> Option<String> {
    let rooted = to.starts_with('/') && !to.starts_with("//");
    (rooted && !to.starts_with(prefix)).then(|| format!("{prefix}{to}"))
}

/// The page with such addresses led back. What is no tag stays as it is.
pub(super) fn rewritten(page: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(page.len() + 256);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        out.push_str(text);
        let Some(end) = end_of(tag) else {
            out.push_str(tag);
            return out;
        };
        let (tag, after) = tag.split_at(end);
        let is_start = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic());
        match is_start {
            true => attributes(tag, prefix, &mut out),
            false => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

// Where a tag or a comment that begins the text ends; quotes may hold `>`.
fn end_of(tag: &str) -> Option<usize> {
    if tag.starts_with("<!--") {
        return tag.find("-->").map(|at| at + 3);
    }
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at + 1),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn attributes(tag: &str, prefix: &str, out: &mut String) {
    let mut rest = tag;
    while let Some(at) = rest.find('=') {
        let (before, value) = rest.split_at(at + 1);
        out.push_str(before);
        let name = before[..at].trim_end();
        let name = name
            .rsplit(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == '/')
            .next()
            .unwrap_or_default();
        let trimmed = value.trim_start();
        out.push_str(&value[..value.len() - trimmed.len()]);
        let (open, inner) = match trimmed.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), &trimmed[1..]),
            _ => (None, trimmed),
        };
        let length = match open {
            Some(quote) => inner.find(quote),
            None => inner.find(|c: char| c.is_whitespace() || c == '>'),
        };
        let (address, after) = inner.split_at(length.unwrap_or(inner.len()));
        out.extend(open);
        let is_link = LINKS.iter().any(|link| name.eq_ignore_ascii_case(link));
        match led_back(address, prefix).filter(|_| is_link) {
            Some(address) => out.push_str(&address),
            None => out.push_str(address),
        }
        rest = match open {
            Some(quote) if after.starts_with(quote) => {
                out.push(quote);
                &after[1..]
            }
            _ => after,
        };
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_from_the_root_are_led_back() {
        let page = "<html><a id=\"/x\" href=\"/a\">/b</a><img src='/c?d=e'/><a href=f><a HREF = /g>\
                    <!-- <a href=\"/h\"> --><a href=\"//other/i\"><a href=\"/p/j\"> 1 < 2";
        let wanted = "<html><a id=\"/x\" href=\"/p/a\">/b</a><img src='/p/c?d=e'/><a href=f><a HREF = /p/g>\
                      <!-- <a href=\"/h\"> --><a href=\"//other/i\"><a href=\"/p/j\"> 1 < 2";
        assert_eq!(rewritten(page, "/p"), wanted);
        assert_eq!(led_back("/p/a", "/p"), None);
        assert_eq!(led_back("http://x/", "/p"), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(page in "[<>a-c ='\"/!-]{0,60}") {
            // A prefix that cannot match makes every change visible and removable.
            let out = rewritten(&page, "\u{1}");
            prop_assert_eq!(out.replace('\u{1}', ""), page);
        }
    }
}
