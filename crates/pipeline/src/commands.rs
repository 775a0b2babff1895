//! What steps say to the runner: `::command::` lines and the files behind `GITHUB_ENV` and its
//! kin. Pure.

/// A `::name key=value::data` line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Lower case.
    pub name: String,
    /// Decoded.
    pub properties: Vec<(String, String)>,
    /// Decoded.
    pub data: String,
}

impl Command {
    /// A property, or the empty text.
    pub fn property(&self, name: &str) -> &str {
        self.properties
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map_or("", |(_, v)| v)
    }
}

/// Reads a line; `None` where it is no command.
pub fn parse(line: &str) -> Option<Command> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (head, data) = rest.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return None;
    }
    let properties = properties
        .split(',')
        .filter_map(|p| p.trim().split_once('='))
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, v)| (k.trim().to_string(), decode(v, true)))
        .collect();
    Some(Command {
        name: name.to_ascii_lowercase(),
        properties,
        data: decode(data, false),
    })
}

fn decode(text: &str, property: bool) -> String {
    let mut out = text
        .replace("%0D", "\r")
        .replace("%0d", "\r")
        .replace("%0A", "\n")
        .replace("%0a", "\n");
    if property {
        out = out
            .replace("%3A", ":")
            .replace("%3a", ":")
            .replace("%2C", ",")
            .replace("%2c", ",");
    }
    out.replace("%25", "%")
}

/// Reads `k=v` lines and `k<<DELIMITER` blocks.
pub fn parse_pairs(content: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut lines = content
        .split('\n')
        .map(|l| l.strip_suffix('\r').unwrap_or(l))
        .enumerate();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=');
        let block = line.find("<<");
        match (equals, block) {
            (Some(e), Some(b)) if e < b => {
                pairs.push((line[..e].to_string(), line[e + 1..].to_string()))
            }
            (_, Some(b)) => {
                let (name, delimiter) = (&line[..b], &line[b + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err(format!(
                        "line {}: a block needs a name and a delimiter",
                        number + 1
                    ));
                }
                let mut value: Vec<&str> = Vec::new();
                loop {
                    match lines.next() {
                        Some((_, end)) if end == delimiter => break,
                        Some((_, line)) => value.push(line),
                        None => {
                            return Err(format!(
                                "line {}: delimiter {delimiter:?} never comes",
                                number + 1
                            ));
                        }
                    }
                }
                pairs.push((name.to_string(), value.join("\n")));
            }
            (Some(0), None) => return Err(format!("line {}: the name is missing", number + 1)),
            (Some(e), None) => pairs.push((line[..e].to_string(), line[e + 1..].to_string())),
            (None, None) => {
                return Err(format!(
                    "line {}: neither name=value nor a block",
                    number + 1
                ));
            }
        }
    }
    Ok(pairs)
}

/// Whether a step may set this variable through `GITHUB_ENV`.
pub fn may_set(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    !upper.is_empty()
        && !upper.contains(['=', '\0'])
        && !upper.starts_with("GITHUB_")
        && !upper.starts_with("RUNNER_")
        && upper != "NODE_OPTIONS"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let command = parse("::error file=a%2Cb.rs,line=3,col=5::bad%0Athing 100%25").unwrap();
        assert_eq!(command.name, "error");
        assert_eq!(command.property("file"), "a,b.rs");
        assert_eq!(command.property("line"), "3");
        assert_eq!(command.data, "bad\nthing 100%");
        assert_eq!(parse("  ::GROUP::x").unwrap().name, "group");
        assert_eq!(parse("::x y"), None);
        assert_eq!(parse(":::: nothing"), None);
        assert_eq!(parse("a::b::c"), None);
    }

    #[test]
    fn pairs_are_read() {
        let text = "A=1\r\nB<<END\r\none\r\ntwo=2\r\nEND\r\nC=x<<y\n\nD<<E\nE\n";
        let expected = [("A", "1"), ("B", "one\ntwo=2"), ("C", "x<<y"), ("D", "")];
        let expected: Vec<_> = expected.map(|(a, b)| (a.to_string(), b.to_string())).into();
        assert_eq!(parse_pairs(text).unwrap(), expected);
        assert!(
            parse_pairs("A<<E\nx\n")
                .unwrap_err()
                .contains("never comes")
        );
        assert!(parse_pairs("nothing\n").is_err());
    }

    #[test]
    fn server_variables_are_safe() {
        assert!(may_set("PATH_X"));
        for name in ["GITHUB_SHA", "runner_temp", "NODE_OPTIONS", ""] {
            assert!(!may_set(name), "{name}");
        }
    }
}
