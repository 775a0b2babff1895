//! Quoting: words, `key=value` pairs, JSON arrays.

/// Words separated by white space; quotes and escapes stay in them.
pub(crate) fn split(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape
            && quote != Some('\'')
            && let Some(next) = chars.next()
        {
            word.push(next);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// How a list of pairs was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// `a=b c=d`: values with their quotes.
    New(Vec<(String, String)>),
    /// `a b`: one key, the rest is the value.
    Legacy(String, String),
}

/// `ENV` and `LABEL`: pairs, or the old form with a space. The error says what is wrong.
pub(crate) fn pairs(text: &str, escape: char) -> Result<Pairs, String> {
    let words = split(text, escape);
    let Some(first) = words.first() else {
        return Err("needs at least one pair".into());
    };
    if !first.contains('=') {
        let rest = text
            .trim_start()
            .get(first.len()..)
            .unwrap_or_default()
            .trim();
        if rest.is_empty() {
            return Err(format!("{first:?} has no value"));
        }
        return Ok(Pairs::Legacy(first.clone(), rest.to_string()));
    }
    let mut pairs = Vec::new();
    for word in &words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("{word:?} is not of the form name=value"));
        };
        if key.is_empty() {
            return Err("a name is empty".into());
        }
        pairs.push((key.to_string(), value.to_string()));
    }
    Ok(Pairs::New(pairs))
}

/// A JSON array of strings; `None` where it is not one.
pub(crate) fn json(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(
            split(r#"a "b c"  d\ e 'f "g'"#, '\\'),
            ["a", "\"b c\"", "d\\ e", "'f \"g'"]
        );
        assert_eq!(split("", '\\'), Vec::<String>::new());
    }

    #[test]
    fn both_forms_of_pairs() {
        let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
        assert_eq!(
            pairs("a=1 b=\"x y\"", '\\'),
            Ok(Pairs::New(vec![pair("a", "1"), pair("b", "\"x y\"")]))
        );
        assert_eq!(
            pairs("a 1 2", '\\'),
            Ok(Pairs::Legacy("a".into(), "1 2".into()))
        );
        assert!(pairs("a", '\\').is_err());
        assert!(pairs("a=1 b", '\\').is_err());
        assert!(pairs("=1", '\\').is_err());
    }
}
