//! Parameters of a request: its query, and its body where that is a form.
//!
//! Pairs of the body stand before those of the query, so the first value of a name is the one
//! upstream takes. Pairs that cannot be decoded are left out; the first fault is kept for the
//! endpoints that refuse it.

/// The longest body, in bytes.
pub(super) const BODY_BYTES: usize = 10 << 20;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Form {
    pairs: Vec<(String, String)>,
    of_query: usize,
    fault: Option<String>,
}

impl Form {
    pub(super) fn parse(query: &str, body: Option<&[u8]>) -> Self {
        let mut form = Self::default();
        if let Some(body) = body {
            form.add(&String::from_utf8_lossy(body));
        }
        form.of_query = form.pairs.len();
        form.add(query);
        form
    }

    /// The same with a body in parts, whose fields stand behind those of the query.
    pub(super) fn in_parts(query: &str, fields: Vec<(String, String)>) -> Self {
        let mut form = Self::parse(query, None);
        form.pairs.extend(fields);
        form
    }

    fn add(&mut self, text: &str) {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let added = if pair.contains(';') {
                Err("invalid semicolon separator in query".to_owned())
            } else {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                decode(name).and_then(|name| Ok((name, decode(value)?)))
            };
            match added {
                Ok(pair) => self.pairs.push(pair),
                Err(fault) => drop(self.fault.get_or_insert(fault)),
            }
        }
    }

    /// The first value, empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    /// All values of a name.
    pub(super) fn all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let named = self.pairs.iter().filter(move |pair| pair.0 == name);
        named.map(|pair| pair.1.as_str())
    }

    /// The first value in the query of the URL, empty where there is none.
    pub(super) fn of_query(&self, name: &str) -> &str {
        let mut pairs = self.pairs[self.of_query..].iter();
        pairs
            .find(|pair| pair.0 == name)
            .map_or("", |pair| pair.1.as_str())
    }

    /// What could not be decoded.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// A part of a path, its escapes undone; what cannot be is taken as it stands.
pub(super) fn unescaped_path(part: &str) -> String {
    let plus = part.replace('+', "%2B");
    decode(&plus).unwrap_or_else(|_| part.to_owned())
}

fn decode(text: &str) -> Result<String, String> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |at: usize| {
                    bytes
                        .get(at)
                        .and_then(|byte| char::from(*byte).to_digit(16))
                };
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    let end = (at + 3).min(bytes.len());
                    let wrong = String::from_utf8_lossy(&bytes[at..end]).into_owned();
                    return Err(format!(
                        "invalid URL escape {}",
                        towpath_query::promql::quote(&wrong)
                    ));
                };
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    Ok(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_first_and_faults_are_kept() {
        let form = Form::parse("a=1&b=x%20y&c=%zz", Some(b"a=2&match[]=up&match%5B%5D=z"));
        assert_eq!((form.get("a"), form.of_query("a")), ("2", "1"));
        assert_eq!(form.get("b"), "x y");
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["up", "z"]);
        assert_eq!(form.fault(), Some("invalid URL escape \"%zz\""));
    }
}
