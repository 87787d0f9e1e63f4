//! Many datagrams in one system call: `recvmmsg` in, `sendmmsg` out.
//!
//! The only module with unsafe code. What it shows is safe: a [`Batch`] receives, lends the packets and the
//! addresses, and sends a reply to each; a [`Peer`] is where a reply goes that is sent later. No pointer outlives
//! the call that it is made for, and every pointer given to the kernel is into a slice whose length goes with it.
//!
//! On sockets bound to a wildcard address the kernel tells with each datagram which address was asked (RFC 3542
//! section 6, `ip(7)` `IP_PKTINFO`), and is told which to reply from; elsewhere that would cost and say nothing.
#![allow(unsafe_code)]
// The widths of fields and flags differ between C libraries: what is a cast in one is none in another.
#![allow(clippy::unnecessary_cast)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;

use libc::{
    c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, sockaddr_in, sockaddr_in6,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest datagram that is read whole. CoreDNS reads as much: the rest of a longer one is cut off, which
/// makes it malformed.
pub(super) const PACKET_MAX: usize = 512;

/// Address information of one datagram: a control message of the only kind that is asked for.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: cmsghdr,
    info: PacketInfo,
}

#[derive(Clone, Copy)]
#[repr(C)]
union PacketInfo {
    v4: in_pktinfo,
    v6: in6_pktinfo,
}

/// Whom a reply goes to, and from where.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// As the kernel wrote it; the family tells whether it is a `sockaddr_in` or a `sockaddr_in6`.
    name: sockaddr_in6,
    name_len: u32,
    /// As the kernel wrote it; of no length where addresses are not asked for.
    control: Control,
    control_len: usize,
}

/// Slots for datagrams, their senders, and what the kernel is told about them.
pub(super) struct Batch {
    packets: Box<[[u8; PACKET_MAX]]>,
    lengths: Box<[usize]>,
    peers: Box<[Peer]>,
    vectors: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    with_control: bool,
    received: usize,
}

// SAFETY: the pointers in it point into it, or nowhere. They are read by the kernel only, in calls that set them first.
unsafe impl Send for Batch {}

/// Asks for the address with each datagram; for sockets bound to a wildcard address.
pub(in crate::server) fn tell_addresses(socket: &impl AsRawFd, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: c_int = 1;
    // SAFETY: the pointer and the length are those of `on`, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<c_int>() as u32,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Wakes a thread that waits in [`Batch::receive`], now and from now on; what is queued can still be received.
pub(super) fn wake(socket: &UdpSocket) {
    // The socket has no peer, so Linux reports ENOTCONN; it wakes the readers first.
    // SAFETY: a system call on an open descriptor that takes no pointer.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) };
}

/// How many datagrams the kernel has not queued since the socket was made, because there was no room or a filter did not
/// let them through; it goes round at 2^32. 0 where the kernel does not tell.
pub(super) fn lost(socket: &UdpSocket) -> u32 {
    /// `SO_MEMINFO` of `asm-generic/socket.h`.
    const MEMORY_INFO: c_int = 55;
    let mut values = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = size_of_val(&values) as u32;
    // SAFETY: the pointer and the length are those of `values`, which outlives the call, and the kernel writes no more.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            MEMORY_INFO,
            (&raw mut values).cast(),
            &raw mut length,
        )
    };
    values[libc::SK_MEMINFO_DROPS as usize]
}

/// Has the runtime tell when there is something to receive. The socket may be a blocking one, which is why it is not
/// made one of tokio's: it is received from without waiting.
pub(super) fn watch(socket: Arc<UdpSocket>) -> io::Result<AsyncFd<Arc<UdpSocket>>> {
    // SAFETY: the descriptor stays the socket's while it is registered, because what is returned holds the socket and
    // lends it only.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(watched?)
}

impl Batch {
    /// Slots for `size` datagrams; `with_control` if the socket tells addresses.
    pub(super) fn new(size: usize, with_control: bool) -> Batch {
        Batch {
            packets: vec![[0; PACKET_MAX]; size].into(),
            lengths: vec![0; size].into(),
            peers: vec![Peer::nobody(); size].into(),
            // SAFETY: all-zero is a value of the type: a null pointer and a length of 0.
            vectors: vec![unsafe { mem::zeroed() }; size].into(),
            // SAFETY: likewise.
            headers: vec![unsafe { mem::zeroed() }; size].into(),
            with_control,
            received: 0,
        }
    }

    /// Waits for a datagram (unless `wait` is false) and takes all that are there, up to the size of the batch.
    /// Returns how many; some may have come from nobody, see [`Peer::client`].
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        self.received = 0;
        let control_len = if self.with_control {
            size_of::<Control>()
        } else {
            0
        };
        let slots = self.packets.iter_mut().zip(self.peers.iter_mut());
        let kernel = self.headers.iter_mut().zip(self.vectors.iter_mut());
        for ((packet, peer), (header, vector)) in slots.zip(kernel) {
            *vector = iovec {
                iov_base: packet.as_mut_ptr().cast(),
                iov_len: PACKET_MAX,
            };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut peer.name).cast();
            header.msg_hdr.msg_namelen = size_of::<sockaddr_in6>() as u32;
            header.msg_hdr.msg_control = (&raw mut peer.control).cast();
            header.msg_hdr.msg_controllen = control_len as _;
        }
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: the headers are `len` in number, and each was just pointed at a vector, a packet, a name and a
        // control message of its own, with their sizes; nothing else refers to them during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as u32,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (at, header) in self.headers[..self.received].iter().enumerate() {
            self.lengths[at] = (header.msg_len as usize).min(PACKET_MAX);
            self.peers[at].name_len = header.msg_hdr.msg_namelen;
            self.peers[at].control_len = header.msg_hdr.msg_controllen as usize;
        }
        Ok(self.received)
    }

    /// The octets of a datagram.
    pub(super) fn packet(&self, at: usize) -> &[u8] {
        &self.packets[at][..self.lengths[at]]
    }

    /// Its sender and, if told, the address that it was sent to.
    pub(super) fn peer(&self, at: usize) -> &Peer {
        &self.peers[at]
    }

    /// Sends `replies[i]` to the sender of datagram `i`, unless it is empty. A reply that the kernel does not
    /// take is given up, as the network might lose it. Returns how many were.
    pub(super) fn send(&mut self, socket: &UdpSocket, replies: &[Vec<u8>]) -> usize {
        let mut count = 0;
        let peers = self.peers[..self.received].iter_mut();
        let sent = peers.zip(replies).filter(|(_, reply)| !reply.is_empty());
        let kernel = self.headers.iter_mut().zip(self.vectors.iter_mut());
        for ((peer, reply), (header, vector)) in sent.zip(kernel) {
            *vector = iovec {
                // The kernel only reads what is sent.
                iov_base: reply.as_ptr().cast_mut().cast(),
                iov_len: reply.len(),
            };
            peer.address(header, vector);
            count += 1;
        }
        send_all(socket, &mut self.headers[..count], 0)
    }
}

/// Sends replies to those whom they are for, without waiting for room. Returns how many the kernel did not take.
pub(super) fn send<'a>(
    socket: &UdpSocket,
    replies: impl Iterator<Item = (&'a mut Peer, &'a [u8])>,
) -> usize {
    let replies: Vec<_> = replies.collect();
    // SAFETY: all-zero is a value of both types: null pointers and lengths of 0.
    let mut vectors: Vec<iovec> = vec![unsafe { mem::zeroed() }; replies.len()];
    // SAFETY: likewise.
    let mut headers: Vec<mmsghdr> = vec![unsafe { mem::zeroed() }; replies.len()];
    for ((peer, reply), (header, vector)) in replies
        .into_iter()
        .zip(headers.iter_mut().zip(&mut vectors))
    {
        *vector = iovec {
            // The kernel only reads what is sent.
            iov_base: reply.as_ptr().cast_mut().cast(),
            iov_len: reply.len(),
        };
        peer.address(header, vector);
    }
    send_all(socket, &mut headers, libc::MSG_DONTWAIT)
}

/// Sends messages whose headers were just addressed; returns how many were not taken. The kernel stops at a
/// message that it does not take and names the reason only when asked to begin with it.
fn send_all(socket: &UdpSocket, mut headers: &mut [mmsghdr], flags: c_int) -> usize {
    let mut refused = 0;
    while !headers.is_empty() {
        // SAFETY: the headers are `len` in number; the callers pointed each at a vector, a name and a control
        // message that are borrowed until this function has returned.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                flags as _,
            )
        };
        let done = match usize::try_from(sent) {
            Ok(sent) => sent,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => {
                refused += 1;
                1
            }
        };
        headers = &mut headers[done..];
    }
    refused
}

impl Peer {
    fn nobody() -> Peer {
        // SAFETY: all-zero is a value of all its fields, which are numbers and arrays of numbers.
        unsafe { mem::zeroed() }
    }

    /// The address of the sender; IPv4 as IPv4, whatever the socket. `None` if the datagram came from nobody,
    /// which is how a reader learns that it was woken.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let name = &self.name;
        match c_int::from(name.sin6_family) {
            libc::AF_INET if self.name_len as usize >= size_of::<sockaddr_in>() => {
                // SAFETY: the family says that the kernel wrote a `sockaddr_in`, which is no larger and no more
                // aligned than `name`, and any octets are a value of it.
                let v4 = unsafe { (&raw const *name).cast::<sockaddr_in>().read() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 if self.name_len as usize >= size_of::<sockaddr_in6>() => {
                let (ip, port) = (
                    Ipv6Addr::from(name.sin6_addr.s6_addr),
                    u16::from_be(name.sin6_port),
                );
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddr::new(ip.into(), port),
                    None => SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into(),
                })
            }
            _ => None,
        }
    }

    /// The address that was asked, if the socket tells it.
    pub(super) fn asked(&self) -> Option<IpAddr> {
        let control = &self.control;
        if self.control_len < size_of::<cmsghdr>() + size_of::<in_pktinfo>() {
            return None;
        }
        match (control.header.cmsg_level, control.header.cmsg_type) {
            // SAFETY: level and type say which member the kernel wrote, and any octets are a value of either.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let address = unsafe { control.info.v4 }.ipi_addr.s_addr;
                Some(Ipv4Addr::from(u32::from_be(address)).into())
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = unsafe { control.info.v6 }.ipi6_addr.s6_addr;
                Some(Ipv6Addr::from(address).to_canonical())
            }
            _ => None,
        }
    }

    /// Fills a header that sends `vector` back to the sender, from the address asked. The header points into
    /// `self` and `vector`, which must live until it is sent.
    fn address(&mut self, header: &mut mmsghdr, vector: &mut iovec) {
        self.leave_by_any_interface();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut self.name).cast();
        header.msg_hdr.msg_namelen = self.name_len;
        header.msg_hdr.msg_control = if self.control_len == 0 {
            ptr::null_mut()
        } else {
            (&raw mut self.control).cast::<c_void>()
        };
        header.msg_hdr.msg_controllen = self.control_len as _;
    }

    /// A reply is routed like any other packet: where routes are asymmetric, the interface that the query came
    /// by is not the way back. Only a link-local address means nothing without its interface.
    fn leave_by_any_interface(&mut self) {
        match self.asked() {
            Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {}
            Some(_) if self.control.header.cmsg_level == libc::IPPROTO_IP => {
                // The kernel has put the local address that the reply leaves from into `ipi_spec_dst`.
                // SAFETY: `asked` has found the member by the same level.
                unsafe { &mut self.control.info.v4 }.ipi_ifindex = 0;
            }
            Some(_) => {
                // SAFETY: likewise.
                unsafe { &mut self.control.info.v6 }.ipi6_ifindex = 0;
            }
            None => self.control_len = 0,
        }
    }
}
