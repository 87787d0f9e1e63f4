//! Many datagrams in one system call, for the floor and for the generator: what the server does, by the safe wrappers
//! of a library, so that neither the floor nor the generator costs more than it must.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams in a call, as in the server.
pub(crate) const BATCH: usize = 32;

/// Octets kept of a datagram: more than any reply over UDP here.
const PACKET_MAX: usize = 2048;

/// What a call receives, and what it takes to send.
pub(crate) struct Batch {
    receiving: MultiHeaders<SockaddrIn>,
    sending: MultiHeaders<SockaddrIn>,
    packets: Vec<[u8; PACKET_MAX]>,
    lengths: [usize; BATCH],
    peers: [Option<SockaddrIn>; BATCH],
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            receiving: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
            packets: vec![[0; PACKET_MAX]; BATCH],
            lengths: [0; BATCH],
            peers: [None; BATCH],
        }
    }

    /// Takes the datagrams that are there; if `wait`, waits for the first. Returns how many.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        let flags = if wait {
            MsgFlags::MSG_WAITFORONE
        } else {
            MsgFlags::MSG_DONTWAIT
        };
        let mut packets = self.packets.iter_mut();
        let mut slices: [[IoSliceMut; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(packets.next().expect("as many as slots"))]);
        let fd = socket.as_raw_fd();
        match recvmmsg(fd, &mut self.receiving, slices.iter_mut(), flags, None) {
            Ok(messages) => {
                let mut count = 0;
                for message in messages {
                    (self.lengths[count], self.peers[count]) = (message.bytes, message.address);
                    count += 1;
                }
                Ok(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(fault) => Err(fault.into()),
        }
    }

    /// A datagram that was received.
    pub(crate) fn packet(&self, at: usize) -> &[u8] {
        &self.packets[at][..self.lengths[at]]
    }

    /// A datagram that was received, with room to become its reply.
    pub(crate) fn packet_mut(&mut self, at: usize) -> (&mut [u8], &mut usize) {
        (&mut self.packets[at], &mut self.lengths[at])
    }

    /// Sends the first `count` packets back to where they came from. What is not taken is lost.
    pub(crate) fn send_back(&mut self, socket: &UdpSocket, count: usize) {
        let packets = self.packets.iter().zip(self.lengths);
        let mut slices = packets.map(|(packet, length)| [IoSlice::new(&packet[..length])]);
        let slices: [[IoSlice; 1]; BATCH] =
            std::array::from_fn(|_| slices.next().expect("as many as slots"));
        let (fd, none) = (socket.as_raw_fd(), MsgFlags::empty());
        let peers = &self.peers[..count];
        let _ = sendmmsg(fd, &mut self.sending, &slices[..count], peers, [], none);
    }

    /// Sends packets over a connected socket, no more than a batch.
    pub(crate) fn send(&mut self, socket: &UdpSocket, packets: &[Vec<u8>]) -> io::Result<()> {
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        for (slice, packet) in slices.iter_mut().zip(packets) {
            *slice = [IoSlice::new(packet)];
        }
        let (fd, none) = (socket.as_raw_fd(), MsgFlags::empty());
        let nobody: [Option<SockaddrIn>; BATCH] = [None; BATCH];
        let slices = &slices[..packets.len()];
        match sendmmsg(
            fd,
            &mut self.sending,
            slices,
            &nobody[..packets.len()],
            [],
            none,
        ) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}
