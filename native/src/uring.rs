//! io_uring for what would block the shard's thread: fdatasync, starting the disk on written pages
//! (which waits for room in the device's queue), and reads of data that is not in the page cache.
//! Completions signal an eventfd, so that a parked shard wakes.
//!
//! A ring belongs to the thread that opened it and is named by a number of that thread, never used
//! twice. In flight there is never more than there are completion entries: none can be lost.
//!
//! Everything runs on a duplicate of its descriptor. The kernel hands an fsync to a worker, which
//! looks the number up only then: were the file closed meanwhile, the flush would fail, and were the
//! number used again, another file would be flushed and this one reported durable.

use std::cell::RefCell;

use io_uring::{IoUring, Probe, opcode, squeue, types};

use crate::call::{Call, Failure, Outcome, Value};
use crate::errno::{self, retry};

const ENTRIES_MAX: i32 = 4096;
const RINGS_MAX: usize = 1024;

const KIND_SHIFT: u32 = 62;
const FLUSH: u64 = 0;
const READ: u64 = 1;
const WRITEBACK: u64 = 2;

/// A descriptor is below 2^30: Linux bounds `nr_open` by that.
const DUPLICATE_MASK: u64 = (1 << 30) - 1;

/// What comes back with a completion: token below, duplicate of the descriptor (30 bits) above, and
/// at the top what it was.
fn user_data(kind: u64, token: i32, duplicate: i32) -> u64 {
    u64::from(token as u32) | u64::from(duplicate as u32) << 32 | kind << KIND_SHIFT
}

fn kind_of(user_data: u64) -> i32 {
    (user_data >> KIND_SHIFT) as i32
}

fn token_of(user_data: u64) -> i32 {
    user_data as u32 as i32
}

fn duplicate_of(user_data: u64) -> i32 {
    (user_data >> 32 & DUPLICATE_MASK) as i32
}

struct Ring {
    uring: IoUring,
    /// Pushed and not yet drained; at most `capacity`.
    pending: usize,
    capacity: usize,
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.pending > 0 {
            let count = self.uring.completion().fold(0, |count, completion| {
                unsafe { libc::close(duplicate_of(completion.user_data())) };
                count + 1
            });
            self.pending -= count;
            let wait = if self.pending > 0 {
                self.uring.submit_and_wait(1)
            } else {
                Ok(0)
            };
            if wait.is_err_and(|error| error.raw_os_error() != Some(libc::EINTR)) {
                return; // A broken ring: its descriptors are lost, at most `capacity`.
            }
        }
    }
}

thread_local! {
    static RINGS: RefCell<Vec<Option<Ring>>> = const { RefCell::new(Vec::new()) };
}

pub fn open(call: &Call) -> Outcome {
    let entries = call.natural(0, "entries")?;
    let eventfd = call.natural(1, "eventfd")?;
    if !(1..=ENTRIES_MAX).contains(&entries) {
        return Err(Failure::Range("entries"));
    }
    let Some(ring) = make(entries as u32, eventfd) else {
        return Ok(Value::Null);
    };
    RINGS.with_borrow_mut(|rings| {
        if rings.len() == RINGS_MAX {
            return Err(Failure::Range("rings opened by this thread"));
        }
        rings.push(Some(ring));
        Ok(Value::Number((rings.len() - 1) as f64))
    })
}

/// None where kernel or sandbox refuse any part of it.
fn make(entries: u32, eventfd: i32) -> Option<Ring> {
    let uring = IoUring::new(entries).ok()?;
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).ok()?;
    let codes = [
        opcode::Fsync::CODE,
        opcode::Read::CODE,
        opcode::SyncFileRange::CODE,
    ];
    if !codes.iter().all(|code| probe.is_supported(*code)) {
        return None;
    }
    uring.submitter().register_eventfd(eventfd).ok()?;
    let capacity = uring.params().sq_entries() as usize;
    Some(Ring {
        uring,
        pending: 0,
        capacity,
    })
}

fn with_ring(call: &Call, body: impl FnOnce(&mut Ring) -> Outcome) -> Outcome {
    let index = call.size(0, "ring")?;
    RINGS.with_borrow_mut(|rings| match rings.get_mut(index) {
        Some(Some(ring)) => body(ring),
        _ => Err(Failure::Range("ring")),
    })
}

/// True when the flush is taken: its token then comes back once. False when the ring is full.
pub fn flush(call: &Call) -> Outcome {
    let fd = call.natural(1, "fd")?;
    let token = call.int32(2, "token")?;
    start(call, fd, (FLUSH, token), |fd| {
        opcode::Fsync::new(fd)
            .flags(types::FsyncFlags::DATASYNC)
            .build()
    })
}

/// True when the read is taken: its token then comes back once, and until then the range must stay
/// mapped and nobody else's. False when the ring is full.
pub fn read(call: &Call) -> Outcome {
    let fd = call.natural(1, "fd")?;
    let position = call.position(2, "position")?;
    let bytes = call.bytes(3, "bytes")?;
    let range = bytes.range(call.size(4, "offset")?, call.size(5, "length")?, "length")?;
    let length = u32::try_from(range.length).map_err(|_| Failure::Range("length"))?;
    let token = call.int32(6, "token")?;
    start(call, fd, (READ, token), |fd| {
        opcode::Read::new(fd, range.pointer.cast(), length)
            .offset(position as u64)
            .build()
    })
}

/// True when it is taken: a completion of its kind then comes back once. False when the ring is full.
pub fn writeback(call: &Call) -> Outcome {
    let fd = call.natural(1, "fd")?;
    let position = call.position(2, "position")?;
    let bytes = call.natural(3, "bytes")?;
    start(call, fd, (WRITEBACK, 0), |fd| {
        opcode::SyncFileRange::new(fd, bytes as u32)
            .offset(position as u64)
            .flags(libc::SYNC_FILE_RANGE_WRITE)
            .build()
    })
}

fn start(
    call: &Call,
    fd: i32,
    (kind, token): (u64, i32),
    entry: impl FnOnce(types::Fd) -> squeue::Entry,
) -> Outcome {
    with_ring(call, |ring| {
        if ring.pending == ring.capacity {
            return Ok(Value::Bool(false));
        }
        let duplicate = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if duplicate < 0 {
            return match errno::last() {
                libc::EMFILE => Ok(Value::Bool(false)), // A blocking call needs no descriptor more.
                errno => Err(Failure::System {
                    errno,
                    syscall: "fcntl",
                }),
            };
        }
        let entry = entry(types::Fd(duplicate)).user_data(user_data(kind, token, duplicate));
        if unsafe { ring.uring.submission().push(&entry) }.is_err() {
            unsafe { libc::close(duplicate) };
            return Ok(Value::Bool(false));
        }
        ring.pending += 1;
        submit(ring)?;
        Ok(Value::Bool(true))
    })
}

/// Hands over what is queued. A kernel short of memory takes it later: `drain` tries again.
fn submit(ring: &mut Ring) -> Outcome<()> {
    let result = retry(|| match ring.uring.submit() {
        Ok(count) => count as isize,
        Err(error) => {
            unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO) };
            -1
        }
    });
    match result {
        Ok(_) | Err(libc::EAGAIN | libc::EBUSY) => Ok(()),
        Err(errno) => Err(Failure::System {
            errno,
            syscall: "io_uring_enter",
        }),
    }
}

pub fn drain(call: &Call) -> Outcome {
    let out = call.int32s(1, "out")?;
    with_ring(call, |ring| {
        if !ring.uring.submission().is_empty() {
            submit(ring)?;
        }
        let mut count = 0;
        let mut completions = ring.uring.completion();
        while count < out.len() / 3 {
            let Some(completion) = completions.next() else {
                break;
            };
            unsafe { libc::close(duplicate_of(completion.user_data())) };
            out.set(3 * count, kind_of(completion.user_data()));
            out.set(3 * count + 1, token_of(completion.user_data()));
            out.set(3 * count + 2, completion.result());
            count += 1;
        }
        drop(completions);
        ring.pending -= count;
        Ok(Value::Number(count as f64))
    })
}

/// Waits for what is in flight; nobody hears of it.
pub fn close(call: &Call) -> Outcome {
    let index = call.size(0, "ring")?;
    RINGS.with_borrow_mut(|rings| match rings.get_mut(index) {
        Some(slot @ Some(_)) => {
            *slot = None;
            Ok(Value::Undefined)
        }
        _ => Err(Failure::Range("ring")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_keeps_kind_token_and_descriptor_apart() {
        for kind in [FLUSH, READ, WRITEBACK] {
            for token in [0, 1, -1, i32::MIN, i32::MAX] {
                for duplicate in [0, 3, DUPLICATE_MASK as i32] {
                    let data = user_data(kind, token, duplicate);
                    assert_eq!((token_of(data), duplicate_of(data)), (token, duplicate));
                    assert_eq!(kind_of(data) as u64, kind);
                }
            }
        }
    }
}
