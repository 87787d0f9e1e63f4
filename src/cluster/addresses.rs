//! Who has which address: Services their cluster IPs, Services those of their endpoints, Namespaces those of their Pods.
//!
//! Each pair of address and holder stands here once, with how often it is meant. The table is ordered by address
//! first, so all holders of an address are found together, and one of thousands costs no more than an only one.

use std::hash::Hash;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use super::records::SharedLabels;
use super::seed::Seed;
use super::table::{AHEAD_MAX, Items, Keyed, Table};

/// Addresses and their holders. The families are apart because most clusters have no IPv6, and IPv4 takes half as much.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    v4: Table<Held<[u8; 4]>>,
    v6: Table<Held<[u8; 16]>>,
}

/// An address that somebody has.
#[derive(Debug, Clone)]
struct Held<A> {
    ip: A,
    /// At least 1.
    times: u32,
    /// Labels in lower-case wire form.
    holder: SharedLabels,
}

impl Addresses {
    /// Adds one use of an address by a holder and returns how many there are now.
    pub(super) fn add(&mut self, seed: &Seed, ip: IpAddr, holder: &SharedLabels) -> u32 {
        match ip {
            IpAddr::V4(ip) => add(&mut self.v4, seed, ip.octets(), holder),
            IpAddr::V6(ip) => add(&mut self.v6, seed, ip.octets(), holder),
        }
    }

    /// Takes one use away and returns how many are left; of an address that the holder does not have, 0.
    pub(super) fn remove(&mut self, seed: &Seed, ip: IpAddr, holder: &[u8]) -> u32 {
        match ip {
            IpAddr::V4(ip) => remove(&mut self.v4, seed, ip.octets(), holder),
            IpAddr::V6(ip) => remove(&mut self.v6, seed, ip.octets(), holder),
        }
    }

    /// Whether this holder has the address.
    pub(super) fn has(&self, seed: &Seed, ip: IpAddr, holder: &[u8]) -> bool {
        match ip {
            IpAddr::V4(ip) => find(&self.v4, seed, ip.octets(), holder).is_some(),
            IpAddr::V6(ip) => find(&self.v6, seed, ip.octets(), holder).is_some(),
        }
    }

    /// One who has the address.
    #[inline]
    pub(super) fn holder(&self, seed: &Seed, ip: IpAddr) -> Option<&SharedLabels> {
        match ip {
            IpAddr::V4(ip) => holders(&self.v4, seed, ip.octets()).next(),
            IpAddr::V6(ip) => holders(&self.v6, seed, ip.octets()).next(),
        }
    }

    /// Looks at what [`Addresses::holder`] will look at; beyond [`AHEAD_MAX`] addresses nothing is.
    pub(super) fn look_ahead(&self, seed: &Seed, ips: &[Ipv4Addr]) {
        if ips.is_empty() {
            return;
        }
        let mut hashes = [0; AHEAD_MAX];
        for (hash, ip) in hashes.iter_mut().zip(ips) {
            *hash = of_address(seed, ip.octets());
        }
        let mut found = [None; AHEAD_MAX];
        let is = |held: &Held<_>, at: usize| held.ip == ips[at].octets();
        let hashes = &hashes[..ips.len().min(AHEAD_MAX)];
        self.v4.find_each(hashes, is, &mut found);
        for held in found.into_iter().flatten() {
            black_box(held.holder.first());
        }
    }

    /// All who have the address.
    pub(super) fn holders(&self, seed: &Seed, ip: IpAddr) -> impl Iterator<Item = &SharedLabels> {
        let (v4, v6) = match ip {
            IpAddr::V4(ip) => (Some(holders(&self.v4, seed, ip.octets())), None),
            IpAddr::V6(ip) => (None, Some(holders(&self.v6, seed, ip.octets()))),
        };
        v4.into_iter().flatten().chain(v6.into_iter().flatten())
    }

    /// Every address with a holder and how often it is meant.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &[u8], u32)> {
        let v4 = self.v4.iter();
        let v4 = v4.map(|held| (held.ip.into(), &*held.holder, held.times));
        let v6 = self.v6.iter();
        v4.chain(v6.map(|held| (held.ip.into(), &*held.holder, held.times)))
    }
}

/// Upper bits of a hash that are the address's; the others are the holder's.
const ADDRESS_BITS: u32 = 30;

impl<A: Copy + Eq + Hash> Held<A> {
    fn is(&self, ip: A, holder: &[u8]) -> bool {
        self.ip == ip && *self.holder == *holder
    }
}

impl<A: Copy + Eq + Hash> Keyed for Held<A> {
    /// 16 octets each for IPv4. A leaf has 24 more of its own, and is copied when one item of it changes.
    const LEAF_MAX: usize = 24;

    fn hash(&self, seed: &Seed) -> u64 {
        hash(seed, self.ip, &self.holder)
    }
}

fn hash<A: Hash>(seed: &Seed, ip: A, holder: &[u8]) -> u64 {
    of_address(seed, ip) | seed.hash_one(holder) >> ADDRESS_BITS
}

/// The part of a hash that is the address's.
fn of_address<A: Hash>(seed: &Seed, ip: A) -> u64 {
    seed.hash_one(ip) & !(u64::MAX >> ADDRESS_BITS)
}

fn add<A: Copy + Eq + Hash>(
    table: &mut Table<Held<A>>,
    seed: &Seed,
    ip: A,
    holder: &SharedLabels,
) -> u32 {
    let hash = hash(seed, ip, holder);
    if let Some(known) = table.find_mut(hash, |held| held.is(ip, holder)) {
        known.times += 1;
        return known.times;
    }
    let holder = holder.clone();
    let times = 1;
    table.insert(seed, Held { ip, times, holder });
    times
}

fn remove<A: Copy + Eq + Hash>(
    table: &mut Table<Held<A>>,
    seed: &Seed,
    ip: A,
    holder: &[u8],
) -> u32 {
    let hash = hash(seed, ip, holder);
    let is = |held: &Held<A>| held.is(ip, holder);
    match table.find(hash, is).map(|held| held.times) {
        None => 0,
        Some(1) => {
            table.remove(hash, is);
            0
        }
        Some(_) => {
            let known = table.find_mut(hash, is).expect("it was found just now");
            known.times -= 1;
            known.times
        }
    }
}

fn find<'a, A: Copy + Eq + Hash>(
    table: &'a Table<Held<A>>,
    seed: &Seed,
    ip: A,
    holder: &[u8],
) -> Option<&'a Held<A>> {
    table.find(hash(seed, ip, holder), |held| held.is(ip, holder))
}

fn holders<'a, A: Copy + Eq + Hash>(
    table: &'a Table<Held<A>>,
    seed: &Seed,
    ip: A,
) -> impl Iterator<Item = &'a SharedLabels> {
    let all: Items<'a, Held<A>> = table.under(seed.hash_one(ip), ADDRESS_BITS);
    all.filter(move |held| held.ip == ip)
        .map(|held| &held.holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_with_all_its_holders_until_each_has_left_it_as_often_as_it_came() {
        let seed = Seed::default();
        for ip in ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()) {
            let mut addresses = Addresses::default();
            let holders: Vec<SharedLabels> =
                (0..1000u32).map(|n| n.to_be_bytes()[..].into()).collect();
            for holder in &holders {
                assert_eq!(addresses.add(&seed, ip, holder), 1);
                assert_eq!(addresses.add(&seed, ip, holder), 2);
            }
            let mut known: Vec<_> = addresses.holders(&seed, ip).cloned().collect();
            known.sort();
            assert_eq!(known, holders);
            for left in [1, 0, 0] {
                for holder in &holders {
                    assert_eq!(addresses.remove(&seed, ip, holder), left);
                    assert_eq!(addresses.has(&seed, ip, holder), left > 0);
                }
            }
            assert_eq!(addresses.holders(&seed, ip).count(), 0);
        }
    }
}
