//! What is refused, in the words of CoreDNS, and what is only doubted.

use super::*;

#[test]
fn what_is_wrong_is_said_in_the_words_of_coredns() {
    let count = |word| format!("Wrong argument count or unexpected line ending after '{word}'");
    let many = "10.1.0.1 10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.1.0.7 10.1.0.8 \
                10.1.0.9 10.1.0.10 10.1.0.11 10.1.0.12 10.1.0.13 10.1.0.14 10.1.0.15";
    assert_eq!(
        stanza(&format!("forward . {many}")).endpoints().len(),
        UPSTREAMS_MAX
    );
    for (arguments, expected) in [
        (".", count(".")),
        ("", count("forward")),
        ("a..test 127.0.0.1", "unable to normalize 'a..test'".into()),
        (". nope:x", "not an IP address or file: \"nope:x\"".into()),
        (
            ". /etc/nosuch.conf",
            "not an IP address or file: \"/etc/nosuch.conf\"".into(),
        ),
        (
            ". \"127.0.0.1 127.0.0.2\"",
            "not an IP address or file: \"127.0.0.1 127.0.0.2\"".into(),
        ),
        (
            ". 127.0.0.1:70000",
            "not an IP address or file: \"127.0.0.1:70000\"".into(),
        ),
        (
            ". 127.0.0.1:0",
            "not an IP address or file: \"127.0.0.1:0\"".into(),
        ),
        (
            ". [2001:db8::1]",
            "not an IP address or file: \"[2001:db8::1]\"".into(),
        ),
        (". dns://", "invalid address: \"dns://\"".into()),
        (
            ". /etc/empty.conf",
            "no valid upstream addresses found".into(),
        ),
        (
            ". grpc://127.0.0.1",
            "'grpc' is not supported as a destination protocol in forward: grpc://127.0.0.1:443"
                .into(),
        ),
        (
            ". tls:///etc/resolv.conf",
            "not an IP address or file: \"/etc/resolv.conf\"".into(),
        ),
        (
            ". tls://127.0.0.1:x",
            "not an IP address or file: \"127.0.0.1:x\"".into(),
        ),
        (
            ". tls://127.0.0.1%a..b",
            "invalid TLS server name: \"a..b\"".into(),
        ),
        (
            ". tls://127.0.0.1%a.test {\ntls_servername b.test\n}",
            "both forward ('b.test') and proxy level ('a.test') TLS servernames are set for upstream proxy 'tls://127.0.0.1:853'".into(),
        ),
        (
            ". https://127.0.0.1/dns-query",
            "paths are not allowed in HTTPS upstream addresses".into(),
        ),
        (
            &format!(". {many} 10.1.0.16"),
            "more than 15 TOs configured: 16".into(),
        ),
    ] {
        let (config, errors, _) = read(&format!("forward {arguments}"));
        assert_eq!((config, errors), (None, vec![expected]), "{arguments}");
    }
}

#[test]
fn wrong_properties_are_refused_in_the_words_of_coredns() {
    let count = |word| format!("Wrong argument count or unexpected line ending after '{word}'");
    for (property, expected) in [
        ("foo", "unknown property 'foo'".into()),
        ("except", count("except")),
        ("force_tcp yes", count("yes")),
        ("policy best", "unknown policy 'best'".into()),
        ("policy", count("policy")),
        (
            "health_check -1s",
            "health_check can't be negative: -1000000000".into(),
        ),
        (
            "health_check 5",
            "time: missing unit in duration \"5\"".into(),
        ),
        (
            "health_check 5s foo",
            "health_check: unknown option foo".into(),
        ),
        ("health_check 5s domain", count("domain")),
        (
            "health_check 5s domain a..b",
            "health_check: invalid domain name a..b".into(),
        ),
        (
            "max_fails -1",
            "strconv.ParseUint: parsing \"-1\": invalid syntax".into(),
        ),
        (
            "max_concurrent -1",
            "max_concurrent can't be negative: -1".into(),
        ),
        (
            "max_concurrent many",
            "strconv.Atoi: parsing \"many\": invalid syntax".into(),
        ),
        (
            "max_idle_conns -2",
            "max_idle_conns can't be negative: -2".into(),
        ),
        (
            "max_connect_attempts x",
            "strconv.ParseUint: parsing \"x\": invalid syntax".into(),
        ),
        ("expire -1s", "expire can't be negative: -1s".into()),
        (
            "max_age 5s",
            "max_age (5s) must not be less than expire (10s)".into(),
        ),
        ("max_age -5s", "max_age can't be negative: -5s".into()),
        (
            "read_timeout 0s",
            "read_timeout must be positive: 0s".into(),
        ),
        (
            "read_timeout -2s",
            "read_timeout must be positive: -2s".into(),
        ),
        ("next NOPE", "NOPE is not a valid rcode".into()),
        ("next", count("next")),
        ("failover NOPE", "NOPE is not a valid rcode".into()),
        (
            "failover NOERROR",
            "NoError cannot be used in failover".into(),
        ),
        (
            "tls a.pem",
            "error reading a.pem: open a.pem: no such file or directory".into(),
        ),
        ("tls ca.pem", "ca.pem holds no certificate".into()),
        (
            "tls_servername a..b",
            "invalid TLS server name: \"a..b\"".into(),
        ),
        ("tls a b c d", count("d")),
        (
            "doh_method PUT",
            "doh_method must be either POST or GET".into(),
        ),
        (
            "resolver example",
            "resolver must be an IP address or IP:port: \"example\"".into(),
        ),
        ("source_address here", "invalid IP address: here".into()),
        (
            "source_address 2001:db8::1",
            "no upstream is of the address family of 2001:db8::1".into(),
        ),
    ] {
        let (config, errors, _) = read(&format!("forward . 127.0.0.1 {{\n{property}\n}}"));
        assert_eq!((config, errors), (None, vec![expected]), "{property}");
    }
}

#[test]
fn all_faults_of_all_stanzas_are_told_at_once() {
    let (config, errors, _) =
        read("forward a..b nope:x {\npolicy best\nnext NOPE\n}\nforward . 127.0.0.1 {\nfoo\n}");
    assert_eq!(config, None);
    assert_eq!(errors.len(), 5, "{errors:?}");
}

#[test]
fn what_coredns_lets_pass_is_doubted() {
    for (block, expected) in [
        (
            "forward 10.0.0.0/15 127.0.0.1",
            "Unsupported CIDR notation: '10.0.0.0/15' expands to multiple zones. Using only '0.10.in-addr.arpa.'.",
        ),
        (
            "forward . 127.0.0.1 {\nexcept a..b\n}",
            "excepts nothing: zone is not a valid domain name: a..b",
        ),
        (
            "forward . /etc/zone.conf",
            "not an IP address in /etc/zone.conf: \"nonsense\"",
        ),
        (
            "forward . 127.0.0.1 {\ntls_servername a.test\n}",
            "tls_servername has no effect: no upstream is asked over TLS",
        ),
        (
            "forward . 127.0.0.1 {\ntls\n}",
            "tls has no effect: no upstream is asked over TLS",
        ),
        (
            "forward . tls://127.0.0.1 {\ndoh_method GET\n}",
            "doh_method has no effect: no upstream is asked over HTTPS",
        ),
        (
            "forward . 127.0.0.1 tls://[2001:db8::1]:853 {\nsource_address 10.0.0.1\n}",
            "tls://[2001:db8::1]:853 is of another address family than 10.0.0.1 and is not asked",
        ),
        ("forward . resolv.cnf", "no such file; taken as a host name"),
        ("forward . resolv", "no such file; taken as a host name"),
        (
            "forward . 1.1.1.1:853",
            "is asked without TLS, though 853 is the port of DNS over TLS: did you mean tls://1.1.1.1:853",
        ),
        (
            "forward . dns.test:853",
            "is asked without TLS, though 853 is the port of DNS over TLS: did you mean tls://dns.test:853",
        ),
        (
            "forward . 127.0.0.1\nforward a.test 127.0.0.2",
            "is never asked: all its names go to the forward of . above",
        ),
        (
            "forward a.test 127.0.0.1 {\nexcept b.a.test\n}\nforward c.a.test 127.0.0.2",
            "is never asked: all its names go to the forward of a.test. above",
        ),
        (
            "forward . 127.0.0.1 {\nnext NXDOMAIN\n}",
            "next leads nowhere: no forward behind this one is for the same names",
        ),
        (
            "forward a.test 127.0.0.1 {\nnext_on_nodata\n}\nforward b.test 127.0.0.2",
            "next_on_nodata leads nowhere: no forward behind this one is for the same names",
        ),
    ] {
        let (config, errors, warnings) = read(block);
        assert!(config.is_some(), "{block}: {errors:?}");
        assert_eq!(warnings, [expected], "{block}");
    }
}

#[test]
fn what_can_be_meant_is_not_doubted() {
    for block in [
        "forward . dns.test kube-dns.kube-system dnsmasq:53 dnsmasq.",
        "forward . dns://127.0.0.1:853 tls://127.0.0.2:853",
        "forward a.test 127.0.0.1\nforward . 127.0.0.2",
        "forward . 127.0.0.1 {\nexcept b.a.test\n}\nforward a.test 127.0.0.2",
        "forward . 127.0.0.1 {\nexcept test\n}\nforward a.test 127.0.0.2",
        "forward . 127.0.0.1 {\nnext NXDOMAIN\n}\nforward a.test 127.0.0.2",
    ] {
        let (config, errors, warnings) = read(block);
        assert!(config.is_some(), "{block}: {errors:?}");
        assert_eq!(warnings, Vec::<String>::new(), "{block}");
    }
}
