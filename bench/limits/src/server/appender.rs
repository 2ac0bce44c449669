//! The partitions' growing files: check, stamp, append, and keep the page cache bounded.
//!
//! Small batches are gathered by partition and written together at the end of a turn, as a broker
//! does; large ones go to the file straight from the memory they were received in.

use super::Options;
use crate::batch;
use crate::wire::CORRUPT_MESSAGE;
use std::fs::File;
use std::io::Result;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Batches below this are gathered: copying them costs less than a system call each.
const GATHER_BELOW_BYTES: usize = 16 * 1024;
const GATHERED_BYTES_MAX: usize = 256 * 1024;

struct Partition {
    file: Option<File>,
    next_offset: i64,
    /// Bytes in the file, without those gathered.
    file_bytes: u64,
    gathered: Vec<u8>,
    started_to: u64,
    dropped_to: u64,
}

pub struct Appender {
    partitions: Vec<Partition>,
    /// Partitions with gathered bytes.
    touched: Vec<usize>,
    /// Next offsets, for whoever answers ListOffsets on another thread.
    end_offsets: Arc<Vec<AtomicI64>>,
    check_crc: bool,
    write_behind_bytes: u64,
    window_bytes: u64,
}

impl Appender {
    pub fn open(options: &Options, end_offsets: Arc<Vec<AtomicI64>>) -> Result<Appender> {
        let mut partitions = Vec::with_capacity(options.partitions);
        for index in 0..options.partitions {
            let path = Path::new(&options.data_dir).join(format!("partition-{index}.log"));
            let file = if options.write {
                Some(File::create_new(path)?)
            } else {
                None
            };
            partitions.push(Partition {
                file,
                next_offset: 0,
                file_bytes: 0,
                gathered: Vec::new(),
                started_to: 0,
                dropped_to: 0,
            });
        }
        Ok(Appender {
            partitions,
            touched: Vec::new(),
            end_offsets,
            check_crc: options.check_crc,
            write_behind_bytes: options.write_behind_bytes,
            window_bytes: options.window_bytes,
        })
    }

    /// Appends one batch and returns its base offset, or an error code. What `is_flushed` denies is
    /// not written yet and must not be acknowledged.
    pub fn append(
        &mut self,
        index: usize,
        bytes: &mut [u8],
    ) -> Result<std::result::Result<i64, i16>> {
        let Some(count) = batch::check(bytes, self.check_crc) else {
            return Ok(Err(CORRUPT_MESSAGE));
        };
        let partition = &mut self.partitions[index];
        let base_offset = partition.next_offset;
        batch::stamp(bytes, base_offset);
        partition.next_offset += count;
        self.end_offsets[index].store(partition.next_offset, Ordering::Release);
        if partition.file.is_none() {
            return Ok(Ok(base_offset));
        }
        if bytes.len() < GATHER_BELOW_BYTES {
            if partition.gathered.is_empty() {
                self.touched.push(index);
            }
            partition.gathered.extend_from_slice(bytes);
            if partition.gathered.len() >= GATHERED_BYTES_MAX {
                self.flush()?;
            }
        } else {
            if !partition.gathered.is_empty() {
                self.flush()?;
            }
            self.write(index, bytes)?;
        }
        Ok(Ok(base_offset))
    }

    pub fn is_flushed(&self) -> bool {
        self.touched.is_empty()
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<()> {
        for index in std::mem::take(&mut self.touched) {
            let mut gathered = std::mem::take(&mut self.partitions[index].gathered);
            self.write(index, &gathered)?;
            gathered.clear();
            self.partitions[index].gathered = gathered;
        }
        Ok(())
    }

    fn write(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let partition = &mut self.partitions[index];
        let Some(file) = &partition.file else {
            return Ok(());
        };
        file.write_all_at(bytes, partition.file_bytes)?;
        partition.file_bytes += bytes.len() as u64;
        let step = self.write_behind_bytes;
        let end = partition.file_bytes;
        if step == 0 || end - partition.started_to < step {
            return Ok(());
        }
        // Hints: what the system refuses changes nothing but the size of the page cache.
        let from = partition.started_to;
        let fd = file.as_raw_fd();
        let length = (end - from) as i64;
        unsafe { libc::sync_file_range(fd, from as i64, length, libc::SYNC_FILE_RANGE_WRITE) };
        partition.started_to = end;
        let drop_to = end.saturating_sub(self.window_bytes);
        if drop_to >= partition.dropped_to + step {
            let from = partition.dropped_to as i64;
            let length = drop_to as i64 - from;
            unsafe { libc::posix_fadvise(fd, from, length, libc::POSIX_FADV_DONTNEED) };
            partition.dropped_to = drop_to;
        }
        Ok(())
    }
}
