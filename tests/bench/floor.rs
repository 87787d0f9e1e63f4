//! What the benchmark itself serves, as processes of their own: `echo`, the floor, which answers as fast as the
//! kernel lets it and knows nothing; and `upstream`, which knows every name below `example.com`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::batch::Batch;
use crate::process::loopback;

/// Octets of the header of a message (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// QR and AA of the third octet.
const RESPONSE: u8 = 0x84;

/// Says to each datagram and to each message over TCP that it is a response.
pub(crate) fn echo(port: u16) -> ! {
    let tcp = TcpListener::bind(loopback(port)).expect("the port is free");
    let udp = UdpSocket::bind(loopback(port)).expect("the port is free");
    std::thread::spawn(move || echo_streams(&tcp));
    let mut batch = Batch::new();
    loop {
        let received = batch.receive(&udp, true).unwrap_or(0);
        for at in 0..received {
            batch.packet_mut(at).0[2] |= RESPONSE;
        }
        batch.send_back(&udp, received);
    }
}

/// One thread for all connections: threads that take turns on a core would cost more than what they do.
fn echo_streams(listener: &TcpListener) {
    let mut streams: Vec<Stream> = Vec::new();
    loop {
        let everyone =
            std::iter::once(listener.as_fd()).chain(streams.iter().map(|s| s.inner.as_fd()));
        let mut polled: Vec<PollFd> = everyone
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        if poll(&mut polled, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut at = 0;
        streams.retain_mut(|stream| {
            at += 1;
            !ready[at] || stream.echo()
        });
        if ready[0]
            && let Ok((inner, _)) = listener.accept()
        {
            streams.push(Stream {
                inner,
                octets: vec![0; 65_536],
                held: 0,
            });
        }
    }
}

struct Stream {
    inner: TcpStream,
    octets: Vec<u8>,
    held: usize,
}

impl Stream {
    /// Whole messages go back with one write for all that one read brought. Whether there will be more.
    fn echo(&mut self) -> bool {
        let Stream {
            inner,
            octets,
            held,
        } = self;
        let Ok(count @ 1..) = inner.read(&mut octets[*held..]) else {
            return false;
        };
        *held += count;
        let mut whole = 0;
        while let Some([high, low]) = octets[whole..*held].first_chunk() {
            let next = whole + 2 + usize::from(u16::from_be_bytes([*high, *low]));
            if next > *held {
                break;
            }
            octets[whole + 4] |= RESPONSE;
            whole = next;
        }
        if inner.write_all(&octets[..whole]).is_err() {
            return false;
        }
        octets.copy_within(whole..*held, 0);
        *held -= whole;
        true
    }
}

/// Answers for every name below `example.com` with addresses, and for all else that there are none.
pub(crate) fn upstream(port: u16) -> ! {
    let udp = UdpSocket::bind(loopback(port)).expect("the port is free");
    let mut batch = Batch::new();
    loop {
        let received = batch.receive(&udp, true).unwrap_or(0);
        for at in 0..received {
            let (octets, length) = batch.packet_mut(at);
            *length = answer(octets, *length).unwrap_or(0);
        }
        batch.send_back(&udp, received);
    }
}

/// Makes the answer of the query; `None` if it is none.
fn answer(octets: &mut [u8], length: usize) -> Option<usize> {
    let mut end = HEADER;
    while *octets[..length].get(end)? != 0 {
        end += 1 + usize::from(octets[end]);
    }
    let qtype = u16::from_be_bytes([*octets[..length].get(end + 1)?, *octets.get(end + 2)?]);
    let question = end + 5;
    let inside = octets[HEADER..end]
        .to_ascii_lowercase()
        .ends_with(b"\x07example\x03com");
    let with_edns = octets[10..12] == [0, 1];
    octets[2] |= RESPONSE;
    octets[3] = 0x80;
    octets[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(with_edns)]);
    let mut out = octets[..question].to_vec();
    let ttl = 3600_u32.to_be_bytes();
    match (inside, qtype) {
        (true, 1) => record(&mut out, 7, [0, 1], ttl, &[192, 0, 2, 1]),
        (true, 28) => {
            record(
                &mut out,
                7,
                [0, 28],
                ttl,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            );
        }
        _ => {
            // SOA at the root: root names, then five numbers.
            let mut soa = vec![0, 0];
            [1, 3600, 600, 86_400, 300_u32]
                .iter()
                .for_each(|n| soa.extend(n.to_be_bytes()));
            out[9] = 1;
            out.push(0);
            out.extend([0, 6, 0, 1]);
            out.extend(300_u32.to_be_bytes());
            out.extend((soa.len() as u16).to_be_bytes());
            out.extend(soa);
        }
    }
    if with_edns {
        out.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    octets[..out.len()].copy_from_slice(&out);
    Some(out.len())
}

/// Appends a record of the name that was asked; `at` is the octet that counts its section.
fn record(out: &mut Vec<u8>, at: usize, rtype: [u8; 2], ttl: [u8; 4], data: &[u8]) {
    out[at] += 1;
    out.extend([0xc0, HEADER as u8]);
    out.extend(rtype);
    out.extend([0, 1]);
    out.extend(ttl);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
}
