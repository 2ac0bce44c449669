//! `sequential-reader`: how fast this machine reads files from the disk one after the other, with
//! plain reads into one buffer. What a consumer of old data is to be compared with.

use crate::args::Args;
use crate::histogram::Histogram;
use crate::page_cache::{cached_bytes, drop_file};
use crate::program::Program;
use crate::time::{now_ns, process_cpu_ns};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

const USAGE: &str = "\
sequential-reader --files A,B,C [--block-bytes 1048576] [--no-drop] [--max-seconds 600]

  Drops the files from the page cache first (written back before), unless --no-drop.
  cachedBytesAtStart says what was in it when the reading began.";
const FILES_MAX: usize = 10_000;

struct Options {
    files: Vec<String>,
    block_bytes: usize,
    drop: bool,
    seconds_max: u32,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let names = ["files", "block-bytes", "max-seconds"];
    let args = Args::parse(arguments, &names, &["no-drop"])?;
    let files = args.text("files", "");
    let files = files.split(',').filter(|file| !file.is_empty());
    let options = Options {
        files: files.map(str::to_string).collect(),
        block_bytes: args.number("block-bytes", 1 << 20, 512, 64 << 20)?,
        drop: !args.flag("no-drop"),
        seconds_max: args.number("max-seconds", 600, 1, 86_400)?,
    };
    match options.files.len() {
        0 => Err("--files A,B,C is needed".to_string()),
        1..=FILES_MAX => Ok(options),
        count => Err(format!("--files: {count} files are more than {FILES_MAX}")),
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut files = Vec::new();
    let mut cached = 0;
    for path in &options.files {
        let problem = |error: std::io::Error| format!("{path}: {error}");
        let file = File::open(path).map_err(problem)?;
        let length = file.metadata().map_err(problem)?.len();
        if options.drop {
            drop_file(&file).map_err(problem)?;
        }
        cached += cached_bytes(&file, length).map_err(problem)?;
        files.push(file);
    }
    let mut buffer = vec![0u8; options.block_bytes];
    let mut reads = Histogram::default();
    let mut bytes = 0u64;
    let (begin_ns, begin_cpu_ns) = (now_ns(), process_cpu_ns());
    for (file, path) in files.iter().zip(&options.files) {
        let mut at = 0;
        loop {
            let read_ns = now_ns();
            let count = file
                .read_at(&mut buffer, at)
                .map_err(|error| format!("{path}: {error}"))?;
            if count == 0 {
                break;
            }
            reads.record(now_ns() - read_ns);
            at += count as u64;
        }
        bytes += at;
    }
    let seconds = (now_ns() - begin_ns) as f64 / 1e9;
    println!(
        "{{\"event\":\"result\",\"files\":{},\"blockBytes\":{},\"dropped\":{},\
         \"cachedBytesAtStart\":{cached},\"bytes\":{bytes},\"seconds\":{seconds:.6},\
         \"bytesPerSecond\":{:.0},\"gbPerSecond\":{:.3},\"cpuSeconds\":{:.6},\"readMicros\":{}}}",
        files.len(),
        options.block_bytes,
        options.drop,
        bytes as f64 / seconds,
        bytes as f64 / seconds / 1e9,
        (process_cpu_ns() - begin_cpu_ns) as f64 / 1e9,
        reads.to_json_micros(),
    );
    Ok(())
}

pub fn main() -> ExitCode {
    Program {
        name: "sequential-reader",
        usage: USAGE,
        parse: parse,
        seconds_max: |options| options.seconds_max,
        run: |options| run(options).map(|()| true),
    }
    .main()
}
