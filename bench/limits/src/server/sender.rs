//! Sends the answer to a fetch: heads from memory, records from the files, by sendfile or through a
//! buffer that all connections share.

use super::Options;
use super::fetch::Answer;
use super::log::{Log, Stretch};
use crate::net::{self, Moved};
use std::fs::File;
use std::io::Result;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What one connection may send before the others have their turn.
const BYTES_IN_TURN: usize = 1 << 20;
const COPY_BYTES: usize = 256 * 1024;
/// What the system is asked to read on behind records that are not in the page cache.
const PREFETCH_BYTES: u64 = 2 << 20;

pub enum Sent {
    Whole,
    /// More, when the socket has room or others have had their turn.
    Partly,
    Closed,
}

pub struct Sender {
    log: Arc<Log>,
    read_copy: bool,
    /// Bytes at a file's end that are in the page cache.
    window_bytes: u64,
    buffer: Vec<u8>,
}

impl Sender {
    pub fn new(log: Arc<Log>, options: &Options) -> Sender {
        let is_kept = options.write_behind_bytes == 0;
        Sender {
            log,
            read_copy: options.read_copy,
            window_bytes: if is_kept {
                u64::MAX
            } else {
                options.window_bytes
            },
            buffer: vec![0; COPY_BYTES],
        }
    }

    /// Sends on. Fails where a file cannot be read.
    pub fn send(&mut self, stream: &TcpStream, answer: &mut Answer) -> Result<Sent> {
        let socket = stream.as_raw_fd();
        let mut room = BYTES_IN_TURN;
        loop {
            let heads_to = answer
                .records
                .front()
                .map_or(answer.heads.len(), |one| one.after);
            if answer.heads_sent < heads_to {
                let heads = &answer.heads[answer.heads_sent..heads_to];
                match net::send(socket, heads, !answer.records.is_empty()) {
                    Moved::Bytes(count) => answer.heads_sent += count,
                    Moved::WouldBlock => return Ok(Sent::Partly),
                    Moved::Closed(_) => return Ok(Sent::Closed),
                }
                continue;
            }
            let Some(records) = answer.records.front_mut() else {
                return Ok(Sent::Whole);
            };
            if room == 0 {
                return Ok(Sent::Partly);
            }
            let Some(file) = self.log.file(records.partition) else {
                unreachable!("records are found in files alone");
            };
            let stretch = &mut records.stretch;
            let count = ((stretch.to - stretch.from) as usize).min(room);
            let moved = if self.read_copy {
                send_copy(
                    socket,
                    file,
                    stretch.from,
                    count,
                    &mut self.buffer,
                    &mut answer.copied,
                )?
            } else {
                net::send_file(socket, file.as_raw_fd(), stretch.from, count)
            };
            let count = match moved {
                Moved::Bytes(count) => count,
                Moved::WouldBlock => return Ok(Sent::Partly),
                Moved::Closed(_) => return Ok(Sent::Closed),
            };
            assert!(count > 0, "the file is shorter than what was written");
            room -= count;
            stretch.from += count as u64;
            stretch.behind -= count as u64;
            if stretch.from == stretch.to {
                prefetch(file, stretch, self.window_bytes);
                answer.records.pop_front();
            }
        }
    }
}

/// Reads into `buffer` and sends; what the socket does not take goes to `copied`, and from there
/// the next time. At most `count` bytes from `from` on, of which `copied` holds the first.
fn send_copy(
    socket: i32,
    file: &File,
    from: u64,
    count: usize,
    buffer: &mut [u8],
    copied: &mut Vec<u8>,
) -> Result<Moved> {
    if copied.is_empty() {
        let buffer = &mut buffer[..count.min(COPY_BYTES)];
        file.read_exact_at(buffer, from)?;
        let moved = net::send(socket, buffer, false);
        let sent = if let Moved::Bytes(count) = moved {
            count
        } else {
            0
        };
        copied.extend_from_slice(&buffer[sent..]);
        return Ok(moved);
    }
    let moved = net::send(socket, &copied[..copied.len().min(count)], false);
    if let Moved::Bytes(count) = moved {
        copied.drain(..count);
    }
    Ok(moved)
}

/// A consumer of old data will want what comes next: a hint, whose refusal changes nothing.
fn prefetch(file: &File, sent: &Stretch, window_bytes: u64) {
    if sent.behind > window_bytes {
        let (from, count) = (sent.to as i64, PREFETCH_BYTES as i64);
        unsafe { libc::posix_fadvise(file.as_raw_fd(), from, count, libc::POSIX_FADV_WILLNEED) };
    }
}
