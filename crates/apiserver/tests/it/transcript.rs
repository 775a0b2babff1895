//! What two runs of a command line say, made comparable: times, ages, UIDs, revisions, addresses
//! and names that servers chose become placeholders; widths of columns do not count.

/// Placeholders for what no two runs agree on.
pub(crate) fn normal(text: &str) -> String {
    let mut lines = Vec::new();
    // What a client logs of a watch that it ended itself comes or does not come.
    let said = |line: &&str| !line.contains(" reflector.go:");
    for line in text.lines().filter(said) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        // As `kubectl describe` prints it.
        if let [first, second, revision] = words.as_mut_slice()
            && (first.as_str(), second.as_str()) == ("Resource", "Version:")
        {
            *revision = "NUMBER".into();
        }
        let ages = ages(&words).join(" ");
        lines.push(format!("{}{ages}\n", " ".repeat(indent)));
    }
    lines.concat()
}

// "2 minutes 3 seconds ago" in any split.
fn ages(words: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in words {
        let twice = word == "AGE" && found.last().is_some_and(|last| last == "AGE");
        if !twice {
            found.push(word.clone());
        }
    }
    found
}

fn word(word: &str) -> String {
    if is_age(word) {
        return "AGE".into();
    }
    if word.strip_suffix(')').is_some_and(is_age) {
        return "AGE)".into();
    }
    // Pieces between signs that no name, time or address holds.
    let mut made = String::new();
    let mut piece = String::new();
    for sign in word.chars() {
        if sign.is_alphanumeric() || "-.:+_".contains(sign) {
            piece.push(sign);
        } else {
            made.push_str(&inner(&piece, &made));
            made.push(sign);
            piece.clear();
        }
    }
    made.push_str(&inner(&piece, &made));
    made
}

fn inner(piece: &str, before: &str) -> String {
    let tail = piece.trim_end_matches([':', '.']);
    let rest = &piece[tail.len()..];
    let revision = before.ends_with("resourceVersion\":\"") || before.ends_with("resourceVersion=");
    if is_uid(tail) {
        return format!("UID{rest}");
    }
    if is_time(tail) {
        return format!("TIME{rest}");
    }
    if is_age(tail) && before.ends_with('(') {
        return format!("AGE{rest}");
    }
    if revision || (before.ends_with('"') && is_number(tail) && tail.len() < 7) {
        return format!("NUMBER{rest}");
    }
    if is_number(tail) && (30_000..32_768).contains(&tail.parse::<u32>().unwrap_or(0)) {
        return format!("PORT{rest}");
    }
    if tail.starts_with("10.96.") && tail.split('.').count() == 4 {
        return format!("ADDRESS{rest}");
    }
    format!("{}{rest}", chosen(tail))
}

// `web-5d5f6cf8d4-x7k2p` ends in a part that a server chose.
fn chosen(name: &str) -> String {
    let Some((front, end)) = name.rsplit_once('-') else {
        return name.into();
    };
    let random = |c: char| "bcdfghjklmnpqrstvwxz2456789".contains(c);
    if end.len() == 5 && end.chars().all(random) {
        return format!("{front}-RANDOM");
    }
    name.into()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_uid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

// 12:34:56, 12:34:56.789, 2026-11-21, 2026-11-21T12:34:56Z
fn is_time(text: &str) -> bool {
    let date = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.iter().map(|p| p.len()).eq([4, 2, 2]) && parts.iter().all(|p| is_number(p))
    };
    let time = |text: &str| {
        let text = text.trim_end_matches('Z').split('.').next().unwrap_or("");
        let parts: Vec<&str> = text.split(':').collect();
        parts.iter().map(|p| p.len()).eq([2, 2, 2]) && parts.iter().all(|p| is_number(p))
    };
    match text.split_once('T') {
        Some((day, rest)) => date(day) && time(rest),
        None => date(text) || time(text),
    }
}

// 5s, 2m3s, 1h2m, 4d
fn is_age(text: &str) -> bool {
    let mut digits = 0;
    let mut units = 0;
    for sign in text.chars() {
        match sign {
            '0'..='9' => digits += 1,
            's' | 'm' | 'h' | 'd' if digits > 0 => {
                (digits, units) = (0, units + 1);
            }
            _ => return false,
        }
    }
    units > 0 && digits == 0
}

/// The lines between common beginning and end, ours with `-`, theirs with `+`.
pub(crate) fn difference(ours: &[&str], theirs: &[&str]) -> Vec<String> {
    // Longest common subsequence by rows; outputs here are hundreds of lines at most.
    let (rows, columns) = (ours.len(), theirs.len());
    let mut longest = vec![vec![0u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            longest[row][column] = if ours[row] == theirs[column] {
                longest[row + 1][column + 1] + 1
            } else {
                longest[row + 1][column].max(longest[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut found) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && ours[row] == theirs[column] {
            (row, column) = (row + 1, column + 1);
        } else if column == columns
            || row < rows && longest[row + 1][column] >= longest[row][column + 1]
        {
            found.push(format!("  ours   {}", ours[row]));
            row += 1;
        } else {
            found.push(format!("  theirs {}", theirs[column]));
            column += 1;
        }
    }
    found
}

#[test]
fn what_runs_disagree_on_is_replaced() {
    for (said, wanted) in [
        (
            "web-5d5f6cf8d4-x7k2p   0/1  Pending 0   2m3s",
            "web-5d5f6cf8d4-RANDOM 0/1 Pending 0 AGE",
        ),
        ("  uid: 0a1b2c3d-0000-4000-8000-0123456789ab", "  uid: UID"),
        ("Annotations: a=b (12s ago)", "Annotations: a=b (AGE ago)"),
        ("Normal 3s (x2 over 13s) x", "Normal AGE (x2 over AGE) x"),
        (
            "  creationTimestamp: \"2026-11-21T20:35:53Z\"",
            "  creationTimestamp: \"TIME\"",
        ),
        ("resourceVersion: \"812\"", "resourceVersion: \"NUMBER\""),
        (
            "ClusterIP 10.96.3.7 80:30123/TCP",
            "ClusterIP ADDRESS 80:30123/TCP",
        ),
        (
            "I1121 20:35:53.1 7 reflector.go:664] \"watch ended\"\nok",
            "ok",
        ),
    ] {
        assert_eq!(normal(said).trim_end(), wanted);
    }
}
