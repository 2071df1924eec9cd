//! A client of the simulated server: its requests, answers to it, and whether it left.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::fault::{Broken, Faults};
use super::reply::Reply;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::reply::reason;
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::version::Version;
use crate::net::reader::Reader;
use crate::net::stream::Stream;
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

impl Peer {
    pub(super) fn new(stream: Stream) -> Self {
        let Stream { reader, writer } = stream;
        Self { reader, writer, requests: RequestReader::new(HEAD_BYTES_MAX) }
    }

    /// One request with its body; no body where that was too long.
    pub(super) async fn request(
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

    /// Without a pace there is no timer to wait for, and nothing is starved: each write waits for the loop.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<(), Over> {
        if time.is_zero() { Ok(()) } else { self.during(monoio::time::sleep(time)).await }
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

    /// Breaks off before anything was said.
    pub(super) fn reset(&self) -> Over {
        self.writer.reset();
        Over
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
        faults: Faults,
        last: bool,
    ) -> Result<(), Over> {
        let mut bytes = response_head(head, reply.status, &reply.content_type, last);
        for (name, value) in &reply.fields {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", reply.body.len()).bytes());
        let body = if head.method() == Method::Head { &[][..] } else { &reply.body };
        let (begin, end) = body.split_at(body.len() / 2);
        bytes.extend_from_slice(begin);
        if !faults.pauses.body.is_zero() || faults.broken != Broken::No {
            self.write(std::mem::take(&mut bytes)).await?;
            self.pause(faults.pauses.body).await?;
        }
        if faults.broken != Broken::No {
            return Err(self.break_off(faults.broken).await);
        }
        bytes.extend_from_slice(end);
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
