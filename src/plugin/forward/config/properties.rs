//! The block of a `forward` directive.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::value;
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Outside, Word};
use crate::dns::{Name, Rcode, Zones};
use crate::plugin::forward::policy::Policy;
use crate::plugin::forward::tls::Tls;

use super::reach::{doh_method, resolver, source_address, tls};
use super::upstreams::parse_server_name;
use super::{
    AllDown, AttemptsMax, Carriage, DohMethod, HealthCheck, Idle, Next, Resolvers, Stanza, Target,
};

/// The block as written.
pub(super) struct Properties<'a> {
    pub(super) outside: &'a dyn Outside,
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
    pub(super) tls: Option<(Word, Tls)>,
    pub(super) tls_servername: Option<(Word, ServerName<'static>)>,
    pub(super) doh_method: Option<(Word, DohMethod)>,
    pub(super) resolvers: Resolvers,
    pub(super) source_address: Option<(Word, IpAddr)>,
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
