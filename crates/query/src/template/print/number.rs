//! Whole numbers, code points and floats as verbs want them.

use super::super::float;
use super::super::value::Value;
use super::{Printer, to_ascii};
use crate::promql::quote_char;

impl Printer<'_> {
    pub(super) fn integer(&mut self, int: i64, value: &Value, verb: char) {
        let magnitude = int.unsigned_abs();
        let digits = match verb {
            'v' | 'd' => magnitude.to_string(),
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'c' | 'q' | 'U' => return self.code_point(int, verb),
            _ => return self.bad(value, verb),
        };
        let flags = self.flags;
        let mut least = 0;
        if let Some(precision) = flags.precision {
            least = precision;
            if precision == 0 && int == 0 {
                return self.fill(flags.width.unwrap_or(0), false);
            }
        } else if flags.zero && !flags.minus {
            least = flags.width.unwrap_or(0);
            if int < 0 || flags.plus || flags.space {
                least = least.saturating_sub(1);
            }
        }
        let mut text = "0".repeat(least.saturating_sub(digits.len())) + &digits;
        if flags.sharp {
            match verb {
                'b' => text.insert_str(0, "0b"),
                'x' => text.insert_str(0, "0x"),
                'X' => text.insert_str(0, "0X"),
                'o' | 'O' if !text.starts_with('0') => text.insert(0, '0'),
                _ => {}
            }
        }
        if verb == 'O' {
            text.insert_str(0, "0o");
        }
        if int < 0 {
            text.insert(0, '-');
        } else if flags.plus {
            text.insert(0, '+');
        } else if flags.space {
            text.insert(0, ' ');
        }
        self.pad_with(&text, false);
    }

    fn code_point(&mut self, int: i64, verb: char) {
        let c = u32::try_from(int).ok().and_then(char::from_u32);
        match verb {
            'c' => self.pad(c.unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4])),
            'q' => {
                let quoted = quote_char(c.unwrap_or('\u{fffd}'));
                match self.flags.plus {
                    true => self.pad(&to_ascii(&quoted)),
                    false => self.pad(&quoted),
                }
            }
            _ => {
                let width = self.flags.precision.unwrap_or(4).max(4);
                let mut text = format!("U+{:0width$X}", int as u64);
                if let Some(c) = c.filter(|c| self.flags.sharp && !c.is_control()) {
                    text.push_str(&format!(" '{c}'"));
                }
                self.pad_with(&text, false);
            }
        }
    }

    pub(super) fn float(&mut self, float: f64, value: &Value, verb: char) {
        let (form, precision) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return self.bad(value, verb),
        };
        let precision = self.flags.precision.or(precision);
        let mut text = float::format(float, form, precision);
        let negative = float.is_sign_negative() && !float.is_nan();
        let sign = match (negative, self.flags.plus, self.flags.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        if !float.is_finite() {
            // Go writes the sign of an infinity only where it is asked for or negative.
            let sign = if float.is_infinite() && sign.is_empty() {
                "+"
            } else {
                sign
            };
            return self.pad_with(&format!("{sign}{text}"), false);
        }
        if self.flags.sharp && form != 'b' {
            text = sharpened(&text, form, precision);
        }
        let text = format!("{sign}{text}");
        if !sign.is_empty() && self.flags.zero && !self.flags.minus {
            let missing = self.flags.width.unwrap_or(0).saturating_sub(text.len());
            self.out.push_str(sign);
            self.fill(missing, true);
            self.out.push_str(&text[sign.len()..]);
            return;
        }
        self.pad(&text);
    }
}

/// A number with its point and the zeros behind it, which `#` asks for.
fn sharpened(text: &str, form: char, precision: Option<usize>) -> String {
    let mut digits = match form {
        'g' | 'G' | 'x' => precision.map_or(6, |p| p as i64),
        _ => 0,
    };
    let tail = text
        .find(|c| matches!(c, 'p' | 'P') || (matches!(c, 'e' | 'E') && !"xX".contains(form)))
        .unwrap_or(text.len());
    let (number, tail) = text.split_at(tail);
    let mut seen = false;
    for c in number.chars().filter(|c| *c != '.') {
        seen |= c != '0';
        digits -= i64::from(seen);
    }
    let mut out = number.to_owned();
    if !number.contains('.') {
        if number == "0" {
            digits -= 1;
        }
        out.push('.');
    }
    out.push_str(&"0".repeat(digits.max(0) as usize));
    out + tail
}
