//! TCP beyond kept connections: one for each query, and ten thousand that do nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use crate::instance::{How, Instance};
use crate::load::{Check, Outcome};
use crate::peers::Kind;
use crate::process::own_cpu;
use crate::questions::{Expect, Mix, Questions};
use crate::report::{Column, Figures, Limit, Report};
use crate::world::World;

/// Connections under way at once.
const WINDOW: usize = 32;
/// What closes first keeps its port for a minute: enough addresses that none runs out of ports.
const SOURCES: u32 = 200;
const IDLE: usize = 10_000;

struct Exchange {
    stream: TcpStream,
    begun: Instant,
    /// `None` until it is connected and has asked.
    expect: Option<Expect>,
    reply: Vec<u8>,
}

/// A connection for each query.
pub(crate) fn one_shot(world: &World, report: &mut Report) -> io::Result<()> {
    let servers = world.start(&[
        Kind::Floor,
        Kind::Cairn,
        Kind::Knot,
        Kind::Nsd,
        Kind::Unbound,
        Kind::CoreDns,
    ]);
    let mut figures = Figures::default();
    let mut source = 0;
    for _ in 0..world.effort.rounds {
        for server in &servers {
            let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
            let before = server.running.cpu();
            let outcome = exchanges(
                server.address,
                &mut questions,
                server.check(),
                world.effort.load,
                &mut source,
            )?;
            let cpu = server.running.cpu() - before;
            for (column, value) in [
                (Column::Qps, outcome.qps),
                (
                    Column::CpuUs,
                    cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64,
                ),
                (
                    Column::P50Us,
                    outcome.latency.quantile(0.5).as_secs_f64() * 1e6,
                ),
                (
                    Column::P99Us,
                    outcome.latency.quantile(0.99).as_secs_f64() * 1e6,
                ),
                (Column::MaxUs, outcome.latency.max().as_secs_f64() * 1e6),
                (Column::Lost, outcome.lost() as f64),
                (Column::Wrong, outcome.wrong as f64),
                (Column::Busy, outcome.busy),
            ] {
                figures.add(&server.name, column, value);
            }
        }
    }
    report.table(
        "tcp-once: a connection for each query (latency with 32 at once)",
        &figures,
    );
    Ok(())
}

/// From an address that was not used for longest. With `wait`, connected; else on its way.
fn connect(server: SocketAddr, source: &mut u32, wait: bool) -> io::Result<TcpStream> {
    *source = (*source + 1) % SOURCES;
    let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + *source);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.set_nonblocking(!wait)?;
    match socket.connect(&server.into()) {
        Err(fault) if fault.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
            Err(fault)
        }
        _ => Ok(socket.into()),
    }
}

fn ask(
    stream: &mut TcpStream,
    questions: &mut Questions,
    packet: &mut Vec<u8>,
) -> io::Result<Expect> {
    let expect = questions.next(7, packet);
    let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    stream.write_all(&framed)?;
    Ok(expect)
}

fn exchanges(
    server: SocketAddr,
    questions: &mut Questions,
    check: Check,
    duration: Duration,
    source: &mut u32,
) -> io::Result<Outcome> {
    let (began, cpu) = (Instant::now(), own_cpu());
    let (mut outcome, mut under_way, mut packet) = (Outcome::default(), Vec::new(), Vec::new());
    while began.elapsed() < duration {
        while under_way.len() < WINDOW {
            let begun = Instant::now();
            let stream = connect(server, source, false)?;
            under_way.push(Exchange {
                stream,
                begun,
                expect: None,
                reply: Vec::new(),
            });
            outcome.sent += 1;
        }
        let mut polled: Vec<PollFd> = under_way
            .iter()
            .map(|exchange| PollFd::new(exchange.stream.as_fd(), exchange.waits_for()))
            .collect();
        poll(&mut polled, PollTimeout::from(100_u8))?;
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        under_way.retain_mut(|exchange| match (ready.next(), exchange.expect) {
            (Some(true), None) => {
                exchange.expect = ask(&mut exchange.stream, questions, &mut packet).ok();
                exchange.expect.is_some()
            }
            (Some(true), Some(expect)) => !exchange.is_over(expect, check, &mut outcome),
            _ => true,
        });
    }
    let took = began.elapsed().as_secs_f64();
    outcome.qps = outcome.answered as f64 / took;
    outcome.busy = (own_cpu() - cpu).as_secs_f64() / took;
    // What is under way is nobody's loss.
    outcome.sent -= under_way.len() as u64;
    Ok(outcome)
}

impl Exchange {
    fn waits_for(&self) -> PollFlags {
        match self.expect {
            None => PollFlags::POLLOUT,
            Some(_) => PollFlags::POLLIN,
        }
    }

    fn is_over(&mut self, expect: Expect, check: Check, outcome: &mut Outcome) -> bool {
        let mut octets = [0; 2048];
        match self.stream.read(&mut octets) {
            Ok(0) => true,
            Ok(count) => {
                self.reply.extend_from_slice(&octets[..count]);
                let whole = self
                    .reply
                    .first_chunk()
                    .map(|length| usize::from(u16::from_be_bytes(*length)) + 2);
                if whole.is_none_or(|whole| self.reply.len() < whole) {
                    return false;
                }
                outcome.answered += 1;
                outcome.latency.add(self.begun.elapsed());
                outcome.wrong +=
                    u64::from(check == Check::Answers && !expect.is_met(&self.reply[2..]));
                true
            }
            Err(fault) => fault.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Connections that asked once and then wait: what each of them holds.
pub(crate) fn idle(world: &World, report: &mut Report) -> io::Result<()> {
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    let _ = nix::sys::resource::setrlimit(
        nix::sys::resource::Resource::RLIMIT_NOFILE,
        hard.max(soft),
        hard,
    );
    let count = IDLE.min(
        usize::try_from(hard / 2)
            .unwrap_or(IDLE)
            .saturating_sub(100),
    );
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let instance = Instance::synced(world, How::new(world, &source))?;
    instance.settle();
    let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
    let before = instance.running.rss();
    let (mut streams, mut packet, mut at) = (Vec::with_capacity(count), Vec::new(), 0);
    let mut reply = [0; 512];
    for _ in 0..count {
        let mut stream = connect(instance.address, &mut at, true)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        ask(&mut stream, &mut questions, &mut packet)?;
        if stream.read(&mut reply)? == 0 {
            break;
        }
        streams.push(stream);
    }
    let each = (instance.running.rss().saturating_sub(before)) as f64
        / streams.len().max(1) as f64
        / 1024.0;
    let open = streams.iter().filter(|stream| is_open(stream)).count();
    report.fact(
        "tcp-idle",
        "connections that were open at once",
        open as f64,
        "",
    );
    let text = format!("tcp-idle: {open} connections <= 4 KiB each");
    report.goal(&text, Some(each), "KiB", Limit::AtMost(4.0));
    Ok(())
}

fn is_open(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    matches!(stream.peek(&mut [0]), Err(fault) if fault.kind() == ErrorKind::WouldBlock)
}
