//! Plain system calls on a file descriptor. Buffered and blocking: a write ends in the page cache.
//!
//! Hints (`fallocate_keep_size`, `sync_file_range`, `fadvise_dont_need`) never report the system's
//! refusal; they still refuse bad arguments, which are our own bug.

use crate::call::{Call, Failure, Outcome, Value};
use crate::errno::retry;

/// IOV_MAX on Linux: more vectors in one call are EINVAL, so that the write is cut there.
const VECTORS_MAX: usize = 1024;

fn failed(syscall: &'static str) -> impl Fn(i32) -> Failure {
    move |errno| Failure::System { errno, syscall }
}

pub fn pwritev(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let position = call.position(1, "position")?;
    let bytes = call.bytes(2, "bytes")?;
    let ranges = call.words32(3, "ranges")?;
    let count = call.size(4, "count")?;
    if count > ranges.len() / 2 {
        return Err(Failure::Range("count"));
    }

    // A negative number in an Int32Array reads as at least 2^31 and is out of bounds of any memory
    // that a gathering write could take; of larger memories only the first 2 GiB can be named so.
    let range = |index: usize| {
        let (offset, length) = (
            ranges.get(2 * index) as usize,
            ranges.get(2 * index + 1) as usize,
        );
        if offset > i32::MAX as usize || length > i32::MAX as usize {
            return Err(Failure::Range("ranges"));
        }
        bytes.range(offset, length, "ranges")
    };
    let written = if count == 1 {
        let only = range(0)?;
        let pointer = only.pointer.cast();
        retry(|| unsafe { libc::pwrite(fd, pointer, only.length, position) })
    } else {
        for index in count.min(VECTORS_MAX)..count {
            range(index)?; // Refused alike, whether this call reaches it or not.
        }
        let mut vectors = [const { std::mem::MaybeUninit::<libc::iovec>::uninit() }; VECTORS_MAX];
        let used = count.min(VECTORS_MAX);
        for (index, vector) in vectors[..used].iter_mut().enumerate() {
            vector.write(range(index)?.iovec());
        }
        let vectors = vectors.as_ptr().cast::<libc::iovec>();
        retry(|| unsafe { libc::pwritev(fd, vectors, used as libc::c_int, position) })
    };
    Ok(Value::Number(written.map_err(failed("pwritev"))? as f64))
}

pub fn pread(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let position = call.position(1, "position")?;
    let bytes = call.bytes(2, "bytes")?;
    let range = bytes.range(call.size(3, "offset")?, call.size(4, "length")?, "length")?;
    let read = retry(|| unsafe { libc::pread(fd, range.pointer.cast(), range.length, position) });
    Ok(Value::Number(read.map_err(failed("pread"))? as f64))
}

pub fn fdatasync(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    // Not repeated when interrupted: after any failure of a sync the page cache may already have
    // dropped what was not written, and a second one that succeeds would prove nothing.
    if unsafe { libc::fdatasync(fd) } != 0 {
        return Err(Failure::last("fdatasync"));
    }
    Ok(Value::Undefined)
}

pub fn fallocate_keep_size(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let bytes = call.position(1, "bytes")?;
    if bytes > 0 {
        let _ =
            retry(|| unsafe { libc::fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, 0, bytes) as isize });
    }
    Ok(Value::Undefined)
}

pub fn sync_file_range(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let position = call.position(1, "position")?;
    let bytes = call.position(2, "bytes")?;
    if bytes > 0 {
        // Zero would mean "to the end of the file" to the system, and nothing to our callers.
        unsafe { libc::sync_file_range(fd, position, bytes, libc::SYNC_FILE_RANGE_WRITE) };
    }
    Ok(Value::Undefined)
}

pub fn fadvise_dont_need(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let position = call.position(1, "position")?;
    let bytes = call.position(2, "bytes")?;
    if bytes > 0 {
        unsafe { libc::posix_fadvise(fd, position, bytes, libc::POSIX_FADV_DONTNEED) };
    }
    Ok(Value::Undefined)
}

/// `flock`: the lock belongs to the open file, so that a second open in this process is refused too.
pub fn try_lock_file(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    match retry(|| unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) as isize }) {
        Ok(_) => Ok(Value::Bool(true)),
        Err(libc::EWOULDBLOCK) => Ok(Value::Bool(false)),
        Err(errno) => Err(Failure::System {
            errno,
            syscall: "flock",
        }),
    }
}
