//! Addresses: one, a range `a-b`, or a network `a/24`.

use std::net::IpAddr;

/// Which addresses are meant, as numbers of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpPattern {
    v4: bool,
    low: u128,
    high: u128,
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (true, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (false, u128::from(v6)),
    }
}

impl IpPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid ip pattern: {text}");
        let address = |text: &str| text.trim().parse().map(number).map_err(|_| invalid());
        if let Some((base, bits)) = text.split_once('/') {
            let (v4, base) = address(base)?;
            let width: u32 = if v4 { 32 } else { 128 };
            let bits: u32 = bits.trim().parse().map_err(|_| invalid())?;
            let host = width.checked_sub(bits).ok_or_else(invalid)?;
            let mask = 1u128.checked_shl(host).map_or(u128::MAX, |bit| bit - 1);
            return Ok(Self {
                v4,
                low: base & !mask,
                high: base | mask,
            });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ((v4, low), (other, high)) = (address(first)?, address(last)?);
        if v4 != other || low > high {
            return Err(invalid());
        }
        Ok(Self { v4, low, high })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Ok(address) = text.trim().parse() else {
            return false;
        };
        let (v4, value) = number(address);
        v4 == self.v4 && (self.low..=self.high).contains(&value)
    }

    /// Whether one of the addresses stands somewhere in a line.
    pub(super) fn found_in(&self, line: &str) -> bool {
        let part = |c: char| c.is_ascii_hexdigit() || c == '.' || (!self.v4 && c == ':');
        line.split(|c: char| !part(c)).any(|word| {
            let word = word.trim_matches('.');
            // The longest address there is has 45 characters.
            word.len() <= 45 && word.len() > 1 && self.matches(word)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::IpPattern;

    #[test]
    fn patterns() {
        let finds = |pattern: &str, line: &str| IpPattern::parse(pattern).map(|p| p.found_in(line));
        assert_eq!(finds("10.0.0.0/8", "from 10.2.3.4:80 ok"), Ok(true));
        assert_eq!(finds("10.0.0.1-10.0.0.9", "from 10.0.0.10"), Ok(false));
        assert_eq!(finds("::1", "from [::1]:80"), Ok(true));
        assert!(finds("10.0.0.0/33", "").is_err());
        assert_eq!(finds("::/0", "at fe80::1"), Ok(true));
    }
}
