//! Listening sockets that the process was started with: `LISTEN_FDS` (sd_listen_fds(3)), of a supervisor or of the process
//! that this one replaces, which also hands over a line to tell it when to stop accepting.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use socket2::{Socket as RawSocket, Type};

use crate::base::address::Address;

/// How a process that is replaced names in `LISTEN_FDNAMES` what is no listener but the line to it.
pub const LINE_NAME: &str = "corelane-line";
/// How it names the socket of its admin API; those of its listeners are nameless.
pub const ADMIN_NAME: &str = "corelane-admin";

/// Whom a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Whoever has its address.
    Anybody,
    /// A listener, unless the admin API has its very address.
    Listener,
    /// The admin API, unless a listener has its very address.
    Admin,
}

/// What the process was started with.
#[derive(Debug, Default)]
pub struct Handed {
    sockets: Vec<(RawSocket, Address, For)>,
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
            let whose = match names.next() {
                Some(LINE_NAME) => {
                    handed.line = Some(OwnedFd::from(socket).into());
                    continue;
                }
                Some(ADMIN_NAME) => For::Admin,
                _ => For::Anybody,
            };
            let address = address_of(&socket)?;
            handed.sockets.push((socket, address, whose));
        }
        if handed.line.is_some() {
            let nameless = handed.sockets.iter_mut().filter(|(.., whose)| *whose == For::Anybody);
            nameless.for_each(|(.., whose)| *whose = For::Listener);
        }
        Ok(handed)
    }

    /// The sockets of each of `listeners`, in their order, and of the admin API; none where there is none. One with port 0
    /// takes the port of a socket that no other address fits, but never one that a predecessor had for the other purpose.
    pub fn deal(
        &mut self,
        listeners: &[&Address],
        admin: Option<&Address>,
    ) -> (Vec<Vec<RawSocket>>, Vec<RawSocket>) {
        let mut dealt: Vec<_> = listeners.iter().map(|address| self.take(address)).collect();
        let mut admins = admin.map_or_else(Vec::new, |address| self.take(address));
        for (address, sockets) in listeners.iter().zip(&mut dealt) {
            self.take_any_port(address, For::Admin, sockets);
        }
        if let Some(address) = admin {
            self.take_any_port(address, For::Listener, &mut admins);
        }
        (dealt, admins)
    }

    fn take(&mut self, address: &Address) -> Vec<RawSocket> {
        let is_his = |(_, found, _): &mut (RawSocket, Address, For)| found == address;
        self.sockets.extract_if(.., is_his).map(|(socket, ..)| socket).collect()
    }

    fn take_any_port(&mut self, address: &Address, never: For, sockets: &mut Vec<RawSocket>) {
        let Address::Tcp(wanted) = address else { return };
        let is_fit = |(_, found, whose): &&(RawSocket, Address, For)| {
            *whose != never && matches!(found, Address::Tcp(found) if found.ip() == wanted.ip())
        };
        if wanted.port() == 0
            && let Some(found) = self.sockets.iter().find(is_fit).map(|(_, found, _)| found.clone())
        {
            *sockets = self.take(&found);
        }
    }

    /// The addresses of sockets that were not dealt, each once.
    pub fn left(&self) -> Vec<&Address> {
        let mut left: Vec<&Address> = Vec::new();
        for (_, address, _) in &self.sockets {
            if !left.contains(&address) {
                left.push(address);
            }
        }
        left
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
