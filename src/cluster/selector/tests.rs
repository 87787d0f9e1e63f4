use super::*;

fn labels(text: &str) -> Labels {
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(key, value)| (key.into(), value.into()))
    };
    Labels::new(text.split(',').filter_map(pair).collect())
}

#[test]
fn selects_as_the_api_does() {
    let cases = [
        ("", "", true),
        ("", "app=a", true),
        ("app", "app=", true),
        ("app", "tier=x", false),
        ("!app", "tier=x", true),
        ("!app", "app=a", false),
        ("app=a", "app=a,tier=x", true),
        ("app==a", "app=b", false),
        ("app = a", "app=a", true),
        ("app=", "app=", true),
        ("app=", "tier=x", false),
        ("app!=a", "app=b", true),
        ("app!=a", "app=a", false),
        ("app!=a", "tier=x", true),
        ("app in (a, b),tier=x", "app=b,tier=x", true),
        ("app in (a, b),tier=x", "app=b,tier=y", false),
        ("app in (a, b)", "tier=x", false),
        ("app in ()", "app=", true),
        ("app in (a,)", "app=", true),
        ("app notin (a)", "app=a", false),
        ("app notin (a)", "app=b", true),
        ("app notin (a)", "tier=x", true),
        ("in in (in,notin)", "in=notin", true),
        ("example.com/app=a", "example.com/app=a", true),
    ];
    for (selector, on, selected) in cases {
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(
            parsed.matches(&labels(on)),
            selected,
            "{selector:?} on {on:?}"
        );
    }
}

#[test]
fn canonical_form_is_sorted_and_reads_back_as_itself() {
    let cases = [
        ("", ""),
        ("  app  ", "app"),
        ("! app", "!app"),
        ("tier==x, app in (b , a,b)", "app in (a,b),tier=x"),
        ("app notin (x),!b,c!=d", "app notin (x),!b,c!=d"),
        ("app in (,)", "app in ()"),
        ("app=", "app="),
    ];
    for (written, canonical) in cases {
        let selector: Selector = written.parse().unwrap();
        assert_eq!(selector.to_string(), canonical, "{written:?}");
        assert_eq!(canonical.parse(), Ok(selector), "{written:?} again");
    }
}

#[test]
fn faults_are_worded_as_client_go_does() {
    let cases = [
        (
            "app in (a",
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
        (
            "app in a",
            "unable to parse requirement: found 'a' expected: '('",
        ),
        (
            "app in (",
            "unable to parse requirement: found '', expected: ',', ')' or identifier",
        ),
        (
            "app in (a=)",
            "unable to parse requirement: found '=', expected: ',' or ')'",
        ),
        (
            "app in (a,",
            "unable to parse requirement: found '', expected: ',', or identifier",
        ),
        (
            "app a",
            "unable to parse requirement: found 'a', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "app=(",
            "unable to parse requirement: found '(', expected: identifier",
        ),
        (
            "!",
            "unable to parse requirement: found '', expected: identifier",
        ),
        (
            "=a",
            "found '=', expected: !, identifier, or 'end of string'",
        ),
        ("app,", "found '', expected: identifier after ','"),
        ("app=a b", "found 'b', expected: ',' or 'end of string'"),
        (
            "!app in (a)",
            "found 'in', expected: ',' or 'end of string'",
        ),
        (
            "app>1",
            "unable to parse requirement: \"gt\" isn't supported in label selectors",
        ),
    ];
    for (text, what) in cases {
        let error = text.parse::<Selector>().unwrap_err();
        assert_eq!(error.what, what, "{text:?}");
    }
}

#[test]
fn a_fault_quotes_the_whole_selector() {
    let error = "app in (a".parse::<Selector>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "couldn't parse the selector string \"app in (a\": unable to parse requirement: found '', expected: ',' or ')'"
    );
}

#[test]
fn keys_and_values_obey_the_rules_of_the_api() {
    let long = "x".repeat(64);
    let cases = [
        (
            "-app".to_owned(),
            "<nil>: Invalid value: \"-app\": name part must consist of",
        ),
        ("/app".to_owned(), "prefix part must be non-empty"),
        ("a/".to_owned(), "name part must be non-empty"),
        (
            "A/app".to_owned(),
            "prefix part a lowercase RFC 1123 subdomain",
        ),
        (long.clone(), "name part must be no more than 63 bytes"),
        (format!("app={long}"), "must be no more than 63 bytes"),
        (
            "app=a/b".to_owned(),
            "values[0][app]: Invalid value: \"a/b\": a valid label must be",
        ),
        (
            "app in (a,ü)".to_owned(),
            "values[1][app]: Invalid value: \"ü\"",
        ),
    ];
    for (text, part) in cases {
        let error = text.parse::<Selector>().unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}
