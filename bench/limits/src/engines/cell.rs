//! One measurement: an engine and a block size.

use super::engine::{DONTCACHE, Engine};
use super::{ALIGNMENT, Options};
use crate::batch::Random;
use crate::histogram::Histogram;
use crate::page_cache::WriteBehind;
use crate::time::{now_ns, process_cpu_ns};
use io_uring::{IoUring, opcode, types};
use std::fs::{File, OpenOptions, remove_file};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// As limit-server has them.
const WRITE_BEHIND_BYTES: u64 = 2 << 20;
const WINDOW_BYTES: u64 = 64 << 20;

pub enum Cell {
    Measured(Box<Measured>),
    /// The system or the file system does not do this; why.
    Skipped(String),
}

pub struct Measured {
    pub bytes: u64,
    /// From the first write's begin to the last one's end.
    pub written_ns: u64,
    /// And to the end of the flush of every file.
    pub flushed_ns: u64,
    /// Of this process, writes and flush, with the kernel's work in its threads.
    pub cpu_ns: u64,
    pub operations: Histogram,
}

/// Memory that O_DIRECT takes.
struct Block {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Block {
    fn new(bytes: usize) -> Block {
        let mut memory = Vec::with_capacity(bytes + 2 * ALIGNMENT);
        Random::new(1).fill(&mut memory, bytes + ALIGNMENT);
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Block {
            memory,
            start,
            bytes,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

/// Fails where the disk does; where the way itself is refused, the cell is skipped.
pub fn measure(
    options: &Options,
    engine: Engine,
    size: usize,
) -> std::result::Result<Cell, String> {
    let problem = |error: Error| format!("{} with {size} bytes: {error}", engine.name());
    let files = match make_files(options, engine, size) {
        Ok(files) => files,
        Err(error) if is_refused(&error) => return Ok(Cell::Skipped(error.to_string())),
        Err(error) => return Err(problem(error)),
    };
    let mut writer = Writer {
        options,
        files: &files,
        block: Block::new(size),
        begin_ns: now_ns(),
        bytes: 0,
        operations: Histogram::default(),
    };
    let begin_cpu_ns = process_cpu_ns();
    match writer.write(engine) {
        Ok(()) => {}
        Err(error) if writer.bytes == 0 && is_refused(&error) => {
            return Ok(Cell::Skipped(error.to_string()));
        }
        Err(error) => return Err(problem(error)),
    }
    let written_ns = now_ns() - writer.begin_ns;
    for file in &files {
        file.sync_data().map_err(problem)?;
    }
    Ok(Cell::Measured(Box::new(Measured {
        bytes: writer.bytes,
        written_ns,
        flushed_ns: now_ns() - writer.begin_ns,
        cpu_ns: process_cpu_ns() - begin_cpu_ns,
        operations: writer.operations,
    })))
}

fn is_refused(error: &Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)
    )
}

/// Files without names, allocated before where the engine wants that.
fn make_files(options: &Options, engine: Engine, size: usize) -> Result<Vec<File>> {
    let each = options.bytes_max.div_ceil(options.files as u64) + size as u64;
    let make = |index: usize| {
        let name = format!("write-engines-{}-{index}", std::process::id());
        let path = Path::new(&options.dir).join(name);
        let flags = if engine.is_direct() {
            libc::O_DIRECT
        } else {
            0
        };
        let mut made = OpenOptions::new();
        let file = made
            .write(true)
            .create_new(true)
            .custom_flags(flags)
            .open(&path);
        // O_DIRECT may be refused after the file was made.
        let removed = remove_file(&path);
        let file = file?;
        removed?;
        if engine.is_preallocated()
            && unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, each as i64) } != 0
        {
            return Err(Error::last_os_error());
        }
        Ok(file)
    };
    (0..options.files).map(make).collect()
}

struct Writer<'a> {
    options: &'a Options,
    files: &'a [File],
    block: Block,
    begin_ns: u64,
    bytes: u64,
    operations: Histogram,
}

impl Writer<'_> {
    fn write(&mut self, engine: Engine) -> Result<()> {
        match engine {
            Engine::DirectRing(depth) => self.write_by_ring(depth),
            Engine::Buffered | Engine::DirectGrowing => {
                self.write_in_turn(|file, block, at| file.write_all_at(block, at))
            }
            Engine::DontCache => self.write_in_turn(write_uncached),
            Engine::BufferedBehind => {
                let behind = || WriteBehind::new(WRITE_BEHIND_BYTES, WINDOW_BYTES);
                let mut behinds: Vec<WriteBehind> = self.files.iter().map(|_| behind()).collect();
                let mut turn = 0;
                self.write_in_turn(|file, block, at| {
                    file.write_all_at(block, at)?;
                    let count = behinds.len();
                    behinds[turn].grown(file.as_raw_fd(), at + block.len() as u64);
                    turn = (turn + 1) % count;
                    Ok(())
                })
            }
        }
    }

    fn is_over(&self, begun_bytes: u64, now_ns: u64) -> bool {
        begun_bytes + self.block.bytes as u64 > self.options.bytes_max
            || (now_ns - self.begin_ns) as f64 >= self.options.seconds * 1e9
    }

    /// File and position of the write before which `begun` bytes were begun.
    fn place(&self, begun: u64) -> (usize, u64) {
        let size = self.block.bytes as u64;
        let (turn, files) = (begun / size, self.files.len() as u64);
        ((turn % files) as usize, turn / files * size)
    }

    fn write_in_turn(
        &mut self,
        mut write: impl FnMut(&File, &[u8], u64) -> Result<()>,
    ) -> Result<()> {
        let mut start_ns = now_ns();
        while !self.is_over(self.bytes, start_ns) {
            let (file, at) = self.place(self.bytes);
            write(&self.files[file], self.block.bytes(), at)?;
            let end_ns = now_ns();
            self.operations.record(end_ns - start_ns);
            self.bytes += self.block.bytes as u64;
            start_ns = end_ns;
        }
        Ok(())
    }

    /// Keeps `depth` writes under way.
    fn write_by_ring(&mut self, depth: usize) -> Result<()> {
        let mut ring = IoUring::new(depth as u32)?;
        let mut started_ns = vec![0u64; depth];
        let mut free: Vec<usize> = (0..depth).collect();
        let mut begun = 0;
        loop {
            while let Some(slot) = free.pop() {
                let now = now_ns();
                if self.is_over(begun, now) {
                    free.push(slot);
                    break;
                }
                let (file, at) = self.place(begun);
                let block = self.block.bytes();
                let fd = types::Fd(self.files[file].as_raw_fd());
                let entry = opcode::Write::new(fd, block.as_ptr(), block.len() as u32)
                    .offset(at)
                    .build()
                    .user_data(slot as u64);
                started_ns[slot] = now;
                begun += block.len() as u64;
                // The block outlives the ring's writes: none is left when this returns well, and
                // the process ends when it does not.
                unsafe { ring.submission().push(&entry) }.map_err(Error::other)?;
            }
            if free.len() == depth {
                return Ok(());
            }
            match ring.submit_and_wait(1) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = now_ns();
            for completion in ring.completion() {
                match completion.result() {
                    code if code < 0 => return Err(Error::from_raw_os_error(-code)),
                    count if count as usize != self.block.bytes => {
                        return Err(Error::other(format!("wrote {count} bytes alone")));
                    }
                    _ => {}
                }
                let slot = completion.user_data() as usize;
                self.operations.record(now - started_ns[slot]);
                self.bytes += self.block.bytes as u64;
                free.push(slot);
            }
        }
    }
}

fn write_uncached(file: &File, block: &[u8], at: u64) -> Result<()> {
    let vector = libc::iovec {
        iov_base: block.as_ptr().cast_mut().cast(),
        iov_len: block.len(),
    };
    let fd = file.as_raw_fd();
    match unsafe { libc::pwritev2(fd, &vector, 1, at as i64, DONTCACHE) } {
        count if count == block.len() as isize => Ok(()),
        count if count < 0 => Err(Error::last_os_error()),
        count => Err(Error::other(format!("wrote {count} bytes alone"))),
    }
}
