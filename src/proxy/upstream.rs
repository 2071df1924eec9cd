//! One upstream connection: its halves, its response reader, its write buffer.

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};

use crate::base::fault::FaultKind;
use crate::base::limits::WRITE_BYTES_KEPT;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::response::{ResponseEvent, ResponseReader};
use crate::net::reader::Reader;
use crate::net::stream::Stream;
use crate::net::writer::Writer;

/// A connection to an endpoint.
pub struct Upstream {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) responses: ResponseReader,
    pub(super) out: Vec<u8>,
    /// Whether any byte of the answer at hand came: from then on the request was seen.
    pub(super) heard: bool,
    /// Whether the endpoint closed its sending side before the answer's head was complete.
    pub(super) hung_up: bool,
    /// How the write of the request at hand failed, if it did.
    pub(super) write_error: Option<ErrorKind>,
    /// What was handed to the kernel before the request at hand, bytes.
    handed_before: u64,
}

/// What comes before the body of an answer.
pub(super) enum AnswerHead {
    /// An interim answer; the final one follows.
    Interim(ResponseHead),
    /// The final head.
    Final(ResponseHead, Framing),
}

impl Upstream {
    /// In a box: it is handed from the pool to an attempt, to its answer, and back.
    pub(super) fn new(stream: Stream) -> Box<Self> {
        let Stream { reader, writer } = stream;
        Box::new(Self {
            reader,
            writer,
            responses: ResponseReader::new(),
            out: Vec::new(),
            heard: false,
            hung_up: false,
            write_error: None,
            handed_before: 0,
        })
    }

    /// Ready when an idle connection is no longer good: closed, failed, or sending what nobody asked for.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_fill(cx).map(|_| ())
    }

    /// A request with this method goes out next; its head is written into the empty buffer.
    pub(super) fn expect(&mut self, asked: Method) -> &mut Vec<u8> {
        self.responses.expect(asked);
        self.begin()
    }

    /// The same for the opening handshake of a WebSocket.
    pub(super) fn expect_switch(&mut self) -> &mut Vec<u8> {
        self.responses.expect_switch();
        self.begin()
    }

    fn begin(&mut self) -> &mut Vec<u8> {
        (self.heard, self.hung_up, self.write_error) = (false, false, None);
        self.handed_before = self.writer.progress();
        self.out.clear();
        &mut self.out
    }

    /// An exchange ended: large buffers are let go before the connection lies idle. False if it cannot serve another,
    /// for its request is not even sent.
    pub fn settle(&mut self) -> bool {
        assert!(
            self.reader.unread().is_empty(),
            "bytes left on a returned connection would answer someone else's request"
        );
        self.reader.settle();
        let sent = self.writer.poll_idle(&mut Context::from_waker(Waker::noop()));
        self.take_buffer();
        matches!(sent, Poll::Ready(Ok(())))
    }

    /// Takes the buffer of the last write back, if it is not too large to be kept.
    pub(super) fn take_buffer(&mut self) {
        let spare = self.writer.take_spare();
        if spare.capacity() > self.out.capacity() {
            self.out = spare;
        }
        if self.out.capacity() > WRITE_BYTES_KEPT {
            self.out = Vec::new();
        }
    }

    /// Bytes of the request at hand that the kernel was handed, as of when its write was last polled.
    pub(super) fn handed(&self) -> u64 {
        self.writer.progress() - self.handed_before
    }

    /// The next head of the answer, reading on as long as it is incomplete.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, FaultKind>> {
        loop {
            if !self.reader.unread().is_empty() {
                self.heard = true;
                match self.responses.next(self.reader.unread()) {
                    Ok(Progress::Ready(ResponseEvent::Interim(head))) => {
                        return Poll::Ready(Ok(AnswerHead::Interim(head)));
                    }
                    Ok(Progress::Ready(ResponseEvent::Head(head, framing))) => {
                        return Poll::Ready(Ok(AnswerHead::Final(head, framing)));
                    }
                    Ok(Progress::Ready(ResponseEvent::Data(_) | ResponseEvent::End)) | Err(_) => {
                        return Poll::Ready(Err(FaultKind::Invalid));
                    }
                    Ok(Progress::NeedMore) => {}
                }
            }
            match self.reader.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    self.hung_up = true;
                    return Poll::Ready(Err(FaultKind::Reset));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(FaultKind::Reset)),
                Poll::Ready(Ok(1..)) => {}
            }
        }
    }
}
