//! JSON as upstream writes it, byte for byte, without a tree in between.
//!
//! There are two ways to write a text: most are safe inside of HTML, those of labels are not
//! (their encoder is another one). Numbers of samples are texts.

use towpath_query::promql::{Histogram, Labels};

/// A text that is safe inside of HTML.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    escaped(out, text, true);
}

/// A text of a label.
pub(super) fn plain_text(out: &mut Vec<u8>, text: &str) {
    escaped(out, text, false);
}

fn escaped(out: &mut Vec<u8>, text: &str, html: bool) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            b'<' | b'>' | b'&' if html => b"",
            0xe2 if html
                && bytes.get(at + 1) == Some(&0x80)
                && matches!(bytes.get(at + 2), Some(0xa8 | 0xa9)) =>
            {
                out.extend_from_slice(&bytes[from..at]);
                from = at + 3;
                out.extend_from_slice(if bytes[at + 2] == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if short.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(short);
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// A list, with what writes one entry.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    entries: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (at, entry) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(out, entry);
    }
    out.push(b']');
}

/// An object, field by field.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// The name of the next field; its value is to follow.
    pub(super) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        text(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        text(self.field(name), value);
    }

    pub(super) fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        self.field(name).extend_from_slice(value.as_bytes());
    }

    /// Like [`Object::raw`], with a name that is not made safe for HTML.
    pub(super) fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        plain_text(self.out, name);
        self.out.extend_from_slice(format!(":{value}").as_bytes());
    }

    pub(super) fn number(&mut self, name: &str, value: f64) {
        number(self.field(name), value);
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// The labels of a series.
pub(super) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        plain_text(out, name);
        out.push(b':');
        plain_text(out, value);
    }
    out.push(b'}');
}

/// Milliseconds as seconds.
pub(super) fn timestamp(out: &mut Vec<u8>, ms: i64) {
    use std::io::Write;
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    whole(out, ms / 1000);
    if !ms.is_multiple_of(1000) {
        let _ = write!(out, ".{:03}", ms % 1000);
    }
}

/// A whole number. Replies are made of such ones, mostly.
fn whole(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Milliseconds as seconds, as encoders write plain numbers.
pub(super) fn seconds(out: &mut Vec<u8>, ms: i64) {
    number(out, ms as f64 / 1000.0);
}

/// A number.
pub(super) fn number(out: &mut Vec<u8>, value: f64) {
    use std::io::Write;
    let size = value.abs();
    if size < 9e15 && size.trunc() == size {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        return whole(out, size as u64);
    }
    if !(1e-6..1e21).contains(&size) {
        return out.extend_from_slice(scientific(value).as_bytes());
    }
    // The same digits, sooner, where it writes no exponent.
    let from = out.len();
    let written = serde_json::to_writer(&mut *out, &value).is_ok();
    if !written || out[from..].contains(&b'e') || out.ends_with(b".0") {
        out.truncate(from);
        let _ = write!(out, "{value}");
    }
}

/// A number with an exponent, always.
pub(super) fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return towpath_query::promql::format_number(value);
    }
    let written = format!("{value:e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The value of a sample.
pub(super) fn value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    if value.is_finite() {
        number(out, value);
    } else {
        let name = towpath_query::promql::format_number(value);
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'"');
}

/// A native histogram.
pub(super) fn histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    value(out, histogram.sum);
    let mut found = false;
    for bucket in histogram.plain_buckets().filter(|b| b.count != 0.0) {
        out.extend_from_slice(if found { b"," } else { b",\"buckets\":[" });
        found = true;
        out.push(b'[');
        out.push(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        });
        for bound in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            value(out, bound);
        }
        out.push(b']');
    }
    if found {
        out.push(b']');
    }
    out.push(b'}');
}

/// A time of day as RFC 3339 with as much of a second as there is; nothing is year one.
pub(super) fn time(out: &mut Vec<u8>, nanos: Option<u64>) {
    let Some(nanos) = nanos else {
        text(out, "0001-01-01T00:00:00Z");
        return;
    };
    let whole = towpath_stdx::clock::rfc3339(nanos / 1_000_000_000);
    let rest = nanos % 1_000_000_000;
    if rest == 0 {
        return text(out, &whole);
    }
    let rest = format!("{rest:09}");
    let shown = whole.trim_end_matches('Z');
    text(out, &format!("{shown}.{}Z", rest.trim_end_matches('0')));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_times() {
        for (number, wanted) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1e-7, "1e-07"),
            (0.000001, "0.000001"),
            (1.5, "1.5"),
            (758_507_435_841_439.2, "758507435841439.2"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(written(|o| value(o, number)), format!("\"{wanted}\""));
        }
        assert_eq!(
            written(|o| timestamp(o, 1_435_781_451_007)),
            "1435781451.007"
        );
        assert_eq!(written(|o| timestamp(o, -1)), "-0.001");
        assert_eq!(
            written(|o| time(o, Some(1_500_000_000))),
            "\"1970-01-01T00:00:01.5Z\""
        );
    }

    proptest::proptest! {
        #[test]
        fn digits_are_those_of_the_shortest_text(bits: u64, whole: i64, places in 0i32..12) {
            for number in [f64::from_bits(bits), whole as f64, whole as f64 / 10f64.powi(places)] {
                let size = number.abs();
                if size == 0.0 || (1e-6..1e21).contains(&size) {
                    let text = written(|o| super::number(o, number));
                    // Of two that are as near, Go takes the even one.
                    proptest::prop_assert_eq!(text.parse::<f64>(), Ok(number));
                    proptest::prop_assert_eq!(text.len(), number.to_string().len());
                }
            }
        }
    }

    #[test]
    fn texts() {
        let odd = "a<b>&\"\\\n\u{1}\u{2028}é";
        assert_eq!(
            written(|o| text(o, odd)),
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028é\""
        );
        assert_eq!(
            written(|o| plain_text(o, odd)),
            "\"a<b>&\\\"\\\\\\n\\u0001\u{2028}é\""
        );
    }
}
