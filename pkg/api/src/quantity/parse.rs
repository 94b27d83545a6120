//! Reading quantities.

use super::arithmetic::pow10;
use super::{Format, Quantity, QuantityError};

/// Nothing is kept finer than a billionth.
const FINEST: i32 = -9;
/// More digits than this are not kept exactly.
const MAX_DIGITS: usize = 37;

enum Suffix {
    Binary(u32),
    Decimal(i32, Format),
}

pub(super) fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let (negative, rest) = match text.as_bytes().first() {
        None => return Err(QuantityError::Format),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let (whole, rest) = split_digits(rest);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    check_suffix_form(rest)?;
    let suffix = interpret(rest).ok_or(QuantityError::Suffix)?;
    let (magnitude, scale) = number(whole, fraction)?;
    let mantissa = if negative { -magnitude } else { magnitude };
    Ok(match suffix {
        Suffix::Binary(bits) => binary(mantissa, scale, bits),
        Suffix::Decimal(exponent, format) => {
            let scale = scale.saturating_add(exponent);
            Quantity {
                mantissa,
                scale,
                format,
            }
            .round_up(FINEST)
        }
    })
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.bytes()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`
fn check_suffix_form(suffix: &str) -> Result<(), QuantityError> {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(QuantityError::Format)
    }
}

fn interpret(suffix: &str) -> Option<Suffix> {
    let decimal = |exponent| Some(Suffix::Decimal(exponent, Format::DecimalSi));
    match suffix {
        "Ki" => Some(Suffix::Binary(10)),
        "Mi" => Some(Suffix::Binary(20)),
        "Gi" => Some(Suffix::Binary(30)),
        "Ti" => Some(Suffix::Binary(40)),
        "Pi" => Some(Suffix::Binary(50)),
        "Ei" => Some(Suffix::Binary(60)),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some(Suffix::Decimal(exponent, Format::DecimalExponent))
        }
    }
}

/// The digits as one number and its scale.
fn number(whole: &str, fraction: &str) -> Result<(i128, i32), QuantityError> {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let numeric = |_| QuantityError::Numeric;
    let scale = i32::try_from(fraction.len()).map_err(|_| QuantityError::Numeric)?;
    if whole.len() + fraction.len() <= MAX_DIGITS {
        let mantissa = format!("0{whole}{fraction}").parse().map_err(numeric)?;
        return Ok((mantissa, -scale));
    }
    let places = MAX_DIGITS
        .checked_sub(whole.len())
        .ok_or(QuantityError::Numeric)?;
    // What is cut off is not zero, so the last digit kept is rounded up.
    let mantissa: i128 = format!("0{whole}{}", &fraction[..places])
        .parse()
        .map_err(numeric)?;
    let scale = i32::try_from(places).map_err(|_| QuantityError::Numeric)?;
    Ok((mantissa + 1, -scale))
}

/// `mantissa * 10^scale * 2^bits`, at most what an `i64` holds; less than one is written with decimal
/// suffixes.
fn binary(mut mantissa: i128, mut scale: i32, bits: u32) -> Quantity {
    let factor = 1i128 << bits;
    while scale < 0 && mantissa.checked_mul(factor).is_none() {
        mantissa = super::arithmetic::divide_away(mantissa, 10);
        scale += 1;
    }
    let mantissa = mantissa.saturating_mul(factor);
    let amount = Quantity {
        mantissa,
        scale,
        format: Format::BinarySi,
    }
    .round_up(FINEST);
    let cap = Quantity::bytes(i64::MAX);
    if amount > cap {
        cap
    } else if amount < -cap {
        -cap
    } else if pow10(i64::from(-amount.scale)).is_some_and(|one| amount.mantissa.abs() < one) {
        Quantity {
            format: Format::DecimalSi,
            ..amount
        }
    } else {
        amount
    }
}
