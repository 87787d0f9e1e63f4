//! From the tree of a Corefile to what will run: resolved, checked, immutable.
//!
//! [`load`] reads a Corefile with all that it imports and gives a [`Config`] or the reasons why there is none:
//! all of them, each with its place. Start, reload and `cairn check` use this one function, so that they say
//! the same. It opens no socket and asks no API; after it, nobody reads the Corefile or the environment.

mod directives;
pub mod listen;
pub mod value;

use std::net::IpAddr;
use std::path::Path;

use sha2::{Digest, Sha512};

use crate::corefile::{
    self, Corefile, Diagnostic, Faults, Location, Outside, ServerBlock, Sources,
};
use crate::dns::Name;
use crate::plugin::kubernetes::Snapshots;

pub use directives::{Setting, is_built};
use listen::{Key, ListenAddress, Taken};

/// A configuration that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The server blocks, in written order.
    pub blocks: Vec<Block>,
    /// SHA-512 of the words of the Corefile, in hexadecimal.
    pub sha512: String,
}

/// A server block.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its zones and ports.
    pub keys: Vec<Key>,
    /// The addresses to listen on; empty for all.
    pub bind: Vec<IpAddr>,
    /// What its directives say, in the order of `plugin::ORDER`.
    pub settings: Vec<Setting>,
}

/// What a plugin's parser may know besides its own directives.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The zones of the server block, in lower case and in the order of its keys.
    pub zones: &'a [Name],
    /// Files and environment.
    pub outside: &'a dyn Outside,
    /// The snapshots of the stanzas that have been read before.
    pub snapshots: &'a Snapshots,
}

/// What became of a Corefile.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, unless something is wrong.
    pub config: Option<Config>,
    /// SHA-512 of its words, unless its text is faulty. The files that it names besides imports have no part in it.
    pub sha512: Option<String>,
    /// There is no Corefile, or nothing in it: this is what is served then.
    pub built_in: bool,
    /// Everything that is wrong or doubtful, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: Sources,
    /// The tree, for a copy of what is served.
    pub corefile: Corefile,
}

/// Reads the configuration at `location`; `dns_port` is the port of keys that name none.
pub fn load(outside: &dyn Outside, location: &Location, dns_port: u16) -> Loaded {
    let parsed = corefile::load(outside, location);
    let mut diagnostics = parsed.diagnostics;
    let mut corefile = parsed.corefile;
    let is_sound = |diagnostics: &[Diagnostic]| !diagnostics.iter().any(Diagnostic::is_error);
    let is_whole = is_sound(&diagnostics);
    let built_in = corefile.blocks.is_empty() && is_whole;
    if built_in {
        corefile = without_corefile(outside);
        diagnostics.push(Diagnostic::warning(
            "nothing is configured: each client is told its own address (whoami), and no name is resolved",
            None,
        ));
    }
    let faults = Faults::new();
    let blocks = blocks(&corefile, outside, dns_port, &faults);
    let sha512 = hex(&Sha512::digest(corefile.canonical()));
    diagnostics.extend(faults.into_sorted());
    for fault in &mut diagnostics {
        fault.hint_at_unset(&parsed.sources, outside);
    }
    let config = is_sound(&diagnostics).then(|| Config {
        blocks,
        sha512: sha512.clone(),
    });
    Loaded {
        config,
        sha512: is_whole.then_some(sha512),
        built_in,
        diagnostics,
        sources: parsed.sources,
        corefile,
    }
}

/// A hash as it is written.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What is served where there is no Corefile, or an empty one.
fn without_corefile(outside: &dyn Outside) -> Corefile {
    corefile::parse(outside, Path::new("(built in)"), b". {\n whoami\n log\n}\n").corefile
}

fn blocks(
    corefile: &Corefile,
    outside: &dyn Outside,
    dns_port: u16,
    faults: &Faults,
) -> Vec<Block> {
    let mut taken = Taken::default();
    let snapshots = Snapshots::default();
    corefile
        .blocks
        .iter()
        .map(|tree| {
            let keys = listen::keys(tree, dns_port, faults);
            let zones: Vec<Name> = keys.iter().map(|key| key.zone).collect();
            let scope = Scope {
                zones: &zones,
                outside,
                snapshots: &snapshots,
            };
            block(tree, keys, &scope, faults, &mut taken)
        })
        .collect()
}

fn block(
    tree: &ServerBlock,
    keys: Vec<Key>,
    scope: &Scope<'_>,
    faults: &Faults,
    taken: &mut Taken,
) -> Block {
    let settings = directives::settings(tree, scope, faults);
    let bind = settings
        .iter()
        .find_map(Setting::bind)
        .map(<[IpAddr]>::to_vec)
        .unwrap_or_default();
    let block = Block {
        keys,
        bind,
        settings,
    };
    for (key, address) in block.addresses() {
        if let Err(fault) = taken.take(key, address.ip) {
            faults.push(Diagnostic::error(fault, tree.keys[0].span));
        }
    }
    block
}

impl Config {
    /// Whether some block has this directive.
    pub fn has(&self, directive: &str) -> bool {
        let mut settings = self.blocks.iter().flat_map(|block| &block.settings);
        settings.any(|setting| setting.name() == directive)
    }
}

impl Block {
    /// Each of its zones with each address that serves it.
    pub fn addresses(&self) -> impl Iterator<Item = (&Key, ListenAddress)> {
        let ips = || {
            let all = self.bind.is_empty().then_some(None);
            all.into_iter().chain(self.bind.iter().copied().map(Some))
        };
        self.keys
            .iter()
            .flat_map(move |key| ips().map(move |ip| (key, ListenAddress { ip, port: key.port })))
    }
}

#[cfg(test)]
mod tests;
