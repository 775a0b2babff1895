//! Rule files and tests of rules beside promtool: the same verdicts, the same texts.

use towpath_alerting::rules;

use crate::peer;

fn own(text: &str) -> Result<(), Vec<String>> {
    let files = |pattern: &str| {
        let path = peer::folder("rules").join(pattern);
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        Ok(vec![(pattern.to_owned(), text)])
    };
    rules::unit::run(text, &files, &|_| true)
}

/// Lines without what differs by nature: colours, the order of lines that say nothing.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn tests_end_as_promtools_do() {
    let promtool = peer::find("promtool");
    for (name, text) in peer::corpus("rules", ".test.yml") {
        let result = own(&text);
        assert_eq!(
            result.is_ok(),
            ["basic.test.yml"].contains(&name.as_str()),
            "{name}: {result:#?}"
        );
        let Some(promtool) = &promtool else { continue };
        let folder = peer::folder("rules");
        let theirs = peer::run(promtool, &folder, &["test", "rules", &name]);
        assert_eq!(theirs.status.success(), result.is_ok(), "{name}");
        // Faults of YAML have words of their own.
        if name.starts_with("unknown") {
            continue;
        }
        let said = String::from_utf8(theirs.stderr).expect("text");
        let said = said.trim_start_matches("  FAILED:\n");
        let ours = result.err().unwrap_or_default().join("\n");
        assert_eq!(lines(said), lines(&ours), "{name}\n{said}\n{ours}");
    }
}

#[test]
fn files_are_judged_as_promtool_does() {
    let promtool = peer::find("promtool");
    for (name, text) in peer::corpus("check", ".yml") {
        let result = rules::read(&text);
        let Some(promtool) = &promtool else { continue };
        let theirs = peer::run(
            promtool,
            &peer::folder("check"),
            &["check", "rules", "--lint=none", &name],
        );
        let said = String::from_utf8(theirs.stderr).expect("text");
        assert_eq!(
            theirs.status.success(),
            result.is_ok(),
            "{name}: {said} {result:?}"
        );
        let Err(findings) = result else { continue };
        if said.contains("yaml: ") || name.starts_with("duration") {
            assert!(findings[0].place.is_some(), "{name}: {findings:?}");
            continue;
        }
        let mut wanted: Vec<String> = said
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{name}: ")))
            .map(str::to_owned)
            .collect();
        // A field that is not there has no place upstream; here it has that of its rule.
        let placeless: Vec<String> = wanted
            .iter()
            .filter_map(|line| line.strip_prefix("0:0: "))
            .map(|line| line.trim_start_matches("0:0: ").to_owned())
            .collect();
        wanted.retain(|line| !line.starts_with("0:0: "));
        wanted.extend(placeless.clone());
        let mut got: Vec<String> = findings
            .iter()
            .map(|finding| {
                let text = finding.to_string();
                let bare = placeless.iter().find(|bare| text.ends_with(*bare));
                bare.cloned().unwrap_or(text)
            })
            .collect();
        wanted.sort();
        got.sort();
        assert_eq!(wanted, got, "{name}: {said}");
    }
}

#[test]
fn the_standard_rules_hold_what_they_promise() {
    for (name, text) in rules::STANDARD {
        let groups = rules::read(text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        for rule in groups.iter().flat_map(|group| &group.rules) {
            let said = ["summary", "runbook"].map(|what| rule.annotations.contains_key(what));
            assert!(!rule.alert || said == [true, true], "{name}: {}", rule.name);
        }
    }
    let files = |_: &str| {
        let all = rules::STANDARD.iter();
        Ok(all
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect())
    };
    for (name, text) in peer::corpus("standard", ".test.yml") {
        let result = rules::unit::run(&text, &files, &|_| true);
        assert!(
            result.is_ok(),
            "{name}:\n{}",
            result.unwrap_err().join("\n")
        );
        let Some(promtool) = peer::find("promtool") else {
            continue;
        };
        // promtool reads files beside each other.
        let folder = std::env::temp_dir().join(format!("towpath-rules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (own, text) in rules::STANDARD {
            let own = own.rsplit('/').next().unwrap_or(own);
            std::fs::write(folder.join(own), text).expect("written");
            let theirs = peer::run(&promtool, &folder, &["check", "rules", own]);
            let said = String::from_utf8_lossy(&theirs.stdout).into_owned()
                + &String::from_utf8_lossy(&theirs.stderr);
            assert!(theirs.status.success(), "{own}: {said}");
        }
        let text = text.replace(
            "[\"*.yml\"]",
            "[nodes.yml, workloads.yml, requests.yml, platform.yml]",
        );
        std::fs::write(folder.join(&name), text).expect("written");
        let theirs = peer::run(&promtool, &folder, &["test", "rules", &name]);
        let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
        let _ = std::fs::remove_dir_all(&folder);
        assert!(theirs.status.success(), "{name}: {said}");
    }
}
