use super::*;
use proptest::prelude::*;
use serde_json::json;

fn canonical(text: &str) -> String {
    Quantity::parse(text).unwrap().to_string()
}

#[test]
fn quantities_print_in_canonical_form() {
    for (text, want) in [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("1000", "1k"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("1.5", "1500m"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("2000000", "2M"),
        ("1234567", "1234567"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1.1Ki", "1126400m"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e6", "12e6"),
        ("1e4", "10e3"),
        ("1e-3", "1e-3"),
        ("1E", "1E"),
        ("1000E", "1000E"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("0.0001m", "100n"),
        ("100u", "100u"),
        ("-1.5Gi", "-1536Mi"),
        ("+5", "5"),
        ("9223372036854775807Ki", "9223372036854775807"),
        ("16Ei", "9223372036854775807"),
        ("00012", "12"),
    ] {
        assert_eq!(canonical(text), want, "{text}");
    }
}

#[test]
fn malformed_quantities_are_told_in_upstreams_words() {
    let format = "quantities must match the regular expression \
                  '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    for bad in ["", "abc", "1.2.3", "1 ", "1Kix", "é", "1e3.5"] {
        assert_eq!(Quantity::parse(bad).unwrap_err().to_string(), format, "{bad}");
    }
    for bad in ["1K", "1ki", "1Mii", "1e", "1mm", "1+5", "--1", "1e99999999999"] {
        assert_eq!(Quantity::parse(bad).unwrap_err(), QuantityError::Suffix, "{bad}");
    }
    assert_eq!(
        Quantity::parse(&"9".repeat(60)).unwrap_err(),
        QuantityError::Numeric
    );
}

#[test]
fn equal_amounts_are_equal_however_written() {
    let q = |text| Quantity::parse(text).unwrap();
    assert_eq!(q("1Ki"), q("1024"));
    assert_eq!(q("1000m"), q("1"));
    assert!(q("1.5") > q("1499m"));
    assert!(q("-2") < q("-1"));
    assert!(q("1e100") > q("1E"));
    assert!(q("1n") > q("0"));
}

#[test]
fn sums_are_exact_and_keep_the_left_format() {
    let q = |text| Quantity::parse(text).unwrap();
    assert_eq!((q("100m") + q("0.2")).to_string(), "300m");
    assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
    assert_eq!((q("1Gi") - q("1Gi")).to_string(), "0");
    assert_eq!((q("0") + q("1Mi")).to_string(), "1Mi");
    assert_eq!(
        [q("1"), q("500m")].into_iter().sum::<Quantity>().to_string(),
        "1500m"
    );
}

#[test]
fn values_are_rounded_up() {
    let q = |text| Quantity::parse(text).unwrap();
    assert_eq!((q("1.1").value(), q("1.1").milli_value()), (2, 1100));
    assert_eq!(q("100u").milli_value(), 1);
    assert_eq!(q("1e30").value(), i64::MAX);
    assert_eq!(q("100u").round_up(-3).to_string(), "1m");
}

#[test]
fn json_numbers_become_canonical_strings() {
    for (from, to) in [
        (json!(1), "1"),
        (json!(0.5), "500m"),
        (json!("1024Mi"), "1Gi"),
        (json!(null), "0"),
    ] {
        let mut value = from;
        canonicalize(&mut value, true).unwrap();
        assert_eq!(value, json!(to));
    }
    assert!(canonicalize(&mut json!({}), false).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[+-]?[0-9.]{0,45}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}|.{0,9}") {
        if let Ok(q) = Quantity::parse(&text) {
            let _ = (q.to_string(), q.value(), q.milli_value(), q + q, q - q, q.cmp(&-q));
        }
    }

    #[test]
    fn the_canonical_form_reads_back_to_the_same_amount(
        n in -1_000_000_000_000i64..1_000_000_000_000,
        suffix in prop::sample::select(vec!["", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "e2", "e-4"]),
    ) {
        let q = Quantity::parse(&format!("{n}{suffix}")).unwrap();
        let text = q.to_string();
        let again = Quantity::parse(&text).unwrap();
        prop_assert_eq!(again, q);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn order_and_sum_agree_with_integers(a in any::<i32>(), b in any::<i32>()) {
        let (p, q) = (Quantity::from_milli(a.into()), Quantity::new(b.into()));
        let (x, y) = (i64::from(a), i64::from(b) * 1000);
        prop_assert_eq!(p.cmp(&q), x.cmp(&y));
        prop_assert_eq!((p + q).milli_value(), x + y);
        prop_assert_eq!((p - q).milli_value(), x - y);
    }
}
