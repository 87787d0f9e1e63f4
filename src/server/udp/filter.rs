//! What the kernel is asked to lose before it has cost anything: a part of what one client sends.
//!
//! A classic BPF program on the socket (`socket(7)` `SO_ATTACH_FILTER`; the kernel's networking/filter documentation) sees
//! each datagram before it is queued. This one draws lots for the clients that it names, and lets all others through:
//!
//! ```text
//! for each client:   another version of IP, or another address? ─▶ the next client
//!                    a random number below its share? ─▶ pass, or else drop
//! pass
//! ```

use std::io;
use std::net::{IpAddr, UdpSocket};

use socket2::{SockFilter, SockRef};

/// What passes of what a client sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limited {
    pub(super) client: IpAddr,
    /// From 0 to 1.
    pub(super) share: f64,
}

/// Clients that a program may name, so that it stays a few instructions for each datagram.
pub(super) const LIMITED_MAX: usize = 8;

/// Octets of a packet that pass: all of them.
const PASS: u32 = u32::MAX;
const DROP: u32 = 0;

/// Lets no more than their shares through of these clients, and all of the others.
///
/// # Errors
/// The kernel, or a sandbox in its place, takes no programs.
pub(super) fn limit(socket: &UdpSocket, limited: &[Limited]) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&program(limited))
}

/// Lets all through.
pub(super) fn lift(socket: &UdpSocket) {
    // There may be none.
    let _ = SockRef::from(socket).detach_filter();
}

fn program(limited: &[Limited]) -> Vec<SockFilter> {
    let mut program: Vec<SockFilter> = limited.iter().flat_map(of_client).collect();
    program.push(give(PASS));
    program
}

/// Gives a verdict on what this client sends, and passes by what is another's.
fn of_client(limited: &Limited) -> Vec<SockFilter> {
    let (version, at, words) = match limited.client {
        // RFC 791 section 3.1, RFC 8200 section 3: where the source address is.
        IpAddr::V4(ip) => (4, 12, vec![ip.to_bits()]),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            let words = words.chunks_exact(4);
            let words = words.map(|word| word.try_into().map_or(0, u32::from_be_bytes));
            (6, 8, words.collect())
        }
    };
    let share = (limited.share.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
    let verdict = [
        load(libc::BPF_W, libc::SKF_AD_OFF + libc::SKF_AD_RANDOM),
        // Past the next one, which passes.
        jump(libc::BPF_JGE, share, 1, 0),
        give(PASS),
        give(DROP),
    ];
    let compared = words.iter().zip(0..).map(|(word, nth)| {
        let load = load(libc::BPF_W, libc::SKF_NET_OFF + at + 4 * nth);
        (load, *word)
    });
    let mut rest = 2 * words.len() + verdict.len();
    let mut program = vec![
        load(libc::BPF_B, libc::SKF_NET_OFF),
        SockFilter::new(
            (libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K) as u16,
            0,
            0,
            4,
        ),
        jump(libc::BPF_JEQ, version, 0, rest as u8),
    ];
    for (load, word) in compared {
        rest -= 2;
        program.extend([load, jump(libc::BPF_JEQ, word, 0, rest as u8)]);
    }
    program.extend(verdict);
    program
}

/// Loads a number from the packet, or from what the kernel keeps beside it.
fn load(size: u32, at: i32) -> SockFilter {
    SockFilter::new(
        (libc::BPF_LD | size | libc::BPF_ABS) as u16,
        0,
        0,
        at as u32,
    )
}

/// Compares what was loaded; skips so many instructions if it is so, or else so many.
fn jump(how: u32, with: u32, if_so: u8, or_else: u8) -> SockFilter {
    let code = libc::BPF_JMP | how | libc::BPF_K;
    SockFilter::new(code as u16, if_so, or_else, with)
}

fn give(verdict: u32) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, verdict)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::Duration;

    use super::*;

    /// How many of 200 datagrams from there come through.
    fn passed(server: &UdpSocket, from: IpAddr) -> usize {
        let client = UdpSocket::bind((from, 0)).unwrap();
        let address = SocketAddr::new(from, server.local_addr().unwrap().port());
        for nth in 0..200 {
            client.send_to(&[nth], address).unwrap();
        }
        let mut buffer = [0; 16];
        std::iter::from_fn(|| server.recv_from(&mut buffer).ok()).count()
    }

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    #[test]
    fn a_client_that_is_limited_has_its_share_and_all_others_have_all() {
        let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
        let limited = |client, share| Limited { client, share };
        let none = [limited(v4(2), 0.0), limited(v4(3), 0.5), limited(v6, 0.0)];
        for (name, limits, of, expected) in [
            ("no limit", &none[..0], v4(2), 200..=200),
            ("nothing passes", &none[..], v4(2), 0..=0),
            ("half passes", &none, v4(3), 50..=150),
            ("another client", &none, v4(4), 200..=200),
            ("nothing of IPv6 passes", &none, v6, 0..=0),
            ("another client of IPv6", &none[..2], v6, 200..=200),
        ] {
            let server = UdpSocket::bind(("::", 0)).unwrap();
            server
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            limit(&server, limits).unwrap();
            let passed_now = passed(&server, of);
            assert!(expected.contains(&passed_now), "{name}: {passed_now}");
            lift(&server);
            assert_eq!(passed(&server, of), 200, "{name}: lifted");
        }
    }

    #[test]
    fn a_program_for_as_many_clients_as_may_be_is_taken() {
        let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let all: Vec<Limited> = (0..LIMITED_MAX as u16)
            .map(|nth| Limited {
                client: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, nth).into(),
                share: 0.5,
            })
            .collect();
        limit(&server, &all).unwrap();
    }
}
