//! Amounts as texts: durations and numbers of bytes, in queries and in labels.

/// The units of bytes, small letters; a single letter stands for thousands.
const BYTES: [(&str, f64); 19] = [
    ("b", 1.0),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("pib", 1_125_899_906_842_624.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("pb", 1e15),
    ("k", 1e3),
    ("m", 1e6),
    ("g", 1e9),
    ("t", 1e12),
    ("p", 1e15),
    ("ki", 1024.0),
    ("mi", 1_048_576.0),
    ("gi", 1_073_741_824.0),
];

/// Reads a number of bytes such as `1.5MiB` or `20 kB`; a number alone is bytes.
pub(super) fn parse_bytes(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].replace(',', "").parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = BYTES.iter().find(|(name, _)| *name == unit)?;
    Some((number * factor).trunc())
}

/// Nanoseconds of a duration: as Go writes them, with days, weeks and years besides.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    crate::go_duration::parse(text).or_else(|| {
        let ms = crate::promql::parse_duration(text).ok()?;
        ms.checked_mul(1_000_000)
    })
}

/// A duration that reads back as the same: whole units from weeks down, the rest as nanoseconds.
pub(super) fn format_duration(ns: i64) -> String {
    if ns == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ns < 0 {
        out.push('-');
    }
    let mut rest = ns.unsigned_abs();
    for (unit, size) in [
        ("h", 3_600_000_000_000u64),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    out
}

/// A number of bytes that reads back as the same.
pub(super) fn format_bytes(bytes: u64) -> String {
    for (unit, size) in [
        ("GiB", 1u64 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("KB", 1_000),
    ] {
        if bytes > 0 && bytes.is_multiple_of(size) && bytes / size < 10_000 {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(parse_bytes("1.5KiB"), Some(1536.0));
        assert_eq!(parse_bytes("20 kB"), Some(20_000.0));
        assert_eq!(parse_bytes("20x"), None);
        assert_eq!(parse_duration("1d"), Some(86_400_000_000_000));
        assert_eq!(parse_duration("1.5s"), Some(1_500_000_000));
        for ns in [1, 1_500, 90_000_000_000, 86_400_000_000_000, -5_000_000_000] {
            assert_eq!(parse_duration(&format_duration(ns)), Some(ns));
        }
        for bytes in [0, 1, 1000, 1024, 20_000_000, 12_345] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes as f64));
        }
    }
}
