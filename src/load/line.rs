//! One connection of the generator, and the exchanges on it.

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ledger::Ledger;
use super::verdict::{Failure, Judge};
use crate::base::time::micros;
use crate::codec::progress::Progress;
use crate::codec::response::{ResponseEvent, ResponseReader};
use crate::codec::version::Reuse;
use crate::net::connect::connect_any;
use crate::net::stream::Stream;

/// A connection that was idle for longer is looked at before it is used again: the server may have closed it.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// A connection, once there is one.
#[derive(Default)]
pub(super) struct Line {
    open: Option<Open>,
    /// The request that is sent.
    out: Vec<u8>,
}

struct Open {
    stream: Stream,
    responses: ResponseReader,
    since: Instant,
}

impl Line {
    /// One exchange that was meant to begin at `intended`; a failure ends the connection.
    pub(super) async fn exchange(&mut self, ledger: &Ledger, intended: Instant) -> Result<(), Failure> {
        let limit = ledger.options.timeout;
        let result = match monoio::time::timeout(limit, self.run(ledger, intended)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout),
        };
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn run(&mut self, ledger: &Ledger, intended: Instant) -> Result<(), Failure> {
        let begun = Instant::now();
        self.begin(ledger, 0, begun).await?;
        let open = self.open.as_mut().expect("it was just opened");
        let mut judge = Judge::new(&ledger.job);
        let mut last_token = None;
        let mut now = begun;
        loop {
            match open.responses.next(open.stream.reader.unread()) {
                Ok(Progress::Ready(ResponseEvent::Interim(_))) => {}
                Ok(Progress::Ready(ResponseEvent::Head(head, _))) if head.status() != 200 => {
                    return Err(Failure::Status(head.status()));
                }
                Ok(Progress::Ready(ResponseEvent::Head(..))) => {}
                Ok(Progress::Ready(ResponseEvent::Data(data))) => {
                    let tokens = judge.feed(&data);
                    let counts = ledger.counts(intended);
                    let mut tally = ledger.tally.borrow_mut();
                    if ledger.is_measured() {
                        tally.bytes_in += data.len() as u64;
                        tally.tokens += tokens;
                    }
                    if tokens > 0 && counts {
                        match last_token {
                            None => tally.ttft.record(micros(intended, now)),
                            Some(last) => tally.itl.record(micros(last, now)),
                        }
                        tally.itl.record_n(0, tokens - 1);
                        stamps(&data).for_each(|us| tally.delay.record(us));
                    }
                    if tokens > 0 {
                        last_token = Some(now);
                    }
                }
                Ok(Progress::Ready(ResponseEvent::End)) => break,
                Ok(Progress::NeedMore) => {
                    match open.stream.reader.fill().await {
                        // Some bodies end with their connection; the next exchange makes a new one.
                        Ok(0) => match open.responses.finish() {
                            Ok(()) => break,
                            Err(_) => return Err(Failure::Broken),
                        },
                        Ok(_) => {}
                        Err(_) => return Err(Failure::Broken),
                    }
                    now = Instant::now();
                }
                Err(_) => return Err(Failure::Framing),
            }
        }
        let tokens = judge.finish()?;
        if ledger.is_measured() {
            ledger.tally.borrow_mut().tokens += tokens;
        }
        if ledger.counts(intended) {
            let mut tally = ledger.tally.borrow_mut();
            tally.total.record(micros(intended, now));
            if ledger.is_open_loop() {
                tally.late.record(micros(intended, begun));
            }
        }
        open.since = now;
        if ledger.job.fresh_connections || open.responses.reuse() == Reuse::Close {
            self.open = None;
        }
        Ok(())
    }

    /// Sends a request but for its last `withheld` bytes, on a connection of which nothing is known to be wrong.
    async fn begin(&mut self, ledger: &Ledger, withheld: usize, now: Instant) -> Result<(), Failure> {
        if self.open.as_mut().is_some_and(|open| now - open.since > LOOK_AFTER && open.is_over()) {
            self.open = None;
        }
        if self.open.is_none() {
            let stream = connect_any(&ledger.target.addresses, ledger.target.tls.as_deref())
                .await
                .map_err(|_| Failure::Connect)?;
            if ledger.is_measured() {
                ledger.tally.borrow_mut().connects += 1;
            }
            self.open = Some(Open { stream, responses: ResponseReader::new(), since: now });
        }
        let open = self.open.as_mut().expect("it was just opened");
        ledger.job.write(ledger.next_number(), &mut self.out);
        self.out.truncate(self.out.len() - withheld);
        open.responses.expect(ledger.job.method);
        if ledger.is_measured() {
            ledger.tally.borrow_mut().bytes_out += self.out.len() as u64;
        }
        let sent = open.stream.writer.write(std::mem::take(&mut self.out)).await;
        self.out = open.stream.writer.take_spare();
        match sent {
            // The answer may have come before the request was taken: what the server said counts.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Broken),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sends the first half of a body and no more.
    pub(super) async fn upload_half(&mut self, ledger: &Ledger) -> Result<(), Failure> {
        self.begin(ledger, ledger.job.body_bytes() / 2, Instant::now()).await
    }

    /// Waits until the server closes or says something; forever, if all is well.
    pub(super) async fn stay(&mut self) {
        if let Some(open) = &mut self.open {
            let _ = open.stream.reader.fill().await;
        }
    }
}

impl Open {
    fn is_over(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.stream.reader.poll_fill(&mut cx), Poll::Ready(_))
    }
}

/// What a stamped event begins with: a comment of the server's clock, nanoseconds since 1970.
pub const STAMP: &str = ": sent ";

/// How long ago the stamps in `data` were made, microseconds; both clocks are one machine's.
fn stamps(data: &[u8]) -> impl Iterator<Item = u64> {
    let mut now = None;
    memchr::memmem::find_iter(data, STAMP.as_bytes()).filter_map(move |at| {
        let digits = data[at + STAMP.len()..].split(|byte| *byte == b'\n').next()?;
        let sent: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let now = *now.get_or_insert_with(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
        });
        Some(now.saturating_sub(sent) / 1000)
    })
}
