//! Cases out of upstream's Go tests: tables of literals, one case per block.

/// The field `name` of a case, if it is one literal or a concatenation of literals.
pub(super) fn field(block: &str, name: &str) -> Option<String> {
    let at = find_field(block, name)?;
    let mut rest = block[at..].trim_start();
    let mut out = String::new();
    loop {
        let (literal, after) = literal(rest)?;
        out += &literal;
        rest = after.trim_start();
        match rest.strip_prefix('+') {
            Some(more) => rest = more.trim_start(),
            None => return Some(out),
        }
    }
}

fn find_field(block: &str, name: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = block[from..].find(name).map(|at| at + from) {
        let after = at + name.len();
        let before = block[..at].chars().next_back();
        if block[after..].starts_with(':') && before.is_none_or(|c| c.is_whitespace() || c == '{') {
            return Some(after + 1);
        }
        from = after;
    }
    None
}

/// A Go string literal at the start of `text`, and what follows it.
pub(super) fn literal(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let end = rest.find('`')?;
        return Some((rest[..end].to_owned(), &rest[end + 1..]));
    }
    let rest = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &rest[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                // Escapes of bytes that are no text: not for a language of texts.
                'x' => return None,
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
    None
}

/// The blocks of a table: lines between `\t{` and `\t},` at the given indentation.
pub(super) fn blocks<'a>(source: &'a str, from: &str, to: &str, indent: &str) -> Vec<&'a str> {
    let start = source.find(from).expect("the table is there");
    let end = source[start..]
        .find(to)
        .map_or(source.len(), |at| at + start);
    let (open, close) = (format!("\n{indent}{{\n"), format!("\n{indent}}},"));
    let mut rest = &source[start..end];
    let mut out = Vec::new();
    while let Some(at) = rest.find(&open) {
        let body = &rest[at + open.len() - 1..];
        let Some(end) = body.find(&close) else { break };
        out.push(&body[..end]);
        rest = &body[end..];
    }
    out
}
