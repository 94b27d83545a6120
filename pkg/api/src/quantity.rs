//! Quantities of resources (`100m`, `1.5Gi`, `2e3`): exact decimal numbers that remember the family
//! of suffix they were written with, and print in Kubernetes' canonical form.

mod arithmetic;
mod parse;

use arithmetic::{digits, pow10};
use serde_json::Value;
use std::fmt;

/// Why a quantity was not understood; the texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// More digits than can be kept.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// A suffix that means nothing.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The family of suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `2e3`
    DecimalExponent,
    /// `2Ki`
    BinarySi,
    /// `2k`
    DecimalSi,
}

/// An exact amount, `mantissa * 10^scale`; no more precise than a billionth (finer amounts are
/// rounded away from zero, so that who asks for something gets something).
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    format: Format,
}

impl Quantity {
    /// Nothing, written with decimal suffixes.
    pub const ZERO: Quantity = Quantity::new(0);

    /// A whole number, written with decimal suffixes.
    pub const fn new(value: i64) -> Self {
        Quantity {
            mantissa: value as i128,
            scale: 0,
            format: Format::DecimalSi,
        }
    }

    /// `value` thousandths.
    pub const fn from_milli(value: i64) -> Self {
        Quantity {
            mantissa: value as i128,
            scale: -3,
            format: Format::DecimalSi,
        }
    }

    /// A whole number, written with binary suffixes where it is a multiple of them.
    pub const fn bytes(value: i64) -> Self {
        Quantity {
            mantissa: value as i128,
            scale: 0,
            format: Format::BinarySi,
        }
    }

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse::parse(text)
    }

    /// Reads a quantity from JSON: a string, a number, or null, which is zero.
    pub fn from_json(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Null => Ok(Self::ZERO),
            _ => Err(QuantityError::Format),
        }
    }

    /// The family of suffixes.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether it is zero.
    pub const fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// Whether it is less than zero.
    pub const fn is_negative(&self) -> bool {
        self.mantissa < 0
    }

    /// The whole number, rounded away from zero, at most what an `i64` holds.
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// In thousandths, rounded away from zero, at most what an `i64` holds.
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3)
    }

    fn scaled(&self, scale: i32) -> i64 {
        let value = self.mantissa_at(scale);
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }

    /// The mantissa if the scale were `scale`: rounded away from zero, capped at an `i128`.
    fn mantissa_at(&self, scale: i32) -> i128 {
        let up = i64::from(self.scale) - i64::from(scale);
        if up >= 0 {
            let cap = if self.mantissa < 0 { i128::MIN } else { i128::MAX };
            return match (self.mantissa, pow10(up)) {
                (0, _) => 0,
                (m, Some(factor)) => m.checked_mul(factor).unwrap_or(cap),
                (_, None) => cap,
            };
        }
        match pow10(-up) {
            Some(divisor) => arithmetic::divide_away(self.mantissa, divisor),
            None => self.mantissa.signum(),
        }
    }

    /// The same amount, no finer than `10^scale`, rounded away from zero.
    #[must_use]
    pub fn round_up(self, scale: i32) -> Self {
        if self.scale >= scale {
            return self;
        }
        Quantity {
            mantissa: self.mantissa_at(scale),
            scale,
            ..self
        }
    }

    /// As a floating-point number, perhaps less exact.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.scale)
    }

    /// Whether it is a whole number.
    pub fn is_integer(&self) -> bool {
        self.normal().scale >= 0
    }

    /// The same amount with no zeros at the end of the mantissa.
    fn normal(mut self) -> Self {
        if self.mantissa == 0 {
            self.scale = 0;
            return self;
        }
        while self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale += 1;
        }
        self
    }

    fn fmt_decimal(&self, f: &mut fmt::Formatter<'_>, exponent: bool) -> fmt::Result {
        let Quantity {
            mut mantissa,
            mut scale,
            ..
        } = self.normal();
        // Down to a multiple of three, and to the largest suffix there is.
        let by = if !exponent && scale > 18 {
            scale - 18
        } else {
            scale.rem_euclid(3)
        };
        if let Some(shifted) = pow10(i64::from(by)).and_then(|p| mantissa.checked_mul(p)) {
            mantissa = shifted;
            scale -= by;
        }
        match (exponent, scale) {
            (_, 0) => write!(f, "{mantissa}"),
            (false, -9..=18) if scale % 3 == 0 => write!(f, "{mantissa}{}", decimal_suffix(scale)),
            _ => write!(f, "{mantissa}e{scale}"),
        }
    }

    fn fmt_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.mantissa_at(0);
        let mut suffix = 0;
        while value % 1024 == 0 && suffix + 1 < BINARY.len() {
            value /= 1024;
            suffix += 1;
        }
        write!(f, "{value}{}", BINARY[suffix])
    }

    /// The decimal digits before the point, to compare magnitudes.
    fn magnitude(&self) -> i64 {
        i64::from(digits(self.mantissa)) + i64::from(self.scale)
    }
}

/// The suffix of `10^scale`, for the multiples of three from -9 to 18.
fn decimal_suffix(scale: i32) -> &'static str {
    const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    usize::try_from((scale + 9) / 3)
        .ok()
        .and_then(|i| SUFFIXES.get(i))
        .unwrap_or(&"")
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let small = *self > Quantity::new(-1024) && *self < Quantity::new(1024);
        match self.format {
            Format::BinarySi if !small && self.is_integer() => self.fmt_binary(f),
            Format::BinarySi | Format::DecimalSi => self.fmt_decimal(f, false),
            Format::DecimalExponent => self.fmt_decimal(f, true),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// Puts a JSON quantity into its canonical form, as a string. With `milli` it is first rounded up to
/// thousandths (as resource lists are).
pub fn canonicalize(value: &mut Value, milli: bool) -> Result<(), QuantityError> {
    let quantity = Quantity::from_json(value)?;
    let text = if milli { quantity.round_up(-3) } else { quantity }.to_string();
    if value.as_str() != Some(&text) {
        *value = Value::String(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
