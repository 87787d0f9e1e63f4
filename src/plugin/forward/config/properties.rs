//! The block of a `forward` directive.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::value;
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Outside, Unreadable, Word};
use crate::dns::{Name, Rcode, Zones};
use crate::plugin::forward::endpoint::{Secure, Speaks};
use crate::plugin::forward::policy::Policy;
use crate::plugin::forward::tls::{self, FileFault, Tls};

use super::upstreams::{PORT, parse_server_name, socket_address};
use super::{
    AllDown, AttemptsMax, Carriage, DohMethod, HealthCheck, Idle, Next, Resolvers, Stanza, Target,
};

/// The block as written.
pub(super) struct Properties<'a> {
    outside: &'a dyn Outside,
    except: Vec<Name>,
    policy: Policy,
    force_tcp: bool,
    prefer_udp: bool,
    read_timeout: Duration,
    attempts_max: AttemptsMax,
    max_concurrent: Option<NonZeroUsize>,
    max_fails: u32,
    health_check: HealthCheck,
    all_down: AllDown,
    failover: Vec<Rcode>,
    next: Next,
    idle: Idle,
    tls: Option<(Word, Tls)>,
    tls_servername: Option<(Word, ServerName<'static>)>,
    doh_method: Option<(Word, DohMethod)>,
    resolvers: Resolvers,
    source_address: Option<(Word, IpAddr)>,
}

/// Reads the block.
pub(super) fn read<'a>(reader: &Reader<'_>, outside: &'a dyn Outside) -> Option<Properties<'a>> {
    let mut properties = Properties {
        outside,
        except: Vec::new(),
        policy: Policy::Random,
        force_tcp: false,
        prefer_udp: false,
        read_timeout: Duration::from_secs(2),
        attempts_max: AttemptsMax::TwiceEach,
        max_concurrent: None,
        max_fails: 2,
        health_check: HealthCheck::default(),
        all_down: AllDown::AskOne,
        failover: Vec::new(),
        next: Next::default(),
        idle: Idle::default(),
        tls: None,
        tls_servername: None,
        doh_method: None,
        resolvers: Resolvers::System,
        source_address: None,
    };
    reader.block(&mut properties, &rows())?;
    let Idle {
        expire, max_age, ..
    } = properties.idle;
    match max_age {
        Some(age) if age < expire => {
            let message = format!("max_age ({age:?}) must not be less than expire ({expire:?})");
            reader.refuse(reader.name(), message)
        }
        _ => Some(properties),
    }
}

impl Properties<'_> {
    /// What upstreams within TLS must prove to be, if all the same.
    pub(super) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.tls_servername.as_ref().map(|(_, name)| name)
    }

    /// The stanza that these make for a zone and its upstreams.
    pub(super) fn stanza(self, from: Name, to: Vec<Target>, reader: &Reader<'_>) -> Option<Stanza> {
        let to = self.of_family(to, reader)?;
        self.doubt(&to, reader);
        Some(Stanza {
            from,
            except: Zones::new(self.except),
            to,
            resolvers: self.resolvers,
            source_address: self.source_address.map(|(_, address)| address),
            tls: self.tls.map(|(_, tls)| tls).unwrap_or_default(),
            doh_method: self
                .doh_method
                .map_or(DohMethod::Post, |(_, method)| method),
            policy: self.policy,
            carriage: match (self.force_tcp, self.prefer_udp) {
                (true, _) => Carriage::Tcp,
                (false, true) => Carriage::UdpFirst,
                (false, false) => Carriage::AsClient,
            },
            read_timeout: self.read_timeout,
            attempts_max: self.attempts_max,
            max_concurrent: self.max_concurrent,
            max_fails: self.max_fails,
            health_check: self.health_check,
            all_down: self.all_down,
            failover: self.failover,
            next: self.next,
            idle: self.idle,
        })
    }

    /// Without the upstreams that cannot be asked from the source address. CoreDNS keeps them, and every query to them
    /// fails.
    fn of_family(&self, mut to: Vec<Target>, reader: &Reader<'_>) -> Option<Vec<Target>> {
        let Some((word, source)) = &self.source_address else {
            return Some(to);
        };
        to.retain(|target| {
            let others = target.endpoints();
            let mut others = others.iter();
            let other = others.find(|endpoint| endpoint.address.is_ipv4() != source.is_ipv4());
            if let Some(other) = other {
                let message =
                    format!("{other} is of another address family than {source} and is not asked");
                reader.warn(word, message);
            }
            other.is_none() || !matches!(target, Target::Address(_))
        });
        let mut endpoints = to.iter().flat_map(Target::endpoints);
        let can_be_asked = endpoints.any(|endpoint| endpoint.address.is_ipv4() == source.is_ipv4())
            || to.iter().any(|target| matches!(target, Target::Host(_)));
        if can_be_asked {
            return Some(to);
        }
        let message = format!("no upstream is of the address family of {source}");
        reader.refuse(word, message)
    }

    /// Tells of what is said and has no effect.
    fn doubt(&self, to: &[Target], reader: &Reader<'_>) {
        let spoken = || {
            to.iter().filter_map(|target| match target {
                Target::Address(endpoint) => Some(&endpoint.speaks),
                Target::Host(host) => Some(&host.speaks),
                Target::File { .. } => None,
            })
        };
        if spoken().all(|speaks| *speaks == Speaks::Plain) {
            let words = [
                self.tls.as_ref().map(|(word, _)| (word, "tls")),
                self.tls_servername
                    .as_ref()
                    .map(|(word, _)| (word, "tls_servername")),
            ];
            for (word, property) in words.into_iter().flatten() {
                let message = format!("{property} has no effect: no upstream is asked over TLS");
                reader.warn(word, message);
            }
        }
        if let Some((word, _)) = &self.doh_method
            && !spoken().any(|speaks| matches!(speaks, Speaks::Secure(Secure::Https, _)))
        {
            let message = "doh_method has no effect: no upstream is asked over HTTPS";
            reader.warn(word, message);
        }
    }
}

fn rows<'a>() -> [Row<Properties<'a>>; 21] {
    [
        Row::Line("except", except),
        Row::Line("force_tcp", |properties, line| {
            line.none().map(|()| properties.force_tcp = true)
        }),
        Row::Line("prefer_udp", |properties, line| {
            line.none().map(|()| properties.prefer_udp = true)
        }),
        Row::Line("policy", |properties, line| {
            properties.policy = line.choice(line.one()?, "policy", Policy::NAMES)?;
            Some(())
        }),
        Row::Line("read_timeout", read_timeout),
        Row::Line("max_connect_attempts", |properties, line| {
            let count = line.value(line.one()?, value::unsigned)?;
            let max = NonZeroU32::new(count);
            properties.attempts_max = max.map_or(AttemptsMax::Unlimited, AttemptsMax::InAll);
            Some(())
        }),
        Row::Line("max_concurrent", |properties, line| {
            properties.max_concurrent = count(line, "max_concurrent")?;
            Some(())
        }),
        Row::Line("max_fails", |properties, line| {
            properties.max_fails = line.value(line.one()?, value::unsigned)?;
            Some(())
        }),
        Row::Line("health_check", health_check),
        Row::Line("failfast_all_unhealthy_upstreams", |properties, line| {
            line.none().map(|()| properties.all_down = AllDown::Fail)
        }),
        Row::Line("failover", failover),
        Row::Line("next", |properties, line| {
            properties.next.rcodes.extend(rcodes(line)?);
            Some(())
        }),
        Row::Line("next_on_nodata", |properties, line| {
            line.none().map(|()| properties.next.on_nodata = true)
        }),
        Row::Line("expire", |properties, line| {
            properties.idle.expire = not_negative(line)?;
            Some(())
        }),
        Row::Line("max_age", |properties, line| {
            let age = not_negative(line)?;
            properties.idle.max_age = (!age.is_zero()).then_some(age);
            Some(())
        }),
        Row::Line("max_idle_conns", |properties, line| {
            properties.idle.max = count(line, "max_idle_conns")?;
            Some(())
        }),
        Row::Line("tls", tls),
        Row::Line("tls_servername", |properties, line| {
            let word = line.one()?;
            let name = line.value(word, parse_server_name)?;
            properties.tls_servername = Some((word.clone(), name));
            Some(())
        }),
        Row::Line("doh_method", doh_method),
        Row::Line("resolver", resolver),
        Row::Line("source_address", source_address),
    ]
}

fn except(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    for word in line.at_least(1)? {
        match value::zones(&word.text) {
            Ok(zones) => properties.except.extend(zones),
            // CoreDNS passes over it in silence.
            Err(why) => line.warn(word, format!("excepts nothing: {why}")),
        }
    }
    Some(())
}

fn read_timeout(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match line.value(word, value::duration)? {
        Some(duration) if !duration.is_zero() => {
            properties.read_timeout = duration;
            Some(())
        }
        _ => line.refuse(
            word,
            format!("read_timeout must be positive: {}", word.text),
        ),
    }
}

fn health_check(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let [interval, options @ ..] = line.at_least(1)? else {
        return None;
    };
    let check = &mut properties.health_check;
    let nanoseconds = line.value(interval, value::signed_duration)?;
    check.interval = match u64::try_from(nanoseconds) {
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        Err(_) => {
            let message = format!("health_check can't be negative: {nanoseconds}");
            return line.refuse(interval, message);
        }
    };
    let mut options = options.iter();
    while let Some(word) = options.next() {
        match word.text.as_str() {
            "no_rec" => check.recursion_desired = false,
            "domain" => {
                let Some(domain) = options.next() else {
                    return line.wrong_count(word);
                };
                check.domain = match value::name(&domain.text) {
                    Ok(name) => name,
                    Err(_) => {
                        let message = format!("health_check: invalid domain name {}", domain.text);
                        return line.refuse(domain, message);
                    }
                };
            }
            other => return line.refuse(word, format!("health_check: unknown option {other}")),
        }
    }
    Some(())
}

fn failover(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    for word in line.at_least(1)? {
        match line.value(word, rcode)? {
            Rcode::NOERROR => return line.refuse(word, "NoError cannot be used in failover"),
            code => properties.failover.push(code),
        }
    }
    Some(())
}

fn rcodes(line: &Reader<'_>) -> Option<Vec<Rcode>> {
    let words = line.at_least(1)?.iter();
    words.map(|word| line.value(word, rcode)).collect()
}

fn rcode(text: &str) -> Result<Rcode, String> {
    Rcode::from_mnemonic(text).ok_or_else(|| format!("{text} is not a valid rcode"))
}

/// A number that is not negative; 0 is none.
fn count(line: &Reader<'_>, property: &str) -> Option<Option<NonZeroUsize>> {
    let word = line.one()?;
    let number = line.value(word, value::integer)?;
    match usize::try_from(number) {
        Ok(number) => Some(NonZeroUsize::new(number)),
        Err(_) => line.refuse(word, format!("{property} can't be negative: {number}")),
    }
}

fn not_negative(line: &Reader<'_>) -> Option<Duration> {
    let (property, word) = (&line.name().text, line.one()?);
    match line.value(word, value::duration)? {
        Some(duration) => Some(duration),
        None => line.refuse(word, format!("{property} can't be negative: {}", word.text)),
    }
}

/// `tls`, `tls CA`, `tls CERT KEY` or `tls CERT KEY CA`.
fn tls(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let words = line.at_most(3)?;
    let outside = properties.outside;
    let read = |word: &Word| match outside.read(Path::new(&word.text)) {
        Ok(content) => Some(content),
        Err(why) => {
            let why = match why {
                // The system's words, which CoreDNS passes on.
                Unreadable::Missing => "no such file or directory".to_owned(),
                why => why.to_string(),
            };
            let file = &word.text;
            line.refuse(word, format!("error reading {file}: open {file}: {why}"))
        }
    };
    // All are read, so that all that are not there are told of at once.
    let read: Vec<Option<Vec<u8>>> = words.iter().map(read).collect();
    let files = read.into_iter().collect::<Option<Vec<Vec<u8>>>>()?;
    let mut tls = Tls::default();
    let (identity, authorities) = match files.len() {
        0 => (None, None),
        1 => (None, Some(0)),
        2 => (Some((0, 1)), None),
        _ => (Some((0, 1)), Some(2)),
    };
    let refuse = |at: usize, why: FileFault| {
        let word: &Word = &words[at];
        line.refuse::<()>(word, format!("{} {why}", word.text))
    };
    if let Some((certificate, key)) = identity {
        match tls::certificates(&files[certificate]) {
            Ok(chain) => match tls.identify(chain, &files[key]) {
                Ok(()) => {}
                Err(why) => return refuse(key, why),
            },
            Err(why) => return refuse(certificate, why),
        }
    }
    if let Some(at) = authorities
        && let Err(why) = tls.trust(&files[at])
    {
        return refuse(at, why);
    }
    properties.tls = Some((line.name().clone(), tls));
    Some(())
}

fn doh_method(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    let method = match word.text.as_str() {
        "GET" => DohMethod::Get,
        "POST" => DohMethod::Post,
        _ => return line.refuse(word, "doh_method must be either POST or GET"),
    };
    properties.doh_method = Some((word.clone(), method));
    Some(())
}

fn resolver(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let mut resolvers = match std::mem::replace(&mut properties.resolvers, Resolvers::System) {
        Resolvers::These(before) => before,
        Resolvers::System => vec![],
    };
    for word in line.at_least(1)? {
        let text = &word.text;
        match socket_address(text, PORT) {
            Some(address) => resolvers.push(address),
            None => {
                let message = format!("resolver must be an IP address or IP:port: {text:?}");
                return line.refuse(word, message);
            }
        }
    }
    properties.resolvers = Resolvers::These(resolvers);
    Some(())
}

fn source_address(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match word.text.parse::<IpAddr>() {
        Ok(address) => {
            properties.source_address = Some((word.clone(), address));
            Some(())
        }
        Err(_) => line.refuse(word, format!("invalid IP address: {}", word.text)),
    }
}
