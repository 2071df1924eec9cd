//! A simulated inference server: real HTTP on a real socket, with invented answers at a believable pace.
//!
//! Good enough to test a gateway: slots and a queue, prefill and decode times, a prefix cache, usage, faults on request
//! and counts of what was started, finished and cancelled. It shares with the gateway only the reading of requests.

mod api;
mod connection;
mod embed;
mod fault;
mod generate;
mod kserve;
mod openai;
pub mod options;
mod peer;
mod prefix;
mod reply;
mod slots;
mod state;
mod stats;
mod words;

use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use options::SimOptions;
use state::State;

use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::net::doorbell::{Bell, Doorbell, doorbell};
use crate::net::driver::block_on;
use crate::net::listen::{ListenSocket, Listener, listen};

/// A simulated server on a thread of its own; dropping it ends it.
pub struct Sim {
    address: Address,
    bell: Doorbell,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Binds `address` (port 0 takes a free one) and serves.
    pub fn start(address: &Address, options: SimOptions, driver: IoDriver) -> io::Result<Self> {
        let Some(socket) = listen(address, 1, Vec::new())?.pop() else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let address = socket.address().clone();
        let (bell, hearing) = doorbell()?;
        let (report, outcome) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sim".to_owned()).spawn(move || {
            let served = block_on(driver, async {
                let mut hearing =
                    match Bell::adopt(hearing).and_then(|bell| serve(socket, options).map(|()| bell)) {
                        Ok(bell) => bell,
                        Err(error) => return drop(report.send(Err(error))),
                    };
                let _ = report.send(Ok(()));
                // Either end of the doorbell gone, or a ring: both mean the end.
                let _ = hearing.wait().await;
            });
            drop(served);
        })?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self { address, bell, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the event loop of the simulated server cannot run")),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits until it ends, which it does only when the process does.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: ListenSocket, options: SimOptions) -> io::Result<()> {
    let listener = Listener::adopt(socket)?;
    let state = Rc::new(State::new(options));
    monoio::spawn(async move {
        loop {
            if listener.ready().await.is_err() {
                return;
            }
            match listener.accept() {
                Ok(Some((socket, _))) => {
                    monoio::spawn(connection::run(socket, Rc::clone(&state)));
                }
                Ok(None) => {}
                // Out of descriptors: wait for some to come back.
                Err(_) => monoio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
