//! Fetching what a file lacks: several connections take pieces in turn; what fails is tried again from the byte where it broke.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::partial::Partial;
use crate::api::Api;
use crate::error::HubError;
use crate::event::Event;
use crate::http::{Address, Ask, Failure, Reply, sleep_unless, with_retries};
use crate::settings::TransferSettings;

/// Pieces smaller than this are not worth a connection of their own.
const SMALLEST_PIECE: u64 = 256 << 10;

struct Transfer<'a> {
    api: &'a Api<'a>,
    address: Address,
    what: String,
    file: &'a str,
    partial: &'a Partial,
    settings: &'a TransferSettings,
    pieces: Mutex<VecDeque<(u64, u64)>>,
    stop: AtomicBool,
    problem: Mutex<Option<HubError>>,
}

/// What a request for a range brought.
enum Opened {
    /// That range.
    Range(Reply),
    /// All of it, from the first byte: the server knows no ranges.
    Whole(Reply),
}

/// Fetches what `partial` lacks.
pub(super) fn transfer(api: &Api<'_>, commit: &str, file: &str, partial: &Partial, settings: &TransferSettings) -> Result<(), HubError> {
    let size = partial.size();
    let missing = size - partial.there().len();
    if missing == 0 {
        return Ok(());
    }
    let connections = settings.connections.max(1) as u64;
    let piece = missing.div_ceil(connections).clamp(SMALLEST_PIECE.min(settings.piece_bytes), settings.piece_bytes.max(1));
    let mut pieces = partial.there().missing(size, piece);
    let Some(first) = pieces.pop_front() else { return Ok(()) };
    let n_workers = (settings.connections.max(1)).min(pieces.len() + 1);
    let transfer = Transfer {
        api,
        address: api.file_address(commit, file)?,
        what: format!("{file} of {}", api.name.repo),
        file,
        partial,
        settings,
        pieces: Mutex::new(pieces),
        stop: AtomicBool::new(false),
        problem: Mutex::new(None),
    };
    // The first answer says whether the server knows ranges.
    let opened = with_retries(&settings.pace, api.listener, || transfer.open(first))?;
    let reply = match opened {
        Opened::Range(reply) => reply,
        Opened::Whole(reply) => return transfer.whole(reply),
    };
    thread::scope(|scope| {
        for _ in 1..n_workers {
            scope.spawn(|| transfer.work(None));
        }
        transfer.work(Some((first, reply)));
    });
    match transfer.problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

impl Transfer<'_> {
    /// Takes pieces until there are none, or somebody fails.
    fn work(&self, mut opened: Option<((u64, u64), Reply)>) {
        let mut attempts = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let (piece, reply) = match opened.take() {
                Some((piece, reply)) => (piece, Ok(Opened::Range(reply))),
                None => {
                    let Some(piece) = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                    (piece, self.open(piece))
                }
            };
            let (start, end) = piece;
            let mut reached = start;
            let outcome = match reply {
                Ok(Opened::Range(reply)) => self.stream(reply, piece, &mut reached),
                Ok(Opened::Whole(reply)) => Err(Failure::again(&self.what, &reply.server, "it no longer knows ranges".to_owned())),
                Err(failure) => Err(failure),
            };
            let Err(failure) = outcome else {
                attempts = 0;
                continue;
            };
            if reached > start {
                attempts = 0;
            }
            attempts += 1;
            if reached < end {
                self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push_front((reached, end));
            }
            match failure.wait(attempts, &self.settings.pace, self.api.listener) {
                Ok(wait) => sleep_unless(&self.stop, wait),
                Err(problem) => {
                    self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Asks for a range, and checks what the headers say.
    fn open(&self, (start, end): (u64, u64)) -> Result<Opened, Failure> {
        let reply = self.api.client.get(&self.address, &self.what, Ask::Range(start, end))?;
        let size = self.partial.size();
        match reply.status {
            206 => {
                let range = reply.header("content-range").unwrap_or_default().to_owned();
                match parse_content_range(&range) {
                    Some((first, last, total))
                        if first == start && last < end && last >= first && total.is_none_or(|total| total == size) =>
                    {
                        Ok(Opened::Range(reply))
                    }
                    _ => Err(self.hostile(&reply, format!("asked for bytes {start} to {} of {size}, it answers with {range:?}", end - 1))),
                }
            }
            200 => match reply.header("content-length").map(str::parse::<u64>) {
                None => Ok(Opened::Whole(reply)),
                Some(Ok(length)) if length == size => Ok(Opened::Whole(reply)),
                Some(_) => {
                    let problem =
                        format!("expected {size} bytes, it wants to send {}", reply.header("content-length").unwrap_or("another number"));
                    Err(self.hostile(&reply, problem))
                }
            },
            416 => Err(self.hostile(&reply, format!("expected {size} bytes, it says that it has no byte {start}"))),
            _ => Err(self.api.refusal(&reply, &self.what, Some(self.file))),
        }
    }

    fn hostile(&self, reply: &Reply, problem: String) -> Failure {
        Failure::Final(HubError::Hostile { host: reply.server.clone(), what: self.what.clone(), problem })
    }

    /// Reads a range to the disk; `reached` is the byte after the last one that lies there, also when it breaks.
    fn stream(&self, reply: Reply, (start, end): (u64, u64), reached: &mut u64) -> Result<(), Failure> {
        let mut writer = self.partial.writer(start, self.settings.record_bytes)?;
        let server = reply.server;
        let mut body = reply.body.into_reader().take(end - start);
        let mut buffer = vec![0; self.settings.record_bytes.clamp(1 << 10, 1 << 20)];
        let told = |n: u64| {
            if n > 0 {
                (self.api.listener)(Event::Bytes(n));
            }
        };
        let mut left = end - start;
        let mut outcome = Ok(());
        while left > 0 && !self.stop.load(Ordering::Relaxed) {
            match body.read(&mut buffer) {
                Ok(0) => {
                    outcome = Err(Failure::again(&self.what, &server, format!("the connection ended {left} bytes early")));
                    break;
                }
                Ok(n) => {
                    left -= n as u64;
                    told(writer.write(&buffer[..n])?);
                    *reached = writer.at();
                }
                Err(error) => {
                    outcome = Err(self.api.client.failure(ureq::Error::from(error), &self.what, &server));
                    break;
                }
            }
        }
        // What came before it broke is kept.
        told(writer.flush()?);
        *reached = writer.at();
        outcome
    }

    /// The whole file over one connection, from a server that knows no ranges: what there is of an earlier attempt is of no use.
    fn whole(&self, first: Reply) -> Result<(), HubError> {
        let size = self.partial.size();
        let mut first = Some(first);
        with_retries(&self.settings.pace, self.api.listener, || {
            let forgotten = self.partial.start_over()?;
            if forgotten > 0 {
                (self.api.listener)(Event::Again(forgotten));
            }
            let reply = match first.take() {
                Some(reply) => reply,
                None => match self.open((0, size))? {
                    Opened::Range(reply) | Opened::Whole(reply) => reply,
                },
            };
            self.stream(reply, (0, size), &mut 0)
        })
    }
}

/// `bytes 0-9/100`: first byte, last byte, and the size where it is told.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-9/100"), Some((0, 9, Some(100))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, 9, None)));
        for wrong in ["", "bytes */100", "0-9/100", "bytes 0-9", "bytes -9/100", "bytes a-b/c"] {
            assert_eq!(parse_content_range(wrong), None, "{wrong}");
        }
    }
}
