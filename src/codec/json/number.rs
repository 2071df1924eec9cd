//! Numbers, byte by byte (RFC 8259 §6).

/// Where inside a number we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// After the sign.
    Sign,
    /// After a leading zero.
    Zero,
    /// Inside the whole part.
    Whole,
    /// After the point.
    Point,
    /// Inside the fraction.
    Fraction,
    /// After `e`.
    Exponent,
    /// After the exponent's sign.
    ExponentSign,
    /// Inside the exponent.
    Power,
}

impl Number {
    /// A number that begins with `byte`; none where none can.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Sign),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Whole),
            _ => None,
        }
    }

    /// After one more byte; none where `byte` is not part of the number.
    pub(super) fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Sign, b'0') => Some(Self::Zero),
            (Self::Sign, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }

    /// Whether a number may end here.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Zero | Self::Whole | Self::Fraction | Self::Power => true,
            Self::Sign | Self::Point | Self::Exponent | Self::ExponentSign => false,
        }
    }
}
