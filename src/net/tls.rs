//! TLS: hands are shaken, what is read is decrypted, what is written is encrypted; the only door to the sessions of the
//! package `rustls`.
//!
//! Both halves of a connection share one session, which is borrowed for a step and never across a wait. What the session wants to
//! send of its own accord (the reply to a key update, an alert) travels with the next write.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, Write};
use std::rc::Rc;

use bytes::BytesMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustls::{ClientConnection, Connection};

use crate::base::limits::RELAY_BYTES;
use crate::base::trust::TlsClient;

/// What both sides agreed on.
pub(super) type Session = Rc<RefCell<Connection>>;

/// Shakes hands on a new connection. An error of kind [`ErrorKind::InvalidData`] is the peer's certificate, or its words.
pub(super) async fn shake(socket: &mut TcpStream, client: &TlsClient) -> io::Result<Session> {
    let session = ClientConnection::new(client.config(), client.name()).map_err(invalid)?;
    let mut session = Connection::from(session);
    // What is written is bounded by whoever writes.
    session.set_buffer_limit(None);
    let mut arrived = Vec::with_capacity(RELAY_BYTES);
    loop {
        send(socket, &mut session).await?;
        if !session.is_handshaking() {
            return Ok(Rc::new(RefCell::new(session)));
        }
        let (result, buffer) = socket.read(arrived).await;
        arrived = buffer;
        if result? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed while hands were shaken"));
        }
        let mut left = arrived.as_slice();
        while !left.is_empty() {
            session.read_tls(&mut left)?;
            if let Err(error) = session.process_new_packets() {
                // It says why we go.
                let _ = send(socket, &mut session).await;
                return Err(invalid(error));
            }
        }
    }
}

/// Sends what the session has to say.
async fn send(socket: &mut TcpStream, session: &mut Connection) -> io::Result<()> {
    let words = outgoing(session)?;
    match words.is_empty() {
        true => Ok(()),
        false => socket.write_all(words).await.0.map(|_| ()),
    }
}

fn outgoing(session: &mut Connection) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut words)?;
    }
    Ok(words)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// What was received and is to be decrypted.
pub(super) struct Opener {
    session: Session,
    /// Bytes as they came, of which those from `taken` on are still to be looked at.
    arrived: BytesMut,
    taken: usize,
    /// What came behind all that can still be opened is none of this session's.
    failed: Option<io::Error>,
}

impl Opener {
    pub(super) fn new(session: Session) -> Self {
        Self { session, arrived: BytesMut::new(), taken: 0, failed: None }
    }

    /// The buffer for the next read of what is encrypted, once nothing is left of the last one.
    pub(super) fn take_buffer(&mut self) -> BytesMut {
        self.taken = 0;
        let mut buffer = std::mem::take(&mut self.arrived);
        buffer.clear();
        buffer.reserve(RELAY_BYTES);
        buffer
    }

    /// That read ended with so many bytes.
    pub(super) fn take_in(&mut self, count: usize, buffer: BytesMut) -> io::Result<()> {
        (self.arrived, self.taken) = (buffer, 0);
        if count == 0 {
            self.session.borrow_mut().read_tls(&mut io::empty())?;
        }
        Ok(())
    }

    /// Appends what can be decrypted of it: zero where the peer said that it is the end. An end that was not said is an error:
    /// anybody on the way could have made it. [`ErrorKind::WouldBlock`] where more has to come.
    pub(super) fn open(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        loop {
            let mut reader = session.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    let count = plain.len();
                    into.extend_from_slice(plain);
                    reader.consume(count);
                    return Ok(count);
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(error) if self.failed.is_some() || self.taken == self.arrived.len() => {
                    return Err(self.failed.take().unwrap_or(error));
                }
                Err(_) => {
                    let mut left = &self.arrived[self.taken..];
                    self.taken += session.read_tls(&mut left)?;
                    // What was whole in front of it is handed out first.
                    self.failed = session.process_new_packets().map_err(invalid).err();
                }
            }
        }
    }
}

/// `plain` as it goes out: all at once, so that it is one write.
pub(super) fn seal(session: &Session, plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut session = session.borrow_mut();
    session.writer().write_all(plain)?;
    outgoing(&mut session)
}

/// What says to the peer that nothing follows.
pub(super) fn end(session: &Session) -> io::Result<Vec<u8>> {
    let mut session = session.borrow_mut();
    session.send_close_notify();
    outgoing(&mut session)
}
