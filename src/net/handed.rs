//! Listening sockets that the process was started with: `LISTEN_FDS` (sd_listen_fds(3)), of a supervisor or of the process
//! that this one replaces, which also hands over a line to tell it when to stop accepting.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use socket2::{Socket as RawSocket, Type};

use crate::base::address::Address;

/// Where a process says which of the sockets is no listener but the line to it: in `LISTEN_FDNAMES`, the others are
/// nameless.
pub const LINE_NAME: &str = "corelane-line";

/// What the process was started with.
#[derive(Debug, Default)]
pub struct Handed {
    sockets: Vec<(RawSocket, Address)>,
    line: Option<UnixStream>,
}

impl Handed {
    /// Takes over what the environment tells of. For the beginning of the process: it also takes it out of the environment.
    ///
    /// `LISTEN_PID` may be missing; where it names another process nothing was meant for this one. Fails where a descriptor
    /// is not what it should be.
    pub fn of_environment() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut handed = Self::default();
        for position in 0..given.len() {
            let socket = match given.take_unix_listener(position) {
                Ok(socket) => socket.map(OwnedFd::from),
                Err(_) => given.take_tcp_listener(position)?.map(OwnedFd::from),
            };
            let Some(socket) = socket.map(RawSocket::from) else { continue };
            if names.next() == Some(LINE_NAME) {
                handed.line = Some(OwnedFd::from(socket).into());
                continue;
            }
            let address = address_of(&socket)?;
            handed.sockets.push((socket, address));
        }
        Ok(handed)
    }

    /// The sockets of each of `addresses`, in their order; none where there is none. One with port 0 takes the port of a
    /// socket that no other address fits.
    pub fn deal(&mut self, addresses: &[&Address]) -> Vec<Vec<RawSocket>> {
        let mut dealt: Vec<_> = addresses.iter().map(|address| self.take(address)).collect();
        for (address, sockets) in addresses.iter().zip(&mut dealt) {
            let Address::Tcp(wanted) = address else { continue };
            let is_fit = |(_, found): &(_, Address)| matches!(found, Address::Tcp(found) if found.ip() == wanted.ip());
            if wanted.port() == 0
                && let Some((_, found)) = self.sockets.iter().find(|pair| is_fit(pair))
            {
                let found = found.clone();
                *sockets = self.take(&found);
            }
        }
        dealt
    }

    fn take(&mut self, address: &Address) -> Vec<RawSocket> {
        let is_his = |(_, found): &mut (RawSocket, Address)| found == address;
        self.sockets.extract_if(.., is_his).map(|(socket, _)| socket).collect()
    }

    /// The addresses of sockets that were not dealt.
    pub fn left(&self) -> impl Iterator<Item = &Address> {
        self.sockets.iter().map(|(_, address)| address)
    }

    /// Tells the process that this one replaces, if there is one, that it may stop accepting.
    pub fn tell_ready(&mut self) {
        if let Some(mut line) = self.line.take() {
            // One that is gone needs no telling.
            let _ = line.write_all(b"1");
        }
    }
}

fn address_of(socket: &RawSocket) -> io::Result<Address> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return wrong("a socket does not listen");
    }
    let name = socket.local_addr()?;
    match (name.as_socket(), name.as_pathname()) {
        (Some(address), _) => Ok(Address::Tcp(address)),
        (None, Some(path)) => Ok(Address::Unix(path.to_owned())),
        (None, None) => wrong("a socket has neither an IP address nor a path"),
    }
}
