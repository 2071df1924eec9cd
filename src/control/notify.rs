//! What a supervisor is told: `NOTIFY_SOCKET` (sd_notify(3)). Nothing waits for it: a supervisor that does not read misses
//! it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// The supervisor, if there is one that wants to know.
#[derive(Debug, Default)]
pub(super) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Who the environment names.
    pub(super) fn of_environment() -> Self {
        Self(std::env::var("NOTIFY_SOCKET").ok().and_then(|name| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        }))
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// Clients are accepted, or a reload is over.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// A reload begins. The time tells which of several is over (sd_notify(3)).
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// A drain begins.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Another process goes on.
    pub(super) fn replaced(&self, by: u32) {
        self.tell(&format!("MAINPID={by}\nREADY=1"));
    }
}
