//! Which rows depend on a directive that is not built: for each directive one rule, taken from what its plugin does.
//!
//! A row that no dropped directive reaches is answered by what is left of its Corefile, so it is asked. How many rows
//! are left to which directive is part of every set, so that none slips out unseen.

use std::{collections::BTreeMap, net::IpAddr};

use hickory_proto::rr::Name;
use regex::Regex;

use super::{CLUSTER, questions::Row, reduced::Dropped};

/// Whether a dropped directive may answer a row, or change its answer.
type Rule = fn(&Dropped, &Row) -> bool;

/// The rule of every directive that some set needs and that is not built.
const RULES: &[(&str, Rule)] = &[
    ("acl", acl),
    ("any", any),
    ("autopath", autopath),
    ("chaos", chaos),
    ("dns64", dns64),
    ("hosts", hosts),
    ("k8s_external", k8s_external),
    ("minimal", minimal),
    ("nsid", nsid),
    ("rewrite", rewrite),
    ("template", template),
];

/// How many rows are left to each directive.
pub(super) type Left = BTreeMap<String, usize>;

/// The directive that a row is left to: the first one in the Corefile that reaches it.
pub(super) fn left_to<'a>(dropped: &'a [Dropped], row: &Row) -> Option<&'a str> {
    let reaching = dropped.iter().find(|dropped| {
        let name = dropped.directive.name.text.as_str();
        let rule = RULES.iter().find(|(directive, _)| *directive == name);
        let (_, rule) = rule.unwrap_or_else(|| panic!("no rule says what {name} reaches"));
        rule(dropped, row)
    });
    reaching.map(|dropped| dropped.directive.name.text.as_str())
}

/// Names in its zones.
fn acl(dropped: &Dropped, row: &Row) -> bool {
    let zones: Vec<&str> = dropped.args().collect();
    is_below_any(row, zones, &dropped.zones)
}

/// Questions for ANY.
fn any(_: &Dropped, row: &Row) -> bool {
    row.question.qtype == "ANY"
}

/// Whatever a Pod asks.
fn autopath(_: &Dropped, row: &Row) -> bool {
    let client = row.question.client;
    client.is_some_and(|client| CLUSTER.contains(&format!("podIP: {client}\n")))
}

/// The class CH.
fn chaos(_: &Dropped, row: &Row) -> bool {
    row.question.qclass == "CH"
}

/// AAAA for clients over IPv6; over IPv4 only where `allow_ipv4` says so.
fn dns64(dropped: &Dropped, row: &Row) -> bool {
    let over_ipv4 = row.question.client.is_none_or(|client| client.is_ipv4());
    let allowed = dropped.lines().any(|line| line.name.text == "allow_ipv4");
    row.question.qtype == "AAAA" && (allowed || !over_ipv4)
}

/// The names and the addresses of its lines.
fn hosts(dropped: &Dropped, row: &Row) -> bool {
    let qname = plain(&row.question.qname);
    dropped.lines().any(|line| {
        let Ok(address) = line.name.text.parse::<IpAddr>() else {
            return false;
        };
        let mut names = line.args.iter().map(|name| plain(&name.text));
        names.any(|name| name == qname) || plain(&Name::from(address).to_ascii()) == qname
    })
}

/// Names in its zones; with `fallthrough` those whose records have the TTL of an object of the cluster, as none of
/// the upstream has.
fn k8s_external(dropped: &Dropped, row: &Row) -> bool {
    let falls_through = dropped.lines().any(|line| line.name.text == "fallthrough");
    let of_object = |ttl: &str| dropped.object_ttls.iter().any(|known| known == ttl);
    is_below_any(row, dropped.args().collect(), &dropped.zones)
        && (!falls_through || row.answer.ttls().any(of_object))
}

/// Answers that may have more than answers: of the types for which a server adds addresses (RFC 1035 section 3.3,
/// RFC 2782, RFC 9460 section 4).
fn minimal(_: &Dropped, row: &Row) -> bool {
    row.answer.has_answers() && asks_one_of(row, &["NS", "MX", "SRV", "SVCB", "HTTPS"])
}

/// None: what it adds stands in OPT, and no row asks for it.
fn nsid(_: &Dropped, _: &Row) -> bool {
    false
}

/// Names that its pattern matches; everything where another field than the name is rewritten.
fn rewrite(dropped: &Dropped, row: &Row) -> bool {
    let qname = plain(&row.question.qname);
    let words: Vec<&str> = dropped.args().collect();
    match words.as_slice() {
        ["name", "suffix", suffix, ..] => qname.ends_with(&plain(suffix)),
        ["name", "regex", pattern, ..] => {
            Regex::new(pattern).unwrap().is_match(&format!("{qname}."))
        }
        ["name", from, _] => plain(from) == qname,
        _ => true,
    }
}

/// Its class, its type and its zones.
fn template(dropped: &Dropped, row: &Row) -> bool {
    let words: Vec<&str> = dropped.args().collect();
    let [class, rtype, zones @ ..] = words.as_slice() else {
        panic!("no template: {dropped:?}");
    };
    let matches = |pattern: &str, asked: &str| pattern == "ANY" || pattern == asked;
    matches(class, &row.question.qclass)
        && matches(rtype, &row.question.qtype)
        && is_below_any(row, zones.to_vec(), &dropped.zones)
}

fn asks_one_of(row: &Row, types: &[&str]) -> bool {
    types.contains(&row.question.qtype.as_str())
}

/// Whether the name is in one of the zones, or of the others if there are none.
fn is_below_any(row: &Row, zones: Vec<&str>, others: &[String]) -> bool {
    let zones = match zones.is_empty() {
        true => others.iter().map(String::as_str).collect(),
        false => zones,
    };
    let qname = format!(".{}", plain(&row.question.qname));
    zones.iter().any(|zone| match plain(zone).as_str() {
        "" => true,
        zone => qname.ends_with(&format!(".{zone}")),
    })
}

/// A name in lower case without its last dot.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[test]
fn a_directive_that_is_built_has_no_rule() {
    for (name, _) in RULES {
        assert!(!cairn_dns::config::is_built(name), "{name}");
    }
}
