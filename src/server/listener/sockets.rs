//! The sockets of an address: one for TCP, and one of UDP for each thread that shall read it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::super::udp;
use crate::dns::Transport;

/// Connections that the kernel completes before they are accepted. It takes no more than `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Octets of datagrams that the kernel keeps for a thread that is busy, its bookkeeping included: some 1,300
/// queries, about 10 ms of work; what waits longer is not worth an answer. It grants `net.core.rmem_max` at most.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Octets that the kernel keeps of queries that we have not read and of replies that a client has not taken, for each
/// connection, before its bookkeeping, which is as much again. Left to itself it goes up to 10 MB, which counts
/// against the memory of the Pod.
const TCP_RECEIVE_BUFFER: usize = 64 << 10;
const TCP_SEND_BUFFER: usize = 128 << 10;
/// Ports tried for one that is free for TCP as well as UDP, where the port is ours to choose.
const PORTS_TRIED: usize = 16;

/// Sockets that are bound to the same address.
#[derive(Debug)]
pub(super) struct Sockets {
    /// With its port.
    pub(super) address: SocketAddr,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: TcpListener,
}

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{} {address}: {source}", transport.as_str())]
pub struct BindError {
    /// For what.
    pub transport: Transport,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl BindError {
    /// The address as it is written in a Corefile: `:53` for all addresses.
    pub fn place(&self) -> String {
        match self.address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!(":{}", self.address.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => self.address.to_string(),
        }
    }
}

impl Sockets {
    /// Binds the address. Port 0 becomes one that is free for both. `[::]` takes IPv4 too, and is `0.0.0.0` on a host
    /// without IPv6.
    pub(super) fn bind(address: SocketAddr, udp_count: usize) -> Result<Sockets, BindError> {
        match Sockets::bind_any_port(address, udp_count) {
            Err(error)
                if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error.source) =>
            {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
                Sockets::bind_any_port(address, udp_count)
            }
            bound => bound,
        }
    }

    fn bind_any_port(address: SocketAddr, udp_count: usize) -> Result<Sockets, BindError> {
        let mut tries = if address.port() == 0 { PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            match Sockets::bind_both(address, udp_count) {
                Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                bound => return bound,
            }
        }
    }

    fn bind_both(address: SocketAddr, udp_count: usize) -> Result<Sockets, BindError> {
        let failed = |transport| {
            move |source| BindError {
                transport,
                address,
                source,
            }
        };
        // What has been bound is given datagrams, so all that descriptors can be short of is had before.
        let udp = (0..udp_count).map(|_| udp_socket(address));
        let udp = udp.collect::<io::Result<Vec<_>>>();
        let udp = udp.map_err(failed(Transport::Udp))?;
        let tcp = tcp_socket(address).map_err(failed(Transport::Tcp))?;
        let mut local_address = address;
        for socket in &udp {
            local_address = bind_udp(socket, local_address).map_err(failed(Transport::Udp))?;
        }
        bind_tcp(&tcp, local_address).map_err(failed(Transport::Tcp))?;
        Ok(Sockets {
            address: local_address,
            udp: udp.into_iter().map(UdpSocket::from).collect(),
            tcp: tcp.into(),
        })
    }
}

/// The kernel knows no IPv6 at all, or has no address of it, not even the unspecified one.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Best effort: a smaller buffer loses datagrams in a burst, no buffer at all is not on offer.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if address.ip().is_unspecified() {
        udp::tell_addresses(&socket, address.is_ipv6())?;
    }
    Ok(socket)
}

/// Gives the address with its port.
fn bind_udp(socket: &Socket, mut address: SocketAddr) -> io::Result<SocketAddr> {
    if address.port() == 0 {
        // A socket that shares ports may be given one that another shares already; so the first that wants any port
        // is ready to share it only when it has it.
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket();
        address.set_port(bound.map_or(0, |bound| bound.port()));
        socket.set_reuse_port(true)?;
    } else {
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
    }
    Ok(address)
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // As CoreDNS does, so that a successor can take the port over before we leave it.
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    // Replies are written whole; there is nothing to wait for (RFC 7766 section 8). Connections have it from here.
    socket.set_tcp_nodelay(true)?;
    // Best effort, and before `listen`, which settles how wide windows can be.
    let _ = socket.set_recv_buffer_size(TCP_RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(TCP_SEND_BUFFER);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_tcp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}
