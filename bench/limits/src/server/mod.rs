//! `limit-server`: the smallest receiver of Produce requests that still does what a broker must:
//! frames, CRC, base offset, an append to the partition's growing file, an answer after the write.
//! And the smallest sender: Fetch is answered with stretches of those files.
//!
//! One thread, or with `--writers 1` two: the first moves bytes between sockets and memory or
//! files, the second checks, stamps and writes. It keeps one topic, its index in memory alone, no
//! producer state and no recovery: it says what the machine allows, not what a broker may leave out.

mod answers;
mod appender;
mod fetch;
mod log;
mod network;
mod sender;
mod writer;

use crate::args::Args;
use crate::time;
use std::process::ExitCode;

const USAGE: &str = "\
limit-server --listen HOST:PORT --data-dir DIR [--partitions 8] [--writers 0|1]
  [--no-crc] [--no-write] [--write-behind-bytes 524288] [--window-bytes 67108864]
  [--read-copy] [--max-seconds 300]

  --read-copy answers fetches by pread and send instead of sendfile.
  Prints \"listening HOST:PORT\" when ready. --write-behind-bytes 0 leaves the page cache alone.";

pub struct Options {
    listen: String,
    data_dir: String,
    partitions: usize,
    writers: usize,
    check_crc: bool,
    write: bool,
    /// Written bytes after which they are started towards the disk; 0: never.
    write_behind_bytes: u64,
    /// Bytes at the end of a file that stay in the page cache.
    window_bytes: u64,
    /// Fetches are answered through memory, not by sendfile.
    read_copy: bool,
    seconds_max: u32,
}

const NAMES: [&str; 7] = [
    "listen",
    "data-dir",
    "partitions",
    "writers",
    "write-behind-bytes",
    "window-bytes",
    "max-seconds",
];

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let args = Args::parse(arguments, &NAMES, &["no-crc", "no-write", "read-copy"])?;
        let options = Options {
            listen: args.text("listen", ""),
            data_dir: args.text("data-dir", ""),
            partitions: args.number("partitions", 8, 1, 10_000)?,
            writers: args.number("writers", 0, 0, 1)?,
            check_crc: !args.flag("no-crc"),
            write: !args.flag("no-write"),
            write_behind_bytes: args.number("write-behind-bytes", 1 << 19, 0, 1 << 40)?,
            window_bytes: args.number("window-bytes", 64 << 20, 0, 1 << 40)?,
            read_copy: args.flag("read-copy"),
            seconds_max: args.number("max-seconds", 300, 1, 86_400)?,
        };
        if options.listen.is_empty() || options.data_dir.is_empty() {
            return Err("--listen and --data-dir are needed".to_string());
        }
        Ok(options)
    }
}

pub fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("limit-server: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    time::bound_lifetime(options.seconds_max);
    match network::serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("limit-server: {error}");
            ExitCode::FAILURE
        }
    }
}
