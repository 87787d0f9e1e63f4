//! The properties that say how upstreams are reached: certificates, HTTP, resolvers of their names, our own address.

use std::net::IpAddr;
use std::path::Path;

use crate::corefile::reader::Reader;
use crate::corefile::{Unreadable, Word};
use crate::plugin::forward::endpoint::{Secure, Speaks};
use crate::plugin::forward::tls::{self, FileFault, Tls};

use super::properties::Properties;
use super::upstreams::{PORT, socket_address};
use super::{DohMethod, Resolvers, Target};

impl Properties<'_> {
    /// Without the upstreams that cannot be asked from the source address. CoreDNS keeps them, and every query to them
    /// fails.
    pub(super) fn of_family(
        &self,
        mut to: Vec<Target>,
        reader: &Reader<'_>,
    ) -> Option<Vec<Target>> {
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
    pub(super) fn doubt(&self, to: &[Target], reader: &Reader<'_>) {
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

/// `tls`, `tls CA`, `tls CERT KEY` or `tls CERT KEY CA`.
pub(super) fn tls(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
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

pub(super) fn doh_method(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    let method = match word.text.as_str() {
        "GET" => DohMethod::Get,
        "POST" => DohMethod::Post,
        _ => return line.refuse(word, "doh_method must be either POST or GET"),
    };
    properties.doh_method = Some((word.clone(), method));
    Some(())
}

pub(super) fn resolver(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
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

pub(super) fn source_address(properties: &mut Properties<'_>, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match word.text.parse::<IpAddr>() {
        Ok(address) => {
            properties.source_address = Some((word.clone(), address));
            Some(())
        }
        Err(_) => line.refuse(word, format!("invalid IP address: {}", word.text)),
    }
}
