//! The partitions' growing files: check, stamp, append, and keep the page cache bounded.
//!
//! Small batches are gathered by partition and written together at the end of a turn, as a broker
//! does; large ones go to the file straight from the memory they were received in.

use super::Options;
use super::log::Log;
use crate::batch;
use crate::page_cache::WriteBehind;
use crate::wire::CORRUPT_MESSAGE;
use std::fs::File;
use std::io::Result;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Batches below this are gathered: copying them costs less than a system call each.
const GATHER_BELOW_BYTES: usize = 16 * 1024;
const GATHERED_BYTES_MAX: usize = 256 * 1024;

struct Partition {
    next_offset: i64,
    /// Bytes in the file, without those gathered.
    file_bytes: u64,
    gathered: Vec<u8>,
    /// Exclusive.
    gathered_end_offset: i64,
    behind: WriteBehind,
}

pub struct Appender {
    partitions: Vec<Partition>,
    /// Partitions with gathered bytes.
    touched: Vec<usize>,
    /// The files, and what readers may know of them.
    log: Arc<Log>,
    check_crc: bool,
}

/// Makes the partitions' files; none without writes.
pub fn make_files(options: &Options) -> Result<Vec<Option<File>>> {
    let make = |index| {
        let path = Path::new(&options.data_dir).join(format!("partition-{index}.log"));
        let mut made = File::options();
        made.read(true).write(true).create_new(true);
        made.open(path).map(Some)
    };
    if options.write {
        (0..options.partitions).map(make).collect()
    } else {
        Ok((0..options.partitions).map(|_| None).collect())
    }
}

impl Appender {
    pub fn new(options: &Options, log: Arc<Log>) -> Appender {
        let partition = |_| Partition {
            next_offset: 0,
            file_bytes: 0,
            gathered: Vec::new(),
            gathered_end_offset: 0,
            behind: WriteBehind::new(options.write_behind_bytes, options.window_bytes),
        };
        Appender {
            partitions: (0..options.partitions).map(partition).collect(),
            touched: Vec::new(),
            log,
            check_crc: options.check_crc,
        }
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
        if self.log.file(index).is_none() {
            self.log
                .wrote(index, bytes.len() as u64, partition.next_offset)?;
            return Ok(Ok(base_offset));
        }
        if bytes.len() < GATHER_BELOW_BYTES {
            if partition.gathered.is_empty() {
                self.touched.push(index);
            }
            partition.gathered.extend_from_slice(bytes);
            partition.gathered_end_offset = partition.next_offset;
            if partition.gathered.len() >= GATHERED_BYTES_MAX {
                self.flush()?;
            }
        } else {
            if !partition.gathered.is_empty() {
                self.flush()?;
            }
            self.write(index, bytes, base_offset + count)?;
        }
        Ok(Ok(base_offset))
    }

    pub fn is_flushed(&self) -> bool {
        self.touched.is_empty()
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<()> {
        for index in std::mem::take(&mut self.touched) {
            let partition = &mut self.partitions[index];
            let end_offset = partition.gathered_end_offset;
            let mut gathered = std::mem::take(&mut partition.gathered);
            self.write(index, &gathered, end_offset)?;
            gathered.clear();
            self.partitions[index].gathered = gathered;
        }
        Ok(())
    }

    /// Puts down whole batches that end at `end_offset`, exclusive.
    fn write(&mut self, index: usize, bytes: &[u8], end_offset: i64) -> Result<()> {
        let partition = &mut self.partitions[index];
        let Some(file) = self.log.file(index) else {
            return Ok(());
        };
        file.write_all_at(bytes, partition.file_bytes)?;
        partition.file_bytes += bytes.len() as u64;
        self.log.wrote(index, bytes.len() as u64, end_offset)?;
        partition
            .behind
            .grown(file.as_raw_fd(), partition.file_bytes);
        Ok(())
    }
}
