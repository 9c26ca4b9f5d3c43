//! The integer arithmetic of `define-eval()` (format §2.7).

use crate::{caps, metaconf::parse_u64};

/// Suffixes and what they multiply by; longer ones first.
const SUFFIXES: [(&str, i64); 9] = [
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("c", 1),
    ("w", 2),
    ("b", 512),
];

/// Computes an expression.
pub(super) fn eval(text: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the expression is not UTF-8")?;
    let mut parser = Parser { rest: text, depth: 0 };
    let value = parser.sum().ok_or_else(|| format!("'{text}' cannot be computed"))?;
    parser.blanks();
    if parser.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("'{text}' has something behind its end"))
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, mark: char) -> bool {
        self.blanks();
        let found = self.rest.strip_prefix(mark);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn sum(&mut self) -> Option<i64> {
        let mut value = self.product()?;
        loop {
            value = if self.eat('+') {
                value.checked_add(self.product()?)?
            } else if self.eat('-') {
                value.checked_sub(self.product()?)?
            } else {
                return Some(value);
            };
        }
    }

    fn product(&mut self) -> Option<i64> {
        let mut value = self.power()?;
        loop {
            value = if self.eat('*') {
                value.checked_mul(self.power()?)?
            } else if self.eat('/') {
                value.checked_div(self.power()?)?
            } else {
                return Some(value);
            };
        }
    }

    fn power(&mut self) -> Option<i64> {
        let base = self.unary()?;
        if !self.eat('^') {
            return Some(base);
        }
        self.enter()?;
        let exponent = self.power()?;
        self.depth -= 1;
        base.checked_pow(u32::try_from(exponent).ok()?)
    }

    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= caps::EXPRESSION_DEPTH_MAX).then_some(())
    }

    fn unary(&mut self) -> Option<i64> {
        if self.eat('-') {
            self.enter()?;
            let value = self.unary()?.checked_neg();
            self.depth -= 1;
            return value;
        }
        if !self.eat('(') {
            return self.number();
        }
        self.enter()?;
        let value = self.sum()?;
        self.depth -= 1;
        self.eat(')').then_some(value)
    }

    fn number(&mut self) -> Option<i64> {
        let hex = self.rest.starts_with("0x") || self.rest.starts_with("0X");
        let skip = if hex { 2 } else { 0 };
        let belongs = |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        let len = skip
            + self.rest[skip..]
                .find(|c| !belongs(c))
                .unwrap_or(self.rest.len() - skip);
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        let value = i64::try_from(parse_u64(digits.as_bytes())?).ok()?;
        for (suffix, factor) in SUFFIXES {
            if let Some(rest) = self.rest.strip_prefix(suffix) {
                self.rest = rest;
                return value.checked_mul(factor);
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_follows_the_usual_rules() {
        for (text, value) in [
            ("1K + 1", 1025),
            (" 2 + 3 * 4 ^ 2 ", 50),
            ("(63 + 1025) * -2", -2176),
            ("10 / 3 - 1", 2),
            ("0x10 + 010", 24),
            ("4MB", 4_000_000),
            ("2b", 1024),
        ] {
            assert_eq!(eval(text.as_bytes()), Ok(value), "{text}");
        }
        for bad in [
            "",
            "1 +",
            "(1",
            "1)",
            "1 / 0",
            "9999999999999999999",
            "2 ^ 99",
            "x",
            "1 2",
        ] {
            assert!(eval(bad.as_bytes()).is_err(), "{bad}");
        }
        for (depth, good) in [
            (caps::EXPRESSION_DEPTH_MAX, true),
            (caps::EXPRESSION_DEPTH_MAX + 1, false),
            (10_000, false),
        ] {
            let text = format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
            assert_eq!(eval(text.as_bytes()).is_ok(), good);
        }
        assert!(eval("-".repeat(10_000).as_bytes()).is_err());
    }
}
