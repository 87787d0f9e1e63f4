use std::path::Path;

use super::*;
use crate::corefile::{self, Memory, Severity};

use crate::plugin::forward::endpoint::Speaks;

mod refused;

/// Reads the stanzas of one server block: what they came to, the errors and the warnings.
fn read(block: &str) -> (Option<Config>, Vec<String>, Vec<String>) {
    let outside = Memory::new()
        .file(
            "/etc/resolv.conf",
            "search a.test\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.2\n",
        )
        .file("/etc/empty.conf", "search a.test\n")
        .file(
            "/etc/zone.conf",
            "nameserver fe80::1%7\nnameserver nonsense\n",
        )
        .file("ca.pem", "a certificate");
    read_in(&outside, block)
}

fn read_in(outside: &Memory, block: &str) -> (Option<Config>, Vec<String>, Vec<String>) {
    let text = format!(". {{\n{block}\n}}\n");
    let parsed = corefile::parse(outside, Path::new("Corefile"), text.as_bytes());
    assert!(!parsed.is_refused(), "{block}: {:?}", parsed.diagnostics);
    let scope = Scope {
        zones: &[Name::root()],
        outside,
        snapshots: &crate::plugin::kubernetes::Snapshots::default(),
    };
    let faults = Faults::new();
    let occurrences: Vec<_> = parsed.corefile.blocks[0].occurrences("forward").collect();
    let config = parse(&occurrences, &scope, &faults);
    let (errors, warnings): (Vec<_>, Vec<_>) = faults
        .into_sorted()
        .into_iter()
        .partition(|fault| fault.severity == Severity::Error);
    let said =
        |faults: Vec<corefile::Diagnostic>| faults.into_iter().map(|fault| fault.message).collect();
    (config, said(errors), said(warnings))
}

fn stanza(block: &str) -> Stanza {
    let (config, errors, _) = read(block);
    let config = config.unwrap_or_else(|| panic!("{block}: {errors:?}"));
    config.stanzas.into_iter().next().unwrap()
}

fn with(property: &str) -> Stanza {
    stanza(&format!("forward . 127.0.0.1 127.0.0.2 {{\n{property}\n}}"))
}

fn default_stanza() -> Stanza {
    Stanza {
        from: Name::root(),
        except: Zones::default(),
        to: ["127.0.0.1:53", "127.0.0.2:53"]
            .map(|address| Target::Address(Endpoint::plain(address.parse().unwrap())))
            .to_vec(),
        resolvers: Resolvers::System,
        source_address: None,
        tls: Tls::default(),
        doh_method: DohMethod::Post,
        policy: Policy::Random,
        carriage: Carriage::AsClient,
        read_timeout: Duration::from_secs(2),
        attempts_max: AttemptsMax::TwiceEach,
        max_concurrent: None,
        max_fails: 2,
        health_check: HealthCheck {
            interval: Duration::from_millis(500),
            recursion_desired: true,
            domain: Name::root(),
        },
        all_down: AllDown::AskOne,
        failover: Vec::new(),
        next: Next::default(),
        idle: Idle {
            expire: Duration::from_secs(10),
            max_age: None,
            max: None,
        },
    }
}

#[test]
fn without_properties_the_defaults_of_coredns_hold() {
    assert_eq!(stanza("forward . 127.0.0.1 127.0.0.2"), default_stanza());
    assert_eq!(with(""), default_stanza());
}

#[test]
fn each_property_sets_what_it_names_and_nothing_else() {
    type Change = fn(&mut Stanza);
    let rows: &[(&str, Change)] = &[
        ("except a.test 10.0.0.0/8", |stanza| {
            let zones = ["a.test", "10.in-addr.arpa"];
            stanza.except = Zones::new(zones.map(|zone| zone.parse().unwrap()));
        }),
        ("except a.test\nexcept b.test", |stanza| {
            stanza.except = Zones::new(["a.test", "b.test"].map(|zone| zone.parse().unwrap()));
        }),
        ("tls", |_| {}),
        ("force_tcp", |stanza| stanza.carriage = Carriage::Tcp),
        ("prefer_udp", |stanza| stanza.carriage = Carriage::UdpFirst),
        ("prefer_udp\nforce_tcp", |stanza| {
            stanza.carriage = Carriage::Tcp
        }),
        ("policy round_robin", |stanza| {
            stanza.policy = Policy::RoundRobin
        }),
        ("policy sequential", |stanza| {
            stanza.policy = Policy::Sequential
        }),
        ("read_timeout 300ms", |stanza| {
            stanza.read_timeout = Duration::from_millis(300)
        }),
        ("max_connect_attempts 7", |stanza| {
            stanza.attempts_max = AttemptsMax::InAll(NonZeroU32::new(7).unwrap())
        }),
        ("max_connect_attempts 0", |stanza| {
            stanza.attempts_max = AttemptsMax::Unlimited
        }),
        ("max_concurrent 1000", |stanza| {
            stanza.max_concurrent = NonZeroUsize::new(1000)
        }),
        ("max_concurrent 0", |_| {}),
        ("max_fails 0", |stanza| stanza.max_fails = 0),
        ("max_fails 5", |stanza| stanza.max_fails = 5),
        ("health_check 5s", |stanza| {
            stanza.health_check.interval = Duration::from_secs(5)
        }),
        ("health_check 1s no_rec domain Example.org", |stanza| {
            stanza.health_check = HealthCheck {
                interval: Duration::from_secs(1),
                recursion_desired: false,
                domain: "example.org".parse().unwrap(),
            };
        }),
        ("failfast_all_unhealthy_upstreams", |stanza| {
            stanza.all_down = AllDown::Fail
        }),
        ("failover SERVFAIL refused", |stanza| {
            stanza.failover = vec![Rcode::SERVFAIL, Rcode::REFUSED];
        }),
        ("next NXDOMAIN", |stanza| {
            stanza.next.rcodes = vec![Rcode::NXDOMAIN]
        }),
        ("next_on_nodata", |stanza| stanza.next.on_nodata = true),
        ("expire 1m", |stanza| {
            stanza.idle.expire = Duration::from_secs(60)
        }),
        ("max_age 1h", |stanza| {
            stanza.idle.max_age = Some(Duration::from_secs(3600))
        }),
        ("max_age 0s", |_| {}),
        ("max_idle_conns 3", |stanza| {
            stanza.idle.max = NonZeroUsize::new(3)
        }),
        ("max_idle_conns 0", |_| {}),
        ("tls_servername dns.test", |_| {}),
        ("doh_method GET", |stanza| {
            stanza.doh_method = DohMethod::Get
        }),
        ("doh_method POST", |_| {}),
        ("source_address 10.0.0.1", |stanza| {
            stanza.source_address = Some("10.0.0.1".parse().unwrap())
        }),
        (
            "resolver 10.0.0.1 [2001:db8::1]:5353\nresolver 10.0.0.2:54",
            |stanza| {
                let addresses = ["10.0.0.1:53", "[2001:db8::1]:5353", "10.0.0.2:54"];
                stanza.resolvers =
                    Resolvers::These(addresses.map(|address| address.parse().unwrap()).to_vec());
            },
        ),
    ];
    for (property, change) in rows {
        let mut expected = default_stanza();
        change(&mut expected);
        assert_eq!(with(property), expected, "{property}");
    }
}

#[test]
fn upstreams_are_addresses_or_files_of_them() {
    for (to, expected) in [
        ("127.0.0.1", "127.0.0.1:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("dns://127.0.0.1", "127.0.0.1:53"),
        ("dns://127.0.0.1:5353", "127.0.0.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ("fe80::1%3", "[fe80::1%3]:53"),
        ("[fe80::1%3]:5353", "[fe80::1%3]:5353"),
        ("fe80::1%no-such-interface", "[fe80::1]:53"),
        ("/etc/resolv.conf", "10.0.0.2:53 10.0.0.3:53"),
        (
            "/etc/resolv.conf 1.3.4.5",
            "10.0.0.2:53 10.0.0.3:53 1.3.4.5:53",
        ),
        ("/etc/zone.conf", "[fe80::1%7]:53"),
        (
            "127.0.0.1 dns://127.0.0.1:53 127.0.0.2",
            "127.0.0.1:53 127.0.0.2:53",
        ),
    ] {
        let got = stanza(&format!("forward . {to}")).endpoints();
        let got: Vec<String> = got.iter().map(Endpoint::to_string).collect();
        assert_eq!(got.join(" "), expected, "{to}");
    }
}

/// An upstream as it is asked: `scheme://address of name`.
fn spoken(speaks: &Speaks) -> String {
    match speaks {
        Speaks::Plain => "plain".to_owned(),
        Speaks::Secure(secure, name) => format!("{secure:?} {}", name.to_str()),
    }
}

#[test]
fn upstreams_within_tls_have_the_name_that_they_must_prove() {
    for (to, property, expected) in [
        ("tls://9.9.9.9", "", "9.9.9.9:853 Tls 9.9.9.9"),
        ("tls://9.9.9.9:854", "", "9.9.9.9:854 Tls 9.9.9.9"),
        (
            "tls://9.9.9.9%dns.quad9.net",
            "",
            "9.9.9.9:853 Tls dns.quad9.net",
        ),
        (
            "tls://9.9.9.9%dns.quad9.net:854",
            "",
            "9.9.9.9:854 Tls dns.quad9.net",
        ),
        (
            "tls://2620:fe::fe%dns.quad9.net",
            "",
            "[2620:fe::fe]:853 Tls dns.quad9.net",
        ),
        (
            "tls://[2620:fe::fe%dns.quad9.net]:854",
            "",
            "[2620:fe::fe]:854 Tls dns.quad9.net",
        ),
        (
            "tls://9.9.9.9",
            "tls_servername dns.quad9.net",
            "9.9.9.9:853 Tls dns.quad9.net",
        ),
        (
            "tls://1.1.1.1%a.test tls://1.1.1.1%b.test",
            "",
            "1.1.1.1:853 Tls a.test, 1.1.1.1:853 Tls b.test",
        ),
        ("https://9.9.9.9", "", "9.9.9.9:443 Https 9.9.9.9"),
        (
            "https://[2620:fe::fe]:8443",
            "",
            "[2620:fe::fe]:8443 Https 2620:fe::fe",
        ),
        ("quic://9.9.9.9", "", "9.9.9.9:853 Quic 9.9.9.9"),
        (
            "127.0.0.1 tls://127.0.0.1",
            "",
            "127.0.0.1:53 plain, 127.0.0.1:853 Tls 127.0.0.1",
        ),
    ] {
        let stanza = stanza(&format!("forward . {to} {{\n{property}\n}}"));
        let got: Vec<String> = stanza
            .endpoints()
            .iter()
            .map(|to| format!("{} {}", to.address, spoken(&to.speaks)))
            .collect();
        assert_eq!(got.join(", "), expected, "{to} {property}");
    }
}

#[test]
fn upstreams_may_have_names() {
    for (to, property, expected) in [
        ("dns.example.net", "", "dns.example.net.:53 plain"),
        ("DNS.Example.net.:5353", "", "dns.example.net.:5353 plain"),
        ("dns://resolver_1", "", "resolver_1.:53 plain"),
        (
            "tls://dns.example.net",
            "",
            "dns.example.net.:853 Tls dns.example.net",
        ),
        (
            "https://dns.example.net:8443",
            "",
            "dns.example.net.:8443 Https dns.example.net",
        ),
        (
            "quic://dns.example.net%a.test:854",
            "",
            "dns.example.net.:854 Quic a.test",
        ),
        (
            "tls://dns.example.net",
            "tls_servername a.test",
            "dns.example.net.:853 Tls a.test",
        ),
    ] {
        let got = stanza(&format!("forward . {to} {{\n{property}\n}}")).to;
        let [Target::Host(host)] = got.as_slice() else {
            panic!("{to}: {got:?}");
        };
        let got = format!("{}:{} {}", host.name, host.port, spoken(&host.speaks));
        assert_eq!(got, expected, "{to} {property}");
    }
}

#[test]
fn certificates_and_keys_are_read_with_the_corefile() {
    let key = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap();
    let (ours, others) = (
        key(&rcgen::PKCS_ECDSA_P256_SHA256),
        key(&rcgen::PKCS_ECDSA_P256_SHA256),
    );
    let params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&ours).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
    let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let outside = Memory::new()
        .file("cert.pem", certificate.pem())
        .file("key.pem", ours.serialize_pem())
        .file("other.pem", others.serialize_pem())
        .file("broken.pem", broken)
        .file("noise.pem", noise)
        .file("empty.pem", "");
    for (property, expected) in [
        ("tls", None),
        ("tls cert.pem", None),
        ("tls cert.pem key.pem", None),
        ("tls cert.pem key.pem cert.pem", None),
        ("tls empty.pem", Some("empty.pem holds no certificate")),
        ("tls broken.pem", Some("broken.pem is not valid PEM: ")),
        (
            "tls noise.pem",
            Some("noise.pem holds a certificate that cannot be used: "),
        ),
        (
            "tls cert.pem empty.pem",
            Some("empty.pem holds no private key"),
        ),
        (
            "tls cert.pem other.pem",
            Some("other.pem holds a key that does not match the certificate"),
        ),
        ("tls key.pem key.pem", Some("key.pem holds no certificate")),
        (
            "tls cert.pem key.pem key.pem",
            Some("key.pem holds no certificate"),
        ),
        (
            "tls cert.pem nosuch.pem empty.pem",
            Some("error reading nosuch.pem: open nosuch.pem: no such file or directory"),
        ),
    ] {
        let block = format!("forward . tls://127.0.0.1 {{\n{property}\n}}");
        let (config, errors, warnings) = read_in(&outside, &block);
        assert_eq!(warnings.len(), 0, "{property}: {warnings:?}");
        match (expected, errors.as_slice()) {
            (None, []) => assert!(config.is_some(), "{property}"),
            (Some(expected), [error]) => assert!(error.starts_with(expected), "{error}"),
            (expected, errors) => panic!("{property}: {errors:?}, not {expected:?}"),
        }
    }
}

#[test]
fn stanzas_keep_their_order_and_zones_are_normalized() {
    let (config, ..) =
        read("forward A.Test 127.0.0.1\nforward 10.0.0.0/8 127.0.0.2\nforward . 127.0.0.3");
    let zones = config.unwrap().stanzas.into_iter();
    let zones: Vec<String> = zones.map(|stanza| stanza.from.to_string()).collect();
    assert_eq!(zones, ["a.test.", "10.in-addr.arpa.", "."]);
    assert_eq!(read("whoami").0, None, "no stanza is no configuration");
}

#[test]
fn the_properties_of_a_large_corefile_go_together() {
    let got = with(
        "except a.test b.test\nforce_tcp\nexpire 10s\nmax_fails 3\ntls_servername x.test\npolicy round_robin\n\
         health_check 5s no_rec domain example.org\nmax_concurrent 10\nnext NXDOMAIN",
    );
    let expected = Stanza {
        except: Zones::new(["a.test", "b.test"].map(|zone| zone.parse().unwrap())),
        carriage: Carriage::Tcp,
        max_fails: 3,
        policy: Policy::RoundRobin,
        health_check: HealthCheck {
            interval: Duration::from_secs(5),
            recursion_desired: false,
            domain: "example.org".parse().unwrap(),
        },
        max_concurrent: NonZeroUsize::new(10),
        next: Next {
            rcodes: vec![Rcode::NXDOMAIN],
            on_nodata: false,
        },
        ..default_stanza()
    };
    assert_eq!(got, expected);
}
