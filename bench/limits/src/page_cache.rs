//! What a writer of growing files does with the page cache, and what a reader does before it reads
//! from the disk.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, RawFd};

/// Starts written bytes towards the disk and drops what lies far behind, so that a growing file has
/// a bounded part of the page cache.
///
/// The last `TAIL_STEPS` steps are not started: the kernel locks pages that it hands to the disk, and
/// those around them, and a write to the last of them would wait.
pub struct WriteBehind {
    /// Bytes after which what was written is started towards the disk; 0: never.
    step_bytes: u64,
    /// Bytes at the end of the file that stay.
    window_bytes: u64,
    started_to: u64,
    dropped_to: u64,
}

const TAIL_STEPS: u64 = 2;
/// Steps that are dropped together: each time the kernel empties every core's list of new pages.
const STEPS_PER_DROP: u64 = 32;

impl WriteBehind {
    pub fn new(step_bytes: u64, window_bytes: u64) -> WriteBehind {
        WriteBehind {
            step_bytes,
            window_bytes,
            started_to: 0,
            dropped_to: 0,
        }
    }

    /// The file has grown to `end` bytes.
    pub fn grown(&mut self, fd: RawFd, end: u64) {
        let step = self.step_bytes;
        let due = end.saturating_sub(TAIL_STEPS * step);
        if step == 0 || due < self.started_to + step {
            return;
        }
        // Hints: what the system refuses changes nothing but the size of the page cache.
        let from = self.started_to;
        let length = due - due % step - from;
        let bytes = length as i64;
        unsafe { libc::sync_file_range(fd, from as i64, bytes, libc::SYNC_FILE_RANGE_WRITE) };
        self.started_to = from + length;
        let drop_to = self.started_to.saturating_sub(self.window_bytes);
        if drop_to >= self.dropped_to + STEPS_PER_DROP * step {
            let from = self.dropped_to as i64;
            let length = drop_to as i64 - from;
            unsafe { libc::posix_fadvise(fd, from, length, libc::POSIX_FADV_DONTNEED) };
            self.dropped_to = drop_to;
        }
    }
}

/// Drops a file from the page cache, written back before: what is dirty would stay.
pub fn drop_file(file: &File) -> Result<()> {
    file.sync_data()?;
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        code => Err(Error::from_raw_os_error(code)),
    }
}

/// Bytes of the first `length` of a file that are in the page cache, in whole pages.
pub fn cached_bytes(file: &File, length: u64) -> Result<u64> {
    const MAPPED_BYTES: u64 = 1 << 30;
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let mut pages = 0;
    let mut at = 0;
    while at < length {
        let bytes = (length - at).min(MAPPED_BYTES) as usize;
        pages += cached_pages(file, at, bytes, page)?;
        at += bytes as u64;
    }
    Ok(pages * page)
}

fn cached_pages(file: &File, at: u64, bytes: usize, page: u64) -> Result<u64> {
    let fd = file.as_raw_fd();
    let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    let null = std::ptr::null_mut();
    let mapped = unsafe { libc::mmap(null, bytes, protection, flags, fd, at as i64) };
    if mapped == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    let mut states = vec![0u8; bytes.div_ceil(page as usize)];
    let result = unsafe { libc::mincore(mapped, bytes, states.as_mut_ptr()) };
    let error = Error::last_os_error();
    unsafe { libc::munmap(mapped, bytes) };
    if result != 0 {
        return Err(error);
    }
    Ok(states.iter().filter(|state| **state & 1 != 0).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn cached_bytes_counts_what_was_just_written_in_whole_pages() {
        let path = std::env::temp_dir().join(format!("page-cache-{}", std::process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(cached_bytes(&file, 0).unwrap(), 0);
        file.write_all(&[1; 10_000]).unwrap();
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        let cached = cached_bytes(&file, 10_000).unwrap();
        assert_eq!(cached, 10_000u64.div_ceil(page) * page);
        drop_file(&file).unwrap();
        assert!(cached_bytes(&file, 10_000).unwrap() <= cached);
    }
}
