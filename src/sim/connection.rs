//! One connection: requests in turn, each with the fault it asks for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::State;
use super::api::{Answer, Reply, refuse};
use super::fault::{Broken, Faults};
use super::generate;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::reply::reason;
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::version::{Reuse, Version};
use crate::net::reader::Reader;
use crate::net::stream::{Socket, Stream, Whole};
use crate::net::writer::Writer;

/// Longest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest request body.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The connection is over: the peer left, or a fault wants it so.
pub(super) struct Over;

/// A client of the simulated server.
pub(super) struct Peer {
    reader: Reader,
    writer: Writer,
    requests: RequestReader,
}

/// Serves one connection to its end.
pub(super) async fn run(socket: Socket, state: Rc<State>) {
    let Ok(Stream { reader, writer }) = Whole::adopt(socket).map(Whole::split) else { return };
    state.counts.borrow_mut().connections += 1;
    let mut peer = Peer { reader, writer, requests: RequestReader::new(HEAD_BYTES_MAX) };
    while peer.exchange(&state).await.is_ok() {}
}

impl Peer {
    async fn exchange(&mut self, state: &Rc<State>) -> Result<(), Over> {
        let (head, body) = self.request(state.options.keep_alive).await?;
        state.counts.borrow_mut().requests += 1;
        let last = head.head().reuse() == Reuse::Close;
        let Some(body) = body else {
            let reply = refuse(413, "body_too_large", "the body is too long");
            self.reply(&head, &reply, Broken::No, true).await?;
            return Err(Over);
        };
        let faults = match Faults::of(&head) {
            Ok(faults) => faults,
            Err(message) => {
                return self.reply(&head, &refuse(400, "bad_fault", &message), Broken::No, last).await;
            }
        };
        if let Some(delay) = faults.delay {
            self.during(monoio::time::sleep(delay)).await?;
        }
        if faults.broken == Broken::ResetHead {
            self.writer.reset();
            return Err(Over);
        }
        if let Some(status) = faults.status {
            let mut reply = refuse(status, "simulated", "a fault that was asked for");
            reply.fields.extend(faults.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
            return self.reply(&head, &reply, faults.broken, last).await;
        }
        match state.answer(&head, &body) {
            Answer::Reply(reply) => self.reply(&head, &reply, faults.broken, last).await,
            Answer::Generation(generation) => {
                generate::run(self, state, &head, &generation, faults.broken, last).await
            }
        }
    }

    /// One request with its body; no body where that was too long.
    async fn request(
        &mut self,
        keep_alive: Option<Duration>,
    ) -> Result<(RequestHead, Option<Vec<u8>>), Over> {
        let mut head: Option<RequestHead> = None;
        let mut body = Vec::new();
        loop {
            match self.requests.next(self.reader.unread()) {
                Ok(Progress::Ready(RequestEvent::Head(found))) => {
                    if found.expects_continue() {
                        self.write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()).await?;
                    }
                    head = Some(found);
                }
                Ok(Progress::Ready(RequestEvent::Data(data))) => body.extend_from_slice(&data),
                Ok(Progress::Ready(RequestEvent::End)) => match head {
                    Some(head) => return Ok((head, Some(body))),
                    None => return Err(Over),
                },
                Ok(Progress::NeedMore) => {
                    let idle = head.is_none();
                    let filled = match keep_alive {
                        // The connection ends with this wait, so the read may be dropped with it.
                        Some(limit) if idle => {
                            monoio::time::timeout(limit, self.reader.fill()).await.map_err(|_| Over)?
                        }
                        _ => self.reader.fill().await,
                    };
                    match filled {
                        Ok(0) | Err(_) => return Err(Over),
                        Ok(_) => {}
                    }
                }
                Err(_) => {
                    let _ = self
                        .write(
                            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                                .to_vec(),
                        )
                        .await;
                    return Err(Over);
                }
            }
            if body.len() > BODY_BYTES_MAX {
                return head.map(|head| (head, None)).ok_or(Over);
            }
        }
    }

    /// Does `work` unless the peer leaves first.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_left(cx),
        })
        .await
    }

    fn poll_left<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Over>> {
        if !self.reader.unread().is_empty() {
            return Poll::Pending;
        }
        match self.reader.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Over)),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Waits until the peer leaves.
    pub(super) async fn stall(&mut self) -> Over {
        loop {
            self.reader.unread().clear();
            match self.reader.fill().await {
                Ok(0) | Err(_) => return Over,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Over> {
        self.writer.write(Bytes::from(bytes)).await.map_err(|_| Over)
    }

    /// Breaks off inside a body.
    pub(super) async fn break_off(&mut self, how: Broken) -> Over {
        match how {
            Broken::ResetBody | Broken::ResetHead => {
                self.writer.reset();
                Over
            }
            Broken::Stall => self.stall().await,
            Broken::Truncate | Broken::No => Over,
        }
    }

    /// Sends an answer of known length.
    pub(super) async fn reply(
        &mut self,
        head: &RequestHead,
        reply: &Reply,
        broken: Broken,
        last: bool,
    ) -> Result<(), Over> {
        let mut bytes = response_head(head, reply.status, &reply.content_type, last);
        for (name, value) in &reply.fields {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", reply.body.len()).bytes());
        let body = if head.method() == Method::Head { &[][..] } else { &reply.body };
        if broken != Broken::No {
            bytes.extend_from_slice(&body[..body.len() / 2]);
            self.write(bytes).await?;
            return Err(self.break_off(broken).await);
        }
        bytes.extend_from_slice(body);
        self.write(bytes).await?;
        if last { Err(Over) } else { Ok(()) }
    }
}

/// Status line and common fields, without the empty line.
pub(super) fn response_head(head: &RequestHead, status: u16, content_type: &str, last: bool) -> Vec<u8> {
    let connection = match (last, head.head().version()) {
        (true, _) => "connection: close\r\n",
        (false, Version::Http10) => "connection: keep-alive\r\n",
        (false, Version::Http11) => "",
    };
    format!(
        "HTTP/1.1 {status} {}\r\nserver: corelane-sim\r\ncontent-type: {content_type}\r\n{connection}",
        reason(status)
    )
    .into_bytes()
}
