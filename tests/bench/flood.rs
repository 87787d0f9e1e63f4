//! More queries than any server answers, from one address.
//!
//! A datagram at a time no generator asks ten times what a server answers on a core as fast; so many queries of one
//! length leave in one buffer, which the kernel cuts into datagrams (UDP_SEGMENT).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::SockRef;

use crate::batch::Batch;
use crate::process::loopback;
use crate::questions::{Expect, Questions};

/// Datagrams that leave in one buffer: no more than the kernel cuts, and with names as long as these below 64 KiB.
const SEGMENTS: usize = 60;
const CLIENTS: usize = 16;
/// Replies are read after so many buffers; no divisor of the number of clients, so that all have their turn.
const READ_EVERY: usize = 3;

/// Whether a flood says the same again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// It does, which is the quickest.
    Repeated,
    /// Each is asked once.
    New,
}

pub(crate) struct Flood {
    sockets: Vec<UdpSocket>,
    buffers: Vec<Vec<u8>>,
    length: u16,
    batch: Batch,
    questions: Questions,
    names: Names,
}

impl Flood {
    pub(crate) fn new(server: SocketAddr, questions: Questions, names: Names) -> io::Result<Flood> {
        let client = |_| {
            let socket = UdpSocket::bind(loopback(0))?;
            let _ = SockRef::from(&socket).set_recv_buffer_size(4 << 20);
            socket.connect(server)?;
            Ok(socket)
        };
        let mut flood = Flood {
            sockets: (0..CLIENTS).map(client).collect::<io::Result<_>>()?,
            buffers: vec![Vec::new(); CLIENTS],
            length: 0,
            batch: Batch::new(),
            questions,
            names,
        };
        (0..CLIENTS).for_each(|at| flood.fill(at));
        Ok(flood)
    }

    /// Makes a buffer of the next questions that are as long as the first.
    fn fill(&mut self, at: usize) {
        let (buffer, mut packet) = (&mut self.buffers[at], Vec::new());
        buffer.clear();
        while buffer.len() < SEGMENTS * usize::from(self.length) || buffer.is_empty() {
            self.questions.next(rand::random(), &mut packet);
            if self.length == 0 {
                self.length = u16::try_from(packet.len()).expect("a question is short");
            }
            if packet.len() == usize::from(self.length) {
                buffer.extend_from_slice(&packet);
            }
        }
    }

    /// Sends at this rate, or as fast as can be; returns how many were sent and how many answered, in a second.
    pub(crate) fn last(&mut self, rate: f64, duration: Duration) -> io::Result<(f64, f64)> {
        let began = Instant::now();
        let (mut sent, mut answered, mut turn) = (0.0, 0, 0);
        while began.elapsed() < duration {
            let is_due = sent <= began.elapsed().as_secs_f64() * rate;
            if is_due {
                let at = turn * 7 % CLIENTS;
                if self.names == Names::New {
                    self.fill(at);
                }
                let socket = &self.sockets[turn % CLIENTS];
                let slices = [IoSlice::new(&self.buffers[at])];
                let cut = [ControlMessage::UdpGsoSegments(&self.length)];
                sendmsg::<()>(socket.as_raw_fd(), &slices, &cut, MsgFlags::empty(), None)?;
                sent += SEGMENTS as f64;
                turn += 1;
            }
            // The more often it reads, the less it asks; this is often enough that no buffer of its own overflows.
            if is_due && !turn.is_multiple_of(READ_EVERY) {
                continue;
            }
            let socket = &self.sockets[(turn + 1) % CLIENTS];
            let received = self.batch.receive(socket, false)?;
            answered += (0..received)
                .filter(|at| Expect::Records.is_met(self.batch.packet(*at)))
                .count();
            if !is_due && received == 0 {
                // Others share the core: an upstream, a second client.
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        let took = began.elapsed().as_secs_f64();
        Ok((sent / took, answered as f64 / took))
    }
}
