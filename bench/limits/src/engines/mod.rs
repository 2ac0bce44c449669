//! `write-engines`: how fast a disk takes appends, by the way they are made. It answers whether a
//! broker that writes past the page cache would pay on this disk.
//!
//! Every cell appends blocks of one size to files in turn, on one thread, for a few seconds. Then
//! the files are flushed, which is counted apart: a write to the page cache is done long before the
//! disk has it. The files have no names, so that they are gone with the process.

mod cell;
mod engine;
mod table;

use crate::args::Args;
use crate::program::Program;
use engine::Engine;
use std::process::ExitCode;

const USAGE: &str = "\
write-engines --dir DIR [--seconds 3] [--max-bytes 4294967296] [--files 8]
  [--sizes 16384,65536,262144,1048576] [--engines NAME,…] [--json]

  Engines: buffered-behind (write-behind each 2 MB, drop-behind 64 MB, as limit-server has),
  buffered, dontcache (RWF_DONTCACHE), direct-1, direct-4, direct-16 (O_DIRECT by io_uring, so many
  under way, files allocated before), direct-growing (O_DIRECT by pwrite, files that grow).
  --seconds and --max-bytes bound each cell. --json: one line a cell instead of the table.";

/// What O_DIRECT demands of positions, lengths and memory on any disk in use.
const ALIGNMENT: usize = 4096;
const SIZE_BYTES_MAX: usize = 16 << 20;

pub struct Options {
    dir: String,
    seconds: f64,
    bytes_max: u64,
    files: usize,
    sizes: Vec<usize>,
    engines: Vec<Engine>,
    json: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let names = ["dir", "seconds", "max-bytes", "files", "sizes", "engines"];
        let args = Args::parse(arguments, &names, &["json"])?;
        let sizes = args.text("sizes", "16384,65536,262144,1048576");
        let engines = args.text("engines", "");
        let options = Options {
            dir: args.text("dir", ""),
            seconds: args.number("seconds", 3.0, 0.01, 600.0)?,
            bytes_max: args.number("max-bytes", 4 << 30, 1 << 20, 1 << 40)?,
            files: args.number("files", 8, 1, 1000)?,
            sizes: sizes.split(',').map(size).collect::<Result<_, _>>()?,
            engines: match engines.as_str() {
                "" => Engine::ALL.to_vec(),
                names => names
                    .split(',')
                    .map(Engine::named)
                    .collect::<Result<_, _>>()?,
            },
            json: args.flag("json"),
        };
        if options.dir.is_empty() {
            return Err("--dir DIR is needed: a folder on the disk in question".to_string());
        }
        Ok(options)
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if (1..=SIZE_BYTES_MAX).contains(&size) && size.is_multiple_of(ALIGNMENT) => {
            Ok(size)
        }
        _ => Err(format!(
            "--sizes {text}: must be a multiple of {ALIGNMENT}, at most {SIZE_BYTES_MAX}"
        )),
    }
}

fn run(options: &Options) -> Result<(), String> {
    if !options.json {
        table::print_head(options);
    }
    for engine in &options.engines {
        for size in &options.sizes {
            let cell = cell::measure(options, *engine, *size)?;
            if options.json {
                table::print_json(*engine, *size, &cell);
            } else {
                table::print_row(*engine, *size, &cell);
            }
        }
    }
    Ok(())
}

pub fn main() -> ExitCode {
    Program {
        name: "write-engines",
        usage: USAGE,
        parse: Options::parse,
        seconds_max: |options| {
            let cells = (options.engines.len() * options.sizes.len()) as f64;
            // Flushing may take longer than writing did.
            (cells * (10.0 * options.seconds + 60.0)) as u32
        },
        run: |options| run(options).map(|()| true),
    }
    .main()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn parse_takes_engines_by_name_and_aligned_sizes() {
        let options = parse("--dir /x --engines direct-4,buffered --sizes 4096").unwrap();
        assert_eq!(options.engines, [Engine::DirectRing(4), Engine::Buffered]);
        assert_eq!(parse("--dir /x").unwrap().engines, Engine::ALL);
        assert!(parse("--dir /x --engines fastest").is_err());
        assert!(parse("--dir /x --sizes 1000").is_err());
        assert!(parse("--seconds 1").is_err());
    }

    #[test]
    fn every_engine_writes_to_its_bound_or_says_why_not() {
        let dir = std::env::temp_dir();
        let line = format!("--dir {} --seconds 5 --max-bytes 1048576", dir.display());
        let options = parse(&line).unwrap();
        for engine in Engine::ALL {
            let cell = cell::measure(&options, engine, 65_536).unwrap();
            match cell {
                cell::Cell::Skipped(note) => assert!(!note.is_empty()),
                cell::Cell::Measured(measured) => {
                    assert_eq!(measured.bytes, 1_048_576);
                    assert_eq!(measured.operations.count(), 16);
                }
            }
        }
    }
}
