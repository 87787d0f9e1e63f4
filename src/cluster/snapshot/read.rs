//! A file, read from its first record to its last into a new index. Nothing is held but a buffer, nothing is taken on
//! trust: each length is held against what is left, each name against the rules of names, and all of it against the seal.
//! Before that has been compared, nobody sees the index.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::format::{self, Mark, Seal, Times};
use super::{OCTETS_MAX, Reached, ReachedAll, Refused};
use crate::cluster::index::Index;
use crate::cluster::object::{Port, Protocol, Resource};
use crate::cluster::records::{StoredService, StoredSlice, labels_in};
use crate::cluster::seed::SeedNumbers;
use crate::dns::name::LABEL_MAX;

/// Octets that are read, and hashed, at a time.
const BUFFER: usize = 64 << 10;

/// Reading takes no longer than this: a start waits for it. The largest file takes some seconds.
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// A time so far ahead is no clock that is set anew, but a wrong one.
const FUTURE_MAX: Duration = Duration::from_secs(300);

/// What must be true of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The cluster that it is of.
    pub(super) cluster: &'a str,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) max_age: Duration,
}

/// What a file told.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: Index,
    /// Of a resource that is not in it, or too old, nothing.
    pub(super) reached: ReachedAll,
}

/// Reads a file of `size` octets.
///
/// # Errors
/// It is not what is wanted. The first reason is given.
pub(super) fn read(
    mut file: impl Read + Seek,
    size: u64,
    wanted: Wanted<'_>,
) -> Result<Found, Refused> {
    if size > OCTETS_MAX {
        return Err(Refused::TooLarge(size));
    }
    let head = head(&mut file)?;
    let seal_at = size.checked_sub(format::SEAL_LEN as u64);
    let seal_at = seal_at.filter(|at| *at >= format::BODY_AT as u64);
    let seal_at = seal_at.ok_or(Refused::Damaged("it is cut off"))?;
    let mut marks = [[0; format::MARK_LEN]; format::MARKS];
    for mark in &mut marks {
        file.read_exact(mark).map_err(cut)?;
    }
    let mut seal = Seal::default();
    file.seek(SeekFrom::Start(seal_at))?;
    file.read_exact(&mut seal).map_err(cut)?;
    file.seek(SeekFrom::Start(format::BODY_AT as u64))?;

    let mut hash = Sha256::new();
    hash.update(head);
    let left = seal_at - format::BODY_AT as u64;
    let hashed = Hashed {
        from: file.take(left),
        hash,
    };
    let mut body = Body {
        from: BufReader::with_capacity(BUFFER, hashed),
        left,
        until: Instant::now() + READ_TIME_MAX,
    };
    let mut found = body.read(&marks, &seal, wanted)?;
    let is_whole = body.left == 0 && Seal::from(body.from.into_inner().hash.finalize()) == seal;
    if !is_whole {
        return Err(Refused::Damaged("its checksum is another"));
    }
    let serial = found.index.latest().serial();
    for resource in Resource::ALL {
        let as_of = found.reached[resource as usize].as_of;
        if as_of > 0 {
            found.index.restored(resource, as_of);
        } else {
            found.index.forget(resource, serial);
        }
    }
    Ok(found)
}

/// The first octets, if they are those of a format that we know.
fn head(file: &mut impl Read) -> Result<[u8; format::HEAD_LEN], Refused> {
    let mut head = [0; format::HEAD_LEN];
    let no_snapshot = |fault: io::Error| match fault.kind() {
        io::ErrorKind::UnexpectedEof => Refused::NoSnapshot,
        _ => Refused::Unreadable(fault),
    };
    file.read_exact(&mut head).map_err(no_snapshot)?;
    let [magic, version, hashing] = [&head[..8], &head[8..12], &head[12..]];
    if *magic != format::MAGIC {
        return Err(Refused::NoSnapshot);
    }
    let version = u32::from_be_bytes(version.try_into().expect("four octets"));
    if version != format::VERSION || *hashing != format::hashing() {
        return Err(Refused::Version(version));
    }
    Ok(head)
}

/// Hashes what passes.
struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(to)?;
        self.hash.update(&to[..read]);
        Ok(read)
    }
}

/// The sealed part.
struct Body<R> {
    from: R,
    /// Octets that are still to come.
    left: u64,
    until: Instant,
}

impl<R: Read> Body<R> {
    fn read(
        &mut self,
        marks: &[Mark; format::MARKS],
        seal: &Seal,
        wanted: Wanted<'_>,
    ) -> Result<Found, Refused> {
        let cluster = self.text(format::CLUSTER_MAX)?;
        if *cluster != *wanted.cluster {
            return Err(Refused::Foreign(cluster.into()));
        }
        let seed = SeedNumbers(
            u64::from_be_bytes(self.array()?),
            u64::from_be_bytes(self.array()?),
        );
        let serial = u32::from_be_bytes(self.array()?);
        let mut reached = self.resources()?;
        for times in marks.iter().filter_map(|mark| format::times(seal, mark)) {
            later(&mut reached, &times);
        }
        judge(&mut reached, wanted)?;

        let mut index = Index::restoring(seed);
        for _ in 0..self.number()? {
            self.in_time()?;
            let label = self.label()?;
            index.restore_namespace(&label);
        }
        for _ in 0..self.number()? {
            self.in_time()?;
            self.service(&mut index)?;
        }
        for _ in 0..self.number()? {
            self.in_time()?;
            self.slice(&mut index)?;
        }
        for _ in 0..self.number()? {
            self.in_time()?;
            let id = u64::from_be_bytes(self.array()?);
            let (ip, namespace) = (self.address()?, self.label()?);
            index.restore_pod(id, ip, &namespace);
        }
        index.restored_serial(serial);
        Ok(Found { index, reached })
    }

    fn resources(&mut self) -> Result<ReachedAll, Refused> {
        let mut reached = ReachedAll::default();
        for reached in &mut reached {
            let is_known = match self.octet()? {
                0 => false,
                1 => true,
                _ => return Err(Refused::Damaged("a resource")),
            };
            let as_of = u64::from_be_bytes(self.array()?);
            let version = self.text(format::RESOURCE_VERSION_MAX)?;
            if is_known {
                *reached = Reached { version, as_of };
            }
        }
        Ok(reached)
    }

    fn service(&mut self, index: &mut Index) -> Result<(), Refused> {
        let version = self.version()?;
        let [kind, key] = self.array()?;
        let (octets, ports) = (self.octets(OCTETS_MAX as usize)?, self.ports()?);
        let stored = StoredService {
            kind,
            key,
            octets: &octets,
        };
        let restored = index.restore_service(version, stored, &ports);
        restored.ok_or(Refused::Damaged("a Service"))
    }

    fn slice(&mut self, index: &mut Index) -> Result<(), Refused> {
        let id = u64::from_be_bytes(self.array()?);
        let version = self.version()?;
        let service = self.octets(2 * (LABEL_MAX + 1))?;
        let mut counts = [0; 4];
        for count in &mut counts {
            let number = self.number()?;
            *count = u32::try_from(number).map_err(|_| Refused::Damaged("a number"))?;
        }
        let (octets, ports) = (self.octets(OCTETS_MAX as usize)?, self.ports()?);
        let stored = StoredSlice {
            counts,
            octets: &octets,
        };
        let restored = match labels_in(&service) {
            Some(2) => index.restore_slice(id, version, &service, stored, &ports),
            _ => None,
        };
        restored.ok_or(Refused::Damaged("a slice"))
    }

    fn version(&mut self) -> Result<Option<u64>, Refused> {
        Ok(Some(self.number()?).filter(|number| *number > 0))
    }

    fn ports(&mut self) -> Result<Vec<Port>, Refused> {
        let mut ports = Vec::new();
        for _ in 0..self.number()? {
            let name = self.text(format::WORD_MAX)?;
            let protocol = match self.octet()? {
                0 => Protocol::Tcp,
                1 => Protocol::Udp,
                2 => Protocol::Sctp,
                3 => Protocol::Other(self.text(format::WORD_MAX)?),
                _ => return Err(Refused::Damaged("a protocol")),
            };
            ports.push(Port {
                name,
                protocol,
                number: NonZeroU16::new(u16::from_be_bytes(self.array()?)),
            });
        }
        Ok(ports)
    }

    fn address(&mut self) -> Result<IpAddr, Refused> {
        match self.octet()? {
            4 => Ok(IpAddr::from(self.array::<4>()?)),
            6 => Ok(IpAddr::from(self.array::<16>()?)),
            _ => Err(Refused::Damaged("an address")),
        }
    }

    fn label(&mut self) -> Result<Box<[u8]>, Refused> {
        let label = self.octets(LABEL_MAX + 1)?;
        match labels_in(&label) {
            Some(1) => Ok(label),
            _ => Err(Refused::Damaged("a name")),
        }
    }

    fn text(&mut self, max: usize) -> Result<Box<str>, Refused> {
        let octets = self.octets(max)?.into_vec();
        let text = String::from_utf8(octets).map_err(|_| Refused::Damaged("a text"))?;
        Ok(text.into())
    }

    fn octets(&mut self, max: usize) -> Result<Box<[u8]>, Refused> {
        let length = self.number()?;
        if length > self.left || length > max as u64 {
            return Err(Refused::Damaged("a length"));
        }
        let mut octets = vec![0; length as usize].into_boxed_slice();
        self.fill(&mut octets)?;
        Ok(octets)
    }

    fn number(&mut self) -> Result<u64, Refused> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if octet < 0x80 {
                return Ok(number);
            }
        }
        Err(Refused::Damaged("a number"))
    }

    fn octet(&mut self) -> Result<u8, Refused> {
        self.array().map(|[octet]| octet)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    fn fill(&mut self, to: &mut [u8]) -> Result<(), Refused> {
        let left = self.left.checked_sub(to.len() as u64);
        self.left = left.ok_or(Refused::Damaged("it is cut off"))?;
        self.from.read_exact(to).map_err(cut)
    }

    fn in_time(&self) -> Result<(), Refused> {
        match Instant::now() < self.until {
            true => Ok(()),
            false => Err(Refused::TooSlow),
        }
    }
}

fn cut(fault: io::Error) -> Refused {
    match fault.kind() {
        io::ErrorKind::UnexpectedEof => Refused::Damaged("it is cut off"),
        _ => Refused::Unreadable(fault),
    }
}

/// A mark may only say that what is known was current for longer.
fn later(reached: &mut ReachedAll, times: &Times) {
    for (reached, time) in reached.iter_mut().zip(times) {
        if reached.as_of > 0 {
            reached.as_of = reached.as_of.max(*time);
        }
    }
}

/// Takes out resources that are too old. A file is refused if none is left, or if a clock is wrong.
fn judge(reached: &mut ReachedAll, wanted: Wanted<'_>) -> Result<(), Refused> {
    let known = reached.iter().map(|reached| reached.as_of);
    let newest = known.max().unwrap_or_default();
    if newest == 0 {
        return Err(Refused::Empty);
    }
    let ahead = Duration::from_secs(newest.saturating_sub(wanted.now));
    if ahead > FUTURE_MAX {
        return Err(Refused::Future(ahead));
    }
    let age = |as_of: u64| Duration::from_secs(wanted.now.saturating_sub(as_of));
    if age(newest) > wanted.max_age {
        return Err(Refused::TooOld {
            age: age(newest),
            max: wanted.max_age,
        });
    }
    for reached in reached.iter_mut() {
        if age(reached.as_of) > wanted.max_age {
            *reached = Reached::default();
        }
    }
    Ok(())
}
