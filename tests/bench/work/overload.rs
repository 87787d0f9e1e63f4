//! Far more queries than can be answered: how many are answered all the same, how soon all is well again, and what
//! stays in memory.
//!
//! A datagram at a time no generator asks ten times what a server answers on a core as fast; so many queries of one
//! length leave in one buffer, which the kernel cuts into datagrams (UDP_SEGMENT).

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::SockRef;

use crate::batch::Batch;
use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load, Outcome, Wait};
use crate::process::loopback;
use crate::questions::{Expect, Mix, Questions};
use crate::report::{Limit, Report};
use crate::world::World;

/// How many times what the server can do is asked.
const TIMES: f64 = 10.0;
/// Datagrams that leave in one buffer: no more than the kernel cuts, and with names as long as these below 64 KiB.
const SEGMENTS: usize = 60;
const CLIENTS: usize = 16;
/// Replies are read after so many buffers; no divisor of the number of clients, so that all have their turn.
const READ_EVERY: usize = 3;
/// After the flood the server is looked at so often.
const SLICE: Duration = Duration::from_millis(100);
const RECOVERY: Duration = Duration::from_secs(3);
/// What a slice must be to be normal, at half load.
const NORMAL: Duration = Duration::from_millis(5);

struct Flood {
    sockets: Vec<UdpSocket>,
    buffers: Vec<Vec<u8>>,
    length: u16,
    batch: Batch,
}

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let instance = Instance::synced(world, How::new(world, &source))?;
    let load = |rate: Option<f64>, duration: Duration| -> io::Result<Outcome> {
        let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
        let load = Load::new(
            instance.address,
            Transport::Udp,
            &mut questions,
            Check::Answers,
        )?;
        match rate {
            None => load.closed(duration),
            Some(rate) => load.open(rate, duration, Wait::Spin),
        }
    };
    let peak = load(None, world.effort.load * 2)?.qps;
    let before = instance.running.rss();
    instance.running.forget_peak();
    let mut flood = Flood::new(&instance, world)?;
    let (asked, answered) = flood.last(peak * TIMES, world.effort.load * 2)?;
    let ended = Instant::now();
    let mut normal = None;
    while normal.is_none() && ended.elapsed() < RECOVERY {
        let began = ended.elapsed();
        let slice = load(Some(peak / 2.0), SLICE)?;
        if slice.lost() == 0 && slice.latency.quantile(0.99) <= NORMAL {
            normal = Some(began.as_secs_f64());
        }
    }
    let grown = instance
        .running
        .peak()
        .max(instance.running.rss())
        .saturating_sub(before) as f64
        / 1_048_576.0;
    report.fact("overload", "peak", peak, "qps");
    report.fact("overload", "asked", asked, "qps");
    report.fact("overload", "answered", answered, "qps");
    let text = format!(
        "overload: at {:.1} x the peak answered >= 90 % of the peak",
        asked / peak
    );
    report.goal(
        &text,
        Some(answered / peak * 100.0),
        "%",
        Limit::AtLeast(90.0),
    );
    report.goal(
        "overload: normal again within 1 s",
        normal,
        "s",
        Limit::AtMost(1.0),
    );
    report.goal(
        "overload: memory + 32 MiB at most",
        Some(grown),
        "MiB",
        Limit::AtMost(32.0),
    );
    Ok(())
}

impl Flood {
    fn new(instance: &Instance, world: &World) -> io::Result<Flood> {
        let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
        let client = |_| {
            let socket = UdpSocket::bind(loopback(0))?;
            let _ = SockRef::from(&socket).set_recv_buffer_size(4 << 20);
            socket.connect(instance.address)?;
            Ok(socket)
        };
        let mut packet = Vec::new();
        questions.next(0, &mut packet);
        let length = packet.len();
        let mut buffers = Vec::new();
        while buffers.len() < CLIENTS {
            let mut buffer = Vec::with_capacity(SEGMENTS * length);
            while buffer.len() < SEGMENTS * length {
                questions.next(rand::random(), &mut packet);
                if packet.len() == length {
                    buffer.extend_from_slice(&packet);
                }
            }
            buffers.push(buffer);
        }
        Ok(Flood {
            sockets: (0..CLIENTS).map(client).collect::<io::Result<_>>()?,
            buffers,
            length: u16::try_from(length).expect("a question is short"),
            batch: Batch::new(),
        })
    }

    /// Sends at this rate, or as fast as can be; returns how many were sent and how many answered, in a second.
    fn last(&mut self, rate: f64, duration: Duration) -> io::Result<(f64, f64)> {
        let began = Instant::now();
        let (mut sent, mut answered, mut turn) = (0.0, 0, 0);
        while began.elapsed() < duration {
            if sent <= began.elapsed().as_secs_f64() * rate {
                let socket = &self.sockets[turn % CLIENTS];
                let slices = [IoSlice::new(&self.buffers[turn * 7 % CLIENTS])];
                let cut = [ControlMessage::UdpGsoSegments(&self.length)];
                sendmsg::<()>(socket.as_raw_fd(), &slices, &cut, MsgFlags::empty(), None)?;
                sent += SEGMENTS as f64;
                turn += 1;
            }
            // The more often it reads, the less it asks; this is often enough that no buffer of its own overflows.
            if !turn.is_multiple_of(READ_EVERY) {
                continue;
            }
            let socket = &self.sockets[(turn + 1) % CLIENTS];
            let received = self.batch.receive(socket, false)?;
            answered += (0..received)
                .filter(|at| Expect::Records.is_met(self.batch.packet(*at)))
                .count();
        }
        let took = began.elapsed().as_secs_f64();
        Ok((sent / took, answered as f64 / took))
    }
}
