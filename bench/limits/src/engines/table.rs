//! The results as text for people, or as a line of JSON for programs.

use super::Options;
use super::cell::{Cell, Measured};
use super::engine::Engine;
use crate::json::quoted;

pub fn print_head(options: &Options) {
    println!(
        "appends to {} files in turn in {}, one thread, at most {} s and {:.1} GB a cell\n",
        options.files,
        options.dir,
        options.seconds,
        options.bytes_max as f64 / 1e9
    );
    println!(
        "{:<16} {:>9} {:>8} {:>9} {:>10} {:>9} {:>10} {:>10}",
        "engine", "bytes", "GB/s", "flushed", "writes/s", "CPU-s/GB", "p50 µs", "p99 µs"
    );
}

struct Rates {
    gb_per_second: f64,
    /// With the time of the flush.
    flushed_gb_per_second: f64,
    per_second: f64,
    cpu_seconds_per_gb: f64,
    p50_micros: f64,
    p99_micros: f64,
}

fn rates(measured: &Measured) -> Rates {
    let gb = measured.bytes as f64 / 1e9;
    let written = measured.written_ns as f64 / 1e9;
    Rates {
        gb_per_second: gb / written,
        flushed_gb_per_second: gb / (measured.flushed_ns as f64 / 1e9),
        per_second: measured.operations.count() as f64 / written,
        cpu_seconds_per_gb: measured.cpu_ns as f64 / 1e9 / gb,
        p50_micros: measured.operations.quantile(0.5) as f64 / 1e3,
        p99_micros: measured.operations.quantile(0.99) as f64 / 1e3,
    }
}

pub fn print_row(engine: Engine, size: usize, cell: &Cell) {
    let name = engine.name();
    match cell {
        Cell::Skipped(note) => println!("{name:<16} {size:>9} skipped: {note}"),
        Cell::Measured(measured) => {
            let rates = rates(measured);
            println!(
                "{name:<16} {size:>9} {:>8.3} {:>9.3} {:>10.0} {:>9.3} {:>10.1} {:>10.1}",
                rates.gb_per_second,
                rates.flushed_gb_per_second,
                rates.per_second,
                rates.cpu_seconds_per_gb,
                rates.p50_micros,
                rates.p99_micros
            );
        }
    }
}

pub fn print_json(engine: Engine, size: usize, cell: &Cell) {
    let name = engine.name();
    match cell {
        Cell::Skipped(note) => println!(
            "{{\"engine\":\"{name}\",\"bytes\":{size},\"skipped\":{}}}",
            quoted(note)
        ),
        Cell::Measured(measured) => {
            let rates = rates(measured);
            println!(
                "{{\"engine\":\"{name}\",\"bytes\":{size},\"writtenBytes\":{},\
                 \"writtenSeconds\":{:.6},\"flushedSeconds\":{:.6},\"gbPerSecond\":{:.4},\
                 \"flushedGbPerSecond\":{:.4},\"writesPerSecond\":{:.1},\
                 \"cpuSecondsPerGb\":{:.4},\"writeMicros\":{}}}",
                measured.bytes,
                measured.written_ns as f64 / 1e9,
                measured.flushed_ns as f64 / 1e9,
                rates.gb_per_second,
                rates.flushed_gb_per_second,
                rates.per_second,
                rates.cpu_seconds_per_gb,
                measured.operations.to_json_micros()
            );
        }
    }
}
