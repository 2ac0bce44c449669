//! How long a thread that serves others is held up by reads of data that is not in the page cache:
//! by plain reads, by plain reads with a hint to read on, and by reads through io_uring.
//!
//! One file, a number of readers at places of their own, in turn, each in order from its place on.
//! Between two reads the thread has other work (`--think-us`), as a shard does. A way's *held up*
//! time is what passes inside its system calls; time in which the thread could do something else
//! (a read of io_uring under way) is not.

use std::ffi::CString;
use std::process::ExitCode;

use io_uring::{IoUring, opcode, types};

use crate::args::Args;
use crate::histogram::Histogram;
use crate::time::now_ns;

const USAGE: &str = "cold-reads --file PATH [--gb 2] [--read-bytes 1048576] [--readers 1] \
    [--think-us 300] [--rounds 2]
Makes a file of that size, deletes it at the end. Prints one line of JSON a way and round, A B C C B A.";

/// What a reader of old data makes the kernel read on, at least: as the broker does.
const PREFETCH_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Hinted,
    Uring,
}

struct Options {
    file: String,
    bytes: u64,
    read_bytes: u64,
    readers: u64,
    think_ns: u64,
    rounds: u32,
}

pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let names = ["file", "gb", "read-bytes", "readers", "think-us", "rounds"];
    let args = Args::parse(std::env::args().skip(1), &names, &[])?;
    let options = Options {
        file: args
            .optional::<String>("file")?
            .ok_or("--file is missing")?,
        bytes: (args.number("gb", 2.0, 0.01, 100.0)? * 1e9) as u64,
        read_bytes: args.number("read-bytes", 1u64 << 20, 4096, 64 << 20)?,
        readers: args.number("readers", 1, 1, 1024)?,
        think_ns: args.number("think-us", 300, 0, 1_000_000)? * 1000,
        rounds: args.number("rounds", 2, 1, 100)?,
    };
    let fd = make_file(&options)?;
    for _ in 0..options.rounds {
        for way in [
            Way::Plain,
            Way::Hinted,
            Way::Uring,
            Way::Uring,
            Way::Hinted,
            Way::Plain,
        ] {
            measure(fd, way, &options)?;
        }
    }
    unsafe { libc::close(fd) };
    Ok(())
}

/// A file of random bytes that has no name any more and is on the disk.
fn make_file(options: &Options) -> Result<i32, String> {
    let path = CString::new(options.file.as_str()).map_err(|error| error.to_string())?;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    if fd < 0 {
        return Err(failed("open"));
    }
    unsafe { libc::unlink(path.as_ptr()) };
    let mut block = vec![0u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut at = 0;
    while at < options.bytes {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_ne_bytes());
        }
        let written = unsafe { libc::pwrite(fd, block.as_ptr().cast(), block.len(), at as i64) };
        if written <= 0 {
            return Err(failed("pwrite"));
        }
        at += written as u64;
    }
    if unsafe { libc::fsync(fd) } != 0 {
        return Err(failed("fsync"));
    }
    Ok(fd)
}

fn failed(call: &str) -> String {
    format!("{call}: {}", std::io::Error::last_os_error())
}

struct Measured {
    held_up: Histogram,
    /// From asking for a read's bytes to having them.
    waited: Histogram,
    wall_ns: u64,
    cpu_ns: u64,
    bytes: u64,
}

fn measure(fd: i32, way: Way, options: &Options) -> Result<(), String> {
    if unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) } != 0 {
        return Err("posix_fadvise refuses".into());
    }
    let mut result = Measured {
        held_up: Histogram::default(),
        waited: Histogram::default(),
        wall_ns: now_ns(),
        cpu_ns: cpu_ns(),
        bytes: 0,
    };
    let (wall, cpu) = (result.wall_ns, result.cpu_ns);
    match way {
        Way::Plain => read_plainly(fd, false, options, &mut result)?,
        Way::Hinted => read_plainly(fd, true, options, &mut result)?,
        Way::Uring => read_by_ring(fd, options, &mut result)?,
    }
    result.wall_ns = now_ns() - wall;
    result.cpu_ns = cpu_ns() - cpu;
    print(way, options, &result);
    Ok(())
}

/// Calls `read(position)` for every read of every reader, the readers in turn.
fn for_each_read(
    options: &Options,
    mut read: impl FnMut(u64) -> Result<(), String>,
) -> Result<(), String> {
    let share = options.bytes / options.readers;
    for step in 0..share / options.read_bytes {
        for reader in 0..options.readers {
            read(reader * share + step * options.read_bytes)?;
        }
    }
    Ok(())
}

fn read_plainly(
    fd: i32,
    hinted: bool,
    options: &Options,
    result: &mut Measured,
) -> Result<(), String> {
    let mut buffer = vec![0u8; options.read_bytes as usize];
    for_each_read(options, |position| {
        let start = now_ns();
        let count = unsafe {
            libc::pread(
                fd,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                position as i64,
            )
        };
        if count != buffer.len() as isize {
            return Err(failed("pread"));
        }
        result.waited.record(now_ns() - start);
        if hinted {
            let next = position + options.read_bytes;
            let ahead = options.read_bytes.max(PREFETCH_BYTES);
            unsafe {
                libc::posix_fadvise(fd, next as i64, ahead as i64, libc::POSIX_FADV_WILLNEED)
            };
        }
        result.held_up.record(now_ns() - start);
        result.bytes += options.read_bytes;
        think(options.think_ns);
        Ok(())
    })
}

/// One read of each reader under way, its completion taken before the reader's next one.
fn read_by_ring(fd: i32, options: &Options, result: &mut Measured) -> Result<(), String> {
    let mut ring = IoUring::new(options.readers.next_power_of_two() as u32)
        .map_err(|error| format!("io_uring: {error}"))?;
    let length = options.read_bytes as usize;
    let mut buffers = vec![vec![0u8; length]; options.readers as usize];
    let mut asked_ns = vec![0u64; options.readers as usize];
    let mut pending = vec![false; options.readers as usize];
    let mut reader = 0;
    for_each_read(options, |position| {
        while pending[reader] {
            let held_ns = reap(&mut ring, length, &mut pending, &asked_ns, result)?;
            // Nothing is ready: a shard would turn to something else or park.
            if held_ns == 0 && ring.submit_and_wait(1).is_err() {
                return Err(failed("io_uring_enter"));
            }
        }
        let start = now_ns();
        let pointer = buffers[reader].as_mut_ptr();
        let entry = opcode::Read::new(types::Fd(fd), pointer, length as u32)
            .offset(position)
            .build()
            .user_data(reader as u64);
        if unsafe { ring.submission().push(&entry) }.is_err() || ring.submit().is_err() {
            return Err("the ring takes no read".into());
        }
        asked_ns[reader] = start;
        pending[reader] = true;
        result.held_up.record(now_ns() - start);
        result.bytes += options.read_bytes;
        think(options.think_ns);
        reap(&mut ring, length, &mut pending, &asked_ns, result)?;
        reader = (reader + 1) % options.readers as usize;
        Ok(())
    })?;
    while pending.contains(&true) {
        if reap(&mut ring, length, &mut pending, &asked_ns, result)? == 0
            && ring.submit_and_wait(1).is_err()
        {
            return Err(failed("io_uring_enter"));
        }
    }
    Ok(())
}

/// Takes what has completed; returns 0 when nothing had. The kernel copies asynchronously read
/// bytes while the thread is in a system call, so that entering it here is part of the price.
fn reap(
    ring: &mut IoUring,
    length: usize,
    pending: &mut [bool],
    asked_ns: &[u64],
    result: &mut Measured,
) -> Result<u64, String> {
    let start = now_ns();
    let submitter = ring.submitter();
    // Lets deferred copies run; waits for nothing.
    let _ = unsafe { submitter.enter::<libc::sigset_t>(0, 0, 1, None) };
    let mut count = 0;
    for completion in ring.completion() {
        if completion.result() != length as i32 {
            return Err(format!("a read of io_uring gave {}", completion.result()));
        }
        let reader = completion.user_data() as usize;
        pending[reader] = false;
        result.waited.record(now_ns() - asked_ns[reader]);
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let held = (now_ns() - start).max(1);
    result.held_up.record(held);
    Ok(held)
}

/// Other work of the thread: a busy one.
fn think(ns: u64) {
    let end = now_ns() + ns;
    while now_ns() < end {
        std::hint::spin_loop();
    }
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn print(way: Way, options: &Options, result: &Measured) {
    let reads = result.bytes / options.read_bytes;
    let thinking = reads * options.think_ns;
    let held_ns = result.held_up.sum_ns();
    println!(
        "{{\"way\":\"{way:?}\",\"readBytes\":{},\"readers\":{},\"thinkUs\":{},\"gbPerSecond\":{:.3},\
         \"heldUpMsPerGb\":{:.1},\"cpuMsPerGb\":{:.1},\"heldUpUs\":{},\"waitedUs\":{}}}",
        options.read_bytes,
        options.readers,
        options.think_ns / 1000,
        result.bytes as f64 / result.wall_ns as f64,
        held_ns as f64 / 1e6 / (result.bytes as f64 / 1e9),
        result.cpu_ns.saturating_sub(thinking) as f64 / 1e6 / (result.bytes as f64 / 1e9),
        result.held_up.to_json_micros(),
        result.waited.to_json_micros(),
    );
}
