//! A client of the generator: a socket that never waits, over UDP or TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::SockRef;

use crate::batch::Batch;

const RECEIVE_BUFFER: usize = 4 << 20;
/// Room for what one read brings.
const READ: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

pub(crate) enum Link {
    Udp(UdpSocket),
    Tcp(Stream),
}

pub(crate) struct Stream {
    inner: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    held: usize,
}

impl Link {
    /// To a server, from an address of this host, which is the client's if it is UDP.
    pub(crate) fn new(
        server: SocketAddr,
        transport: Transport,
        from: Ipv4Addr,
    ) -> io::Result<Link> {
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((from, 0))?;
                // As large as the system allows: what the generator does not read in time is not the server's loss.
                let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
                socket.connect(server)?;
                Ok(Link::Udp(socket))
            }
            Transport::Tcp => {
                let inner = TcpStream::connect(server)?;
                inner.set_nodelay(true)?;
                inner.set_nonblocking(true)?;
                Ok(Link::Tcp(Stream {
                    inner,
                    outgoing: Vec::new(),
                    incoming: vec![0; READ],
                    held: 0,
                }))
            }
        }
    }

    pub(crate) fn send(&mut self, batch: &mut Batch, packets: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Link::Udp(socket) => batch.send(socket, packets),
            Link::Tcp(stream) => {
                for packet in packets {
                    stream.outgoing.extend((packet.len() as u16).to_be_bytes());
                    stream.outgoing.extend(packet);
                }
                stream.flush()
            }
        }
    }

    /// Hands every reply that is there to `each`.
    pub(crate) fn receive(
        &mut self,
        batch: &mut Batch,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        match self {
            Link::Udp(socket) => {
                let received = batch.receive(socket, false)?;
                (0..received).for_each(|at| each(batch.packet(at)));
                Ok(())
            }
            Link::Tcp(stream) => {
                stream.flush()?;
                stream.receive(each)
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Link::Udp(socket) => socket.as_fd(),
            Link::Tcp(stream) => stream.inner.as_fd(),
        }
    }
}

impl Stream {
    fn flush(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.inner.write(&self.outgoing) {
            Ok(written) => drop(self.outgoing.drain(..written)),
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        match self.inner.read(&mut self.incoming[self.held..]) {
            Ok(0) => {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the server closed a connection",
                ));
            }
            Ok(count) => self.held += count,
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(fault) => return Err(fault),
        }
        let mut whole = 0;
        while let Some([high, low]) = self.incoming[whole..self.held].first_chunk() {
            let next = whole + 2 + usize::from(u16::from_be_bytes([*high, *low]));
            if next > self.held {
                break;
            }
            each(&self.incoming[whole + 2..next]);
            whole = next;
        }
        self.incoming.copy_within(whole..self.held, 0);
        self.held -= whole;
        Ok(())
    }
}
