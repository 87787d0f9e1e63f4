//! How a snapshot lies in its file.
//!
//! ```text
//! octets      what
//! 0..8        CAIRNSNP
//! 8..12       version of the format
//! 12..16      zero
//! 16..96      two marks, each: when each resource was current (4 × 8), check (8)
//! 96..        cluster, seed, serial, resources, Namespaces, Services, slices, Pods
//! last 32     SHA-256 of all of it but the marks: the seal
//! ```
//!
//! Numbers of a fixed size are big-endian; others, and lengths, are LEB128. A cluster that does not change needs no new
//! file, but must not seem to grow old. So the marks say until when the file has been current, and are written in
//! place, in turns. The check of a mark covers the seal: a mark counts only with the content that it was made for. A
//! mark that a crash has left half written does not count either; then the other does, or the times that stand in the
//! sealed part, all of which are older: a file may seem older than it is, never younger.

use sha2::{Digest, Sha256};

use crate::cluster::object::Resource;
use crate::cluster::seed::{Seed, SeedNumbers};

pub(super) const MAGIC: [u8; 8] = *b"CAIRNSNP";
pub(super) const VERSION: u32 = 2;

/// Octets before the marks.
pub(super) const HEAD_LEN: usize = 16;
/// Octets of a mark.
pub(super) const MARK_LEN: usize = 8 * Resource::ALL.len() + 8;
pub(super) const MARKS: usize = 2;
/// Where the sealed part goes on.
pub(super) const BODY_AT: usize = HEAD_LEN + MARKS * MARK_LEN;
/// Octets of the seal.
pub(super) const SEAL_LEN: usize = 32;

/// The longest text of a cluster; its paths and selectors come from a Corefile.
pub(super) const CLUSTER_MAX: usize = 64 << 10;
/// The longest `resourceVersion`; a longer one counts as unknown. Those of etcd have at most 20 digits.
pub(super) const RESOURCE_VERSION_MAX: usize = 256;
/// The longest name of a port or of a protocol; the API allows 15.
pub(super) const WORD_MAX: usize = 8 << 20;

/// When each resource was current, in seconds since 1970.
pub(super) type Times = [u64; Resource::ALL.len()];

pub(super) type Seal = [u8; SEAL_LEN];
pub(super) type Mark = [u8; MARK_LEN];

/// What tells one way of hashing from another: identities are hashes, and the library does not promise that it will always
/// come to the same.
pub(super) fn hashing() -> [u8; 4] {
    let hash = Seed::of(SeedNumbers(1, 2)).hash_one("identity");
    (hash as u32).to_be_bytes()
}

/// The first octets of a file.
pub(super) fn head() -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_be_bytes());
    head[12..].copy_from_slice(&hashing());
    head
}

/// Where a mark stands.
pub(super) fn mark_at(turn: usize) -> u64 {
    (HEAD_LEN + turn % MARKS * MARK_LEN) as u64
}

/// The mark of a file with this seal.
pub(super) fn mark(seal: &Seal, times: &Times) -> Mark {
    let mut mark = [0; MARK_LEN];
    let (to, check) = mark.split_at_mut(8 * times.len());
    for (to, time) in to.chunks_exact_mut(8).zip(times) {
        to.copy_from_slice(&time.to_be_bytes());
    }
    let hash = Sha256::new().chain_update(seal).chain_update(to).finalize();
    check.copy_from_slice(&hash[..8]);
    mark
}

/// What a mark says, if it is whole and of a file with this seal.
pub(super) fn times(seal: &Seal, read: &Mark) -> Option<Times> {
    let mut times = Times::default();
    for (time, octets) in times.iter_mut().zip(read.as_chunks().0) {
        *time = u64::from_be_bytes(*octets);
    }
    (mark(seal, &times) == *read).then_some(times)
}
