//! The contents of an index, written from the first record to the last. Nothing is held but a buffer.

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::format::{self, Seal, Times};
use super::{OCTETS_MAX, ReachedAll};
use crate::cluster::index::Contents;
use crate::cluster::object::{Port, Protocol};
use crate::cluster::records::{ServiceRecords, SliceRecords};

/// Octets that are written, and hashed, at a time.
const BUFFER: usize = 64 << 10;

/// All that goes into a file.
#[derive(Debug)]
pub(super) struct Draft {
    /// Which cluster it is of, as text.
    pub(super) cluster: String,
    pub(super) reached: ReachedAll,
    pub(super) contents: Contents,
}

impl Draft {
    /// When each resource was current; 0 of one that is not known whole.
    pub(super) fn times(&self) -> Times {
        std::array::from_fn(|at| match self.contents.synced[at] {
            true => self.reached[at].as_of,
            false => 0,
        })
    }

    /// Writes a whole file and returns its seal and its size.
    ///
    /// # Errors
    /// `out` cannot be written, or the file would be larger than any may be.
    pub(super) fn write(&self, mut out: impl Write) -> io::Result<(Seal, u64)> {
        let head = format::head();
        out.write_all(&head)?;
        out.write_all(&[0; format::BODY_AT - format::HEAD_LEN])?;
        let mut hash = Sha256::new();
        hash.update(head);
        let sealed = Sealed {
            to: out,
            hash,
            octets: (format::BODY_AT + format::SEAL_LEN) as u64,
        };
        let mut body = BufWriter::with_capacity(BUFFER, sealed);
        self.body(&mut body)?;
        let sealed = body.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (mut out, seal) = (sealed.to, Seal::from(sealed.hash.finalize()));
        out.write_all(&seal)?;
        Ok((seal, sealed.octets))
    }

    fn body(&self, out: &mut impl Write) -> io::Result<()> {
        let contents = &self.contents;
        octets(out, self.cluster.as_bytes())?;
        out.write_all(&contents.seed.0.to_be_bytes())?;
        out.write_all(&contents.seed.1.to_be_bytes())?;
        out.write_all(&contents.serial.to_be_bytes())?;
        for (at, time) in self.times().iter().enumerate() {
            let version = self.reached[at].version.as_bytes();
            let version = Some(version).filter(|text| text.len() <= format::RESOURCE_VERSION_MAX);
            out.write_all(&[u8::from(contents.synced[at])])?;
            out.write_all(&time.to_be_bytes())?;
            octets(out, version.unwrap_or_default())?;
        }
        number(out, contents.namespaces.len() as u64)?;
        for label in contents.namespaces.iter() {
            octets(out, label)?;
        }
        number(out, contents.services.len() as u64)?;
        for entry in contents.services.iter() {
            version(out, contents.service_versions.number(entry.hash))?;
            service(out, &entry.of)?;
        }
        number(out, contents.slices.len() as u64)?;
        for (id, records) in contents.slices.iter() {
            out.write_all(&id.to_be_bytes())?;
            version(out, contents.slice_versions.number(id))?;
            slice(out, records)?;
        }
        number(out, contents.pods.len() as u64)?;
        for (id, (ip, namespace)) in contents.pods.iter() {
            out.write_all(&id.to_be_bytes())?;
            address(out, *ip)?;
            octets(out, namespace)?;
        }
        Ok(())
    }
}

/// Hashes what passes, and ends where a file would be too large.
struct Sealed<W> {
    to: W,
    hash: Sha256,
    /// Of the whole file, as far as it is written.
    octets: u64,
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.octets + octets.len() as u64 > OCTETS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the cluster takes more than {OCTETS_MAX} octets"),
            ));
        }
        let written = self.to.write(octets)?;
        self.hash.update(&octets[..written]);
        self.octets += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A `resourceVersion`; none has the number 0.
fn version(out: &mut impl Write, version: Option<u64>) -> io::Result<()> {
    number(out, version.unwrap_or_default())
}

fn service(out: &mut impl Write, records: &ServiceRecords) -> io::Result<()> {
    let stored = records.stored();
    out.write_all(&[stored.kind, stored.key])?;
    octets(out, stored.octets)?;
    ports(out, records.ports())
}

fn slice(out: &mut impl Write, records: &SliceRecords) -> io::Result<()> {
    let stored = records.stored();
    octets(out, records.service())?;
    for count in stored.counts {
        number(out, u64::from(count))?;
    }
    octets(out, stored.octets)?;
    ports(out, records.ports())
}

fn ports(out: &mut impl Write, ports: &[Port]) -> io::Result<()> {
    number(out, ports.len() as u64)?;
    for port in ports {
        octets(out, port.name.as_bytes())?;
        match &port.protocol {
            Protocol::Tcp => out.write_all(&[0])?,
            Protocol::Udp => out.write_all(&[1])?,
            Protocol::Sctp => out.write_all(&[2])?,
            Protocol::Other(name) => {
                out.write_all(&[3])?;
                octets(out, name.as_bytes())?;
            }
        }
        let port = port.number.map_or(0, std::num::NonZeroU16::get);
        out.write_all(&port.to_be_bytes())?;
    }
    Ok(())
}

fn address(out: &mut impl Write, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(ip) => {
            out.write_all(&[4])?;
            out.write_all(&ip.octets())
        }
        IpAddr::V6(ip) => {
            out.write_all(&[6])?;
            out.write_all(&ip.octets())
        }
    }
}

/// Octets behind their number.
fn octets(out: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    number(out, octets.len() as u64)?;
    out.write_all(octets)
}

/// A number, seven bits an octet, the lowest first.
fn number(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    while number >= 0x80 {
        out.write_all(&[number as u8 | 0x80])?;
        number >>= 7;
    }
    out.write_all(&[number as u8])
}
