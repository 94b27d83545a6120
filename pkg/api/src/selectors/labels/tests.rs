use super::*;
use serde_json::json;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn every_form_selects_what_it_says() {
    let on = labels(&[("a", "b"), ("n", "5"), ("empty", "")]);
    for (selector, want) in [
        ("", true),
        ("a", true),
        ("!a", false),
        ("a=b", true),
        ("a==b", true),
        ("a!=b", false),
        ("x!=b", true),
        ("a in (b, c)", true),
        ("a notin (b)", false),
        ("x notin (b)", true),
        ("x in (b)", false),
        ("n>4", true),
        ("n<5", false),
        ("a>1", false),
        ("empty=", true),
        ("empty in ()", true),
        ("a=b,n=6", false),
        (" a = b , n ", true),
        ("in in (in,notin)", false),
    ] {
        let selector_ = LabelSelector::parse(selector).unwrap();
        assert_eq!(selector_.matches(&on), want, "{selector}");
    }
}

#[test]
fn mistakes_are_told_in_upstreams_words() {
    for (selector, text) in [
        ("a,", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, \
             the value must be an integer",
        ),
    ] {
        assert_eq!(LabelSelector::parse(selector).unwrap_err().0, text, "{selector}");
    }
    let error = LabelSelector::parse("a/b/c=d").unwrap_err().0;
    assert!(error.starts_with("unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label"));
    let error = LabelSelector::parse("a=-").unwrap_err().0;
    assert!(error.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid"));
}

#[test]
fn a_selector_prints_as_it_is_read() {
    for text in [
        "a=b",
        "a in (b,c)",
        "!a",
        "a",
        "a notin (b)",
        "a!=b,c==d",
        "a<3,b>4",
    ] {
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(
        LabelSelector::parse("b,a in (z,y)").unwrap().to_string(),
        "a in (y,z),b"
    );
}

#[test]
fn an_absent_selector_object_selects_nothing_and_an_empty_one_everything() {
    let none = labels(&[]);
    assert!(!LabelSelector::from_object(None).unwrap().matches(&none));
    assert!(
        LabelSelector::from_object(Some(&json!({})))
            .unwrap()
            .matches(&none)
    );
    let both = json!({"matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]});
    let both = LabelSelector::from_object(Some(&both)).unwrap();
    assert!(both.matches(&labels(&[("a", "b")])));
    assert!(!both.matches(&labels(&[("a", "b"), ("c", "d")])));
    let wrong = json!({"matchExpressions": [{"key": "c", "operator": "Like"}]});
    assert_eq!(
        LabelSelector::from_object(Some(&wrong)).unwrap_err().0,
        "\"Like\" is not a valid label selector operator"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z!=<>(), inot/]{0,20}|.{0,12}") {
        let _ = LabelSelector::parse(&text);
    }

    #[test]
    fn what_parses_prints_to_an_equal_selector(text in "[ab!=<>(), 1]{0,12}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string()).unwrap();
            proptest::prop_assert_eq!(again, selector);
        }
    }
}
