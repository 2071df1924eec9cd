//! Numbers as decimals, compared exactly: any length, any power, in constant room.

use std::cmp::Ordering;

/// Digits that are kept: more than any bound has that a configuration can write.
const DIGITS: usize = 40;

/// A number as it is read, byte by byte.
#[derive(Debug, Clone, Default)]
pub struct Decimal {
    is_negative: bool,
    /// Its digits from the first that is not zero on, behind a point: 0.ddd times ten to the power of `point` and `power`.
    digits: Vec<u8>,
    /// A digit other than zero stands behind those that are kept.
    has_more: bool,
    point: i64,
    part: Part,
    power: i64,
    is_power_negative: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    Fraction,
    Power,
}

impl Decimal {
    /// The number that `text` is; it is one of JSON's (RFC 8259 §6).
    pub fn of(text: &str) -> Self {
        let mut decimal = Self::default();
        decimal.push(text.as_bytes());
        decimal
    }

    /// The next bytes of it.
    pub fn push(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.step(*byte));
    }

    fn step(&mut self, byte: u8) {
        match (byte, self.part) {
            (b'-', Part::Power) => self.is_power_negative = true,
            (b'-', _) => self.is_negative = true,
            (b'.', _) => self.part = Part::Fraction,
            (b'e' | b'E', _) => self.part = Part::Power,
            (b'0'..=b'9', Part::Power) => {
                self.power = self.power.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
            }
            (b'0', Part::Whole) if self.digits.is_empty() => {}
            (b'0', Part::Fraction) if self.digits.is_empty() => self.point -= 1,
            (b'0'..=b'9', part) => {
                self.point += i64::from(part == Part::Whole);
                match self.digits.len() < DIGITS {
                    true => self.digits.push(byte),
                    false => self.has_more |= byte != b'0',
                }
            }
            _ => {}
        }
    }

    /// Whether it is more than `bound`.
    pub fn exceeds(&self, bound: &Self) -> bool {
        self.compared(bound) == Ordering::Greater
    }

    /// How the two numbers stand to each other.
    pub fn compared(&self, other: &Self) -> Ordering {
        let by_sign = self.sign().cmp(&other.sign());
        by_sign.then_with(|| match self.sign() {
            0 => Ordering::Equal,
            1.. => self.magnitude(other),
            _ => other.magnitude(self),
        })
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => -1,
        }
    }

    fn power(&self) -> i64 {
        let power = if self.is_power_negative { -self.power } else { self.power };
        self.point.saturating_add(power)
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let digits = |decimal: &Self, at: usize| decimal.digits.get(at).copied().unwrap_or(b'0');
        let by_digits =
            || (0..DIGITS).map(|at| digits(self, at)).cmp((0..DIGITS).map(|at| digits(other, at)));
        let by_power = self.power().cmp(&other.power());
        by_power.then_with(by_digits).then(self.has_more.cmp(&other.has_more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn numbers_are_compared_by_what_they_say() {
        for (one, other, how) in [
            ("4096", "4096", Ordering::Equal),
            ("4096.000", "4096", Ordering::Equal),
            ("4.096e3", "4096", Ordering::Equal),
            ("40960e-1", "4096", Ordering::Equal),
            ("4096.0000000000000000000000000000000000000000000000001", "4096", Ordering::Greater),
            ("4095.9999999999999999999999999999999999999999999999999", "4096", Ordering::Less),
            ("1e6", "4096", Ordering::Greater),
            ("1E+6", "4096", Ordering::Greater),
            ("1e-6", "4096", Ordering::Less),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            ("18446744073709551616", "18446744073709551615", Ordering::Greater),
            ("1e99999999999999999999999", "18446744073709551615", Ordering::Greater),
            ("1e-99999999999999999999999", "0", Ordering::Greater),
            ("0e99999999999999999999999", "0", Ordering::Equal),
            ("-0", "0", Ordering::Equal),
            ("-1e99999999999999999999999", "-5", Ordering::Less),
            ("-4097", "-4096", Ordering::Less),
            ("-4095", "-4096", Ordering::Greater),
            ("0.001", "0.01", Ordering::Less),
            ("10", "9", Ordering::Greater),
            ("0.5", "5e-1", Ordering::Equal),
        ] {
            assert_eq!(Decimal::of(one).compared(&Decimal::of(other)), how, "{one} and {other}");
            assert_eq!(Decimal::of(other).compared(&Decimal::of(one)), how.reverse(), "{other} and {one}");
        }
        let long = format!("1{}", "0".repeat(100_000));
        assert!(Decimal::of(&long).exceeds(&Decimal::of("1e99999")));
        assert!(!Decimal::of(&long).exceeds(&Decimal::of("1e100000")));
    }

    #[test]
    fn whole_numbers_and_halves_are_compared_as_machines_do() {
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let mut number = || (rng.below(4_000_001) as i64 - 2_000_000, rng.below(4));
            let ((one, form), (other, _)) = (number(), number());
            let text = match form {
                0 => one.to_string(),
                1 => format!("{one}.0"),
                2 => format!("{one}00e-2"),
                _ => format!("{one}0E-1"),
            };
            assert_eq!(
                Decimal::of(&text).compared(&Decimal::of(&other.to_string())),
                one.cmp(&other),
                "{text}"
            );
        }
    }
}
