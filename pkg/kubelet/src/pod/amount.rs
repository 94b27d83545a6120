//! Numbers out of quantities, rounded as Kubernetes rounds them: up.

use kobune_api::quantity::Quantity as Exact;
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Whole units, rounded up. What cannot be parsed counts as 0: the API server has checked it.
pub fn value(quantity: &Quantity) -> i64 {
    Exact::parse(&quantity.0).map_or(0, |q| q.value())
}

/// Thousandths, rounded up.
pub fn milli(quantity: &Quantity) -> i64 {
    Exact::parse(&quantity.0).map_or(0, |q| q.milli_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_round_up() {
        let q = |s: &str| Quantity(s.into());
        assert_eq!(milli(&q("100m")), 100);
        assert_eq!(milli(&q("0.5")), 500);
        assert_eq!(value(&q("100m")), 1);
        assert_eq!(value(&q("1.5Gi")), 1_610_612_736);
        assert_eq!(value(&q("128M")), 128_000_000);
        assert_eq!(value(&q("1e3")), 1000);
        assert_eq!(milli(&q("1u")), 1);
        assert_eq!(value(&q("-2")), -2);
        assert_eq!(value(&q("nonsense")), 0);
    }
}
