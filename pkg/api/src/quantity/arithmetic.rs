//! Comparing, adding and subtracting quantities, exactly.

use super::Quantity;
use std::cmp::Ordering;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// `10^exponent`, if an `i128` holds it.
pub(super) fn pow10(exponent: i64) -> Option<i128> {
    10i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// How many decimal digits `n` has; none for zero.
pub(super) fn digits(n: i128) -> u32 {
    n.unsigned_abs().checked_ilog10().map_or(0, |log| log + 1)
}

/// `n / divisor`, rounded away from zero.
pub(super) fn divide_away(n: i128, divisor: i128) -> i128 {
    let quotient = n / divisor;
    if n % divisor == 0 {
        quotient
    } else {
        quotient + n.signum()
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let (sign, other_sign) = (self.mantissa.signum(), other.mantissa.signum());
        if sign != other_sign || sign == 0 {
            return sign.cmp(&other_sign);
        }
        let by_size = match self.magnitude().cmp(&other.magnitude()) {
            // As many digits before the point: the finer scale holds both.
            Ordering::Equal => {
                let scale = self.scale.min(other.scale);
                self.mantissa_at(scale).abs().cmp(&other.mantissa_at(scale).abs())
            }
            unequal => unequal,
        };
        if sign < 0 { by_size.reverse() } else { by_size }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    /// Equal amounts are equal however they are written.
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

impl Add for Quantity {
    type Output = Quantity;

    /// The sum, in the format of the left side (of the right, if the left is zero); capped where an
    /// `i128` ends.
    fn add(self, other: Quantity) -> Quantity {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (a, b) = (self.normal(), other.normal());
        let scale = a.scale.min(b.scale);
        Quantity {
            mantissa: a.mantissa_at(scale).saturating_add(b.mantissa_at(scale)),
            scale,
            ..self
        }
    }
}

impl Neg for Quantity {
    type Output = Quantity;
    fn neg(self) -> Quantity {
        Quantity {
            mantissa: self.mantissa.saturating_neg(),
            ..self
        }
    }
}

impl Sub for Quantity {
    type Output = Quantity;
    fn sub(self, other: Quantity) -> Quantity {
        self + -other
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(quantities: I) -> Quantity {
        quantities.fold(Quantity::ZERO, Add::add)
    }
}
