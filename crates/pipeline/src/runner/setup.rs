//! `actions/setup-*`: the tool must be on the runner image already, in the version asked for.
//! Nothing is downloaded behind the user's back.

use super::step::Context;

// Program, its version arguments, inputs with the version and with a file that names it.
struct Tool {
    name: &'static str,
    programs: &'static [&'static str],
    args: &'static [&'static str],
    version: &'static str,
    file: &'static str,
}

const TOOLS: [Tool; 7] = [
    Tool {
        name: "go",
        programs: &["go"],
        args: &["version"],
        version: "go-version",
        file: "go-version-file",
    },
    Tool {
        name: "node",
        programs: &["node"],
        args: &["--version"],
        version: "node-version",
        file: "node-version-file",
    },
    Tool {
        name: "python",
        programs: &["python3", "python"],
        args: &["--version"],
        version: "python-version",
        file: "python-version-file",
    },
    Tool {
        name: "java",
        programs: &["java"],
        args: &["-version"],
        version: "java-version",
        file: "java-version-file",
    },
    Tool {
        name: "dotnet",
        programs: &["dotnet"],
        args: &["--version"],
        version: "dotnet-version",
        file: "",
    },
    Tool {
        name: "ruby",
        programs: &["ruby"],
        args: &["--version"],
        version: "ruby-version",
        file: "",
    },
    Tool {
        name: "rust",
        programs: &["rustc"],
        args: &["--version"],
        version: "toolchain",
        file: "",
    },
];

pub(super) async fn run(
    context: &mut Context<'_>,
    tool: &str,
    reference: &str,
) -> Result<(), String> {
    let tool = TOOLS
        .iter()
        .find(|t| t.name == tool)
        .ok_or_else(|| format!("tool {tool} is unknown"))?;
    let wanted = wanted(context, tool, reference)?;
    let path = context.env.get("PATH").cloned().unwrap_or_default();
    let Some(program) = tool
        .programs
        .iter()
        .find(|p| super::shell::on_path(p, &path))
    else {
        return Err(format!(
            "{} is not on this runner; install it on the machine, or map runs-on to a runner image that has it",
            tool.name
        ));
    };
    let answer = context.ask(program, tool.args).await?;
    let found =
        version_in(&answer).ok_or_else(|| format!("{program} gave no version: {answer}"))?;
    if !satisfies(&found, &answer, &wanted) {
        return Err(format!(
            "this runner has {} {found}, the step asks for {wanted}",
            tool.name
        ));
    }
    context.log(&format!("{} {found} is on this runner", tool.name));
    if !context.input("cache").is_empty() {
        context.log(
            "Input cache: the tool's own caches are not kept between runs; use actions/cache.",
        );
    }
    context.output(tool.version, found);
    Ok(())
}

fn wanted(context: &Context<'_>, tool: &Tool, reference: &str) -> Result<String, String> {
    let given = context.input(tool.version);
    if !given.is_empty() {
        return Ok(given.lines().next().unwrap_or_default().trim().to_string());
    }
    if !tool.file.is_empty() && !context.input(tool.file).is_empty() {
        let path = context.places.workspace.join(context.input(tool.file));
        let bytes = towpath_stdx::bounded::read_file(&path, 1 << 20)
            .map_err(|e| format!("read {}: {e}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = text
            .lines()
            .find(|l| l.starts_with("go ") || l.starts_with("golang "))
            .or_else(|| text.lines().next());
        let word = line
            .unwrap_or_default()
            .split_whitespace()
            .last()
            .unwrap_or_default();
        return Ok(word.trim_start_matches('v').to_string());
    }
    // dtolnay/rust-toolchain names the toolchain as its version.
    if tool.name == "rust" && !matches!(reference, "master" | "v1" | "") {
        return Ok(reference.to_string());
    }
    Ok(String::new())
}

// First dotted number of a text.
fn version_in(text: &str) -> Option<String> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let end = text[start..]
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(text.len(), |e| e + start);
    Some(text[start..end].trim_end_matches('.').to_string())
}

fn numbers(text: &str) -> Vec<u64> {
    text.split('.').map_while(|p| p.parse().ok()).collect()
}

/// Whether a version is what `1.26`, `20.x`, `^18`, `>=1.2 <2`, `stable`, `lts/*` mean.
fn satisfies(found: &str, answer: &str, wanted: &str) -> bool {
    let wanted = wanted.trim().trim_matches(['"', '\'']);
    let unstable = answer.contains("-nightly") || answer.contains("-beta");
    match wanted {
        "" | "latest" | "current" | "node" | "*" | "lts/*" => return true,
        "stable" | "oldstable" => return !unstable,
        "nightly" => return answer.contains("-nightly"),
        "beta" => return answer.contains("-beta"),
        _ if wanted.starts_with("lts/") => return true,
        _ => {}
    }
    let have = numbers(found);
    wanted.split("||").any(|range| {
        range.split_whitespace().all(|part| {
            let part = part.trim_start_matches('v');
            let (sign, rest) = match part.find(|c: char| c.is_ascii_digit()) {
                Some(i) => part.split_at(i),
                None => return part == "x" || part == "*",
            };
            let want = numbers(rest);
            let prefix = have.iter().zip(&want).all(|(a, b)| a == b) && have.len() >= want.len();
            match sign.trim() {
                ">=" => have >= want,
                ">" => have > want && !prefix,
                "<" => have < want,
                "<=" => have <= want || prefix,
                "^" => have.first() == want.first() && have >= want,
                "~" => have.iter().zip(&want).take(2).all(|(a, b)| a == b) && have >= want,
                _ => prefix,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        for (found, wanted, expected) in [
            ("1.26.1", "1.26", true),
            ("1.26.1", "1.2", false),
            ("20.19.0", "20", true),
            ("20.19.0", "20.x", true),
            ("20.19.0", "^20.1", true),
            ("20.19.0", ">=18 <20", false),
            ("20.19.0", "18 || 20", true),
            ("3.11.2", "3.12", false),
            ("20.1.0", "lts/*", true),
        ] {
            assert_eq!(
                satisfies(found, found, wanted),
                expected,
                "{found} {wanted}"
            );
        }
        assert_eq!(
            version_in("go version go1.26.1 linux/amd64").unwrap(),
            "1.26.1"
        );
    }
}
