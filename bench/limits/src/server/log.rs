//! What is in the partitions' files, for those who read: which offsets lie where. Written by the
//! appender after each write, read by whoever answers Fetch and ListOffsets, on either thread.
//!
//! A *run* is what one write has put down: whole batches, one or many. A fetch is answered with
//! whole runs, so that every position a consumer gets to begins one.

use std::fs::File;
use std::io::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// 1 GiB of memory for a partition.
const RUNS_MAX: usize = 1 << 26;

#[derive(Clone, Copy)]
struct Run {
    base_offset: i64,
    position: u64,
}

#[derive(Default)]
struct Written {
    runs: Vec<Run>,
    /// Exclusive.
    end_offset: i64,
    /// Bytes of the file.
    end_position: u64,
}

struct Partition {
    /// None: nothing is written, offsets are counted alone.
    file: Option<File>,
    written: Mutex<Written>,
}

pub struct Log {
    partitions: Vec<Partition>,
    /// Grows with every write, so that one look says whether there is anything new.
    version: AtomicU64,
}

/// Bytes of a partition's file, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    pub from: u64,
    pub to: u64,
    /// Bytes between `from` and the file's end.
    pub behind: u64,
}

impl Log {
    pub fn new(files: Vec<Option<File>>) -> Log {
        let partition = |file| Partition {
            file,
            written: Mutex::default(),
        };
        Log {
            partitions: files.into_iter().map(partition).collect(),
            version: AtomicU64::new(0),
        }
    }

    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub fn file(&self, index: usize) -> Option<&File> {
        self.partitions[index].file.as_ref()
    }

    fn written(&self, index: usize) -> MutexGuard<'_, Written> {
        let written = self.partitions[index].written.lock();
        written.expect("no thread panics while it holds this")
    }

    /// `bytes` more are in the file, whose offsets end at `end_offset`, exclusive.
    pub fn wrote(&self, index: usize, bytes: u64, end_offset: i64) -> Result<()> {
        let mut written = self.written(index);
        let run = Run {
            base_offset: written.end_offset,
            position: written.end_position,
        };
        assert!(end_offset > run.base_offset);
        if self.partitions[index].file.is_some() {
            if written.runs.len() >= RUNS_MAX {
                return Err(Error::other("too many writes to one partition"));
            }
            written.runs.push(run);
            written.end_position += bytes;
        }
        written.end_offset = end_offset;
        drop(written);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn end_offset(&self, index: usize) -> i64 {
        self.written(index).end_offset
    }

    /// The runs from the one with `offset` on that fit `bytes_max`; the first one in any case when
    /// `at_least_one`. An empty stretch where there are none. None for an offset out of range.
    pub fn find(
        &self,
        index: usize,
        offset: i64,
        bytes_max: u64,
        at_least_one: bool,
    ) -> Option<Stretch> {
        let written = self.written(index);
        let end = written.end_position;
        if offset == written.end_offset {
            return Some(Stretch {
                from: end,
                to: end,
                behind: 0,
            });
        }
        let runs = &written.runs;
        let above = runs.partition_point(|run| run.base_offset <= offset);
        if above == 0 || offset > written.end_offset {
            return None;
        }
        let from = runs[above - 1].position;
        let limit = from.saturating_add(bytes_max);
        let to = if end <= limit {
            end
        } else {
            // The last run that begins at or below the limit is where the stretch ends.
            let beyond = above + runs[above..].partition_point(|run| run.position <= limit);
            match beyond {
                beyond if beyond > above => runs[beyond - 1].position,
                _ if at_least_one => runs.get(above).map_or(end, |run| run.position),
                _ => from,
            }
        };
        Some(Stretch {
            from,
            to,
            behind: end - from,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of 100, 200 and 300 bytes with 1, 2 and 3 events.
    fn log() -> Log {
        let log = Log::new(vec![Some(File::open("/dev/null").unwrap())]);
        for (bytes, end_offset) in [(100, 1), (200, 3), (300, 6)] {
            log.wrote(0, bytes, end_offset).unwrap();
        }
        log
    }

    fn find(offset: i64, bytes_max: u64, at_least_one: bool) -> Option<(u64, u64)> {
        let found = log().find(0, offset, bytes_max, at_least_one);
        found.map(|stretch| (stretch.from, stretch.to))
    }

    #[test]
    fn find_gives_whole_runs_that_fit() {
        assert_eq!(find(0, 1000, false), Some((0, 600)));
        assert_eq!(find(0, 600, false), Some((0, 600)));
        assert_eq!(find(0, 599, false), Some((0, 300)));
        assert_eq!(find(1, 200, false), Some((100, 300)));
        assert_eq!(find(2, 200, false), Some((100, 300)), "the run with it");
        assert_eq!(find(3, 1000, false), Some((300, 600)));
    }

    #[test]
    fn find_gives_one_run_where_one_must_be() {
        assert_eq!(find(0, 99, false), Some((0, 0)));
        assert_eq!(find(0, 99, true), Some((0, 100)));
        assert_eq!(find(3, 1, true), Some((300, 600)));
    }

    #[test]
    fn find_at_the_end_is_empty_and_beyond_is_out_of_range() {
        assert_eq!(find(6, 1000, true), Some((600, 600)));
        assert_eq!(find(7, 1000, true), None);
        assert_eq!(find(-1, 1000, true), None);
    }

    #[test]
    fn wrote_without_a_file_counts_offsets_alone() {
        let log = Log::new(vec![None]);
        log.wrote(0, 100, 5).unwrap();
        assert_eq!(log.end_offset(0), 5);
        assert_eq!(log.find(0, 0, 1000, true), None);
    }
}
