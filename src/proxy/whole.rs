//! A message to somebody who is no endpoint of an exchange, and its whole answer: bounded, and held in memory.

use std::future::poll_fn;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};

use super::upstream::{AnswerHead, Upstream};
use crate::codec::head::ResponseHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::response::ResponseEvent;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The connection ended before it was whole, or it breaks HTTP/1.1.
    Broken,
    /// Its body is longer than it may be.
    TooLong,
}

/// Sends `message` and reads its answer to the end, with a body of `most` bytes at most. A connection on which this failed or
/// was given up is over.
pub(super) async fn exchange(
    upstream: &mut Upstream,
    method: Method,
    message: &[u8],
    most: usize,
) -> Result<(ResponseHead, Bytes), Unanswered> {
    upstream.expect(method);
    upstream.writer.write(message.to_vec()).await.map_err(|_| Unanswered::Broken)?;
    let head = loop {
        match poll_fn(|cx| upstream.poll_head(cx)).await.map_err(|_| Unanswered::Broken)? {
            AnswerHead::Interim(_) => {}
            AnswerHead::Final(head, _) => break head,
        }
    };
    let mut body = BytesMut::new();
    poll_fn(|cx| {
        loop {
            match upstream.responses.next(upstream.reader.unread()) {
                Ok(Progress::Ready(ResponseEvent::Data(data))) => body.extend_from_slice(&data),
                Ok(Progress::Ready(ResponseEvent::End)) => return Poll::Ready(Ok(())),
                Ok(Progress::Ready(ResponseEvent::Head(..) | ResponseEvent::Interim(_))) | Err(_) => {
                    return Poll::Ready(Err(Unanswered::Broken));
                }
                Ok(Progress::NeedMore) => match ready!(upstream.reader.poll_fill(cx)) {
                    Ok(1..) => {}
                    // It ends a body that runs until close, and breaks any other.
                    Ok(0) => {
                        return Poll::Ready(upstream.responses.finish().map_err(|_| Unanswered::Broken));
                    }
                    Err(_) => return Poll::Ready(Err(Unanswered::Broken)),
                },
            }
            if body.len() > most {
                return Poll::Ready(Err(Unanswered::TooLong));
            }
        }
    })
    .await?;
    Ok((head, body.freeze()))
}
