//! What the programs do around their work: help, options, a bounded life, an exit code.

use crate::time::bound_lifetime;
use std::env::Args;
use std::iter::Skip;
use std::process::ExitCode;

pub struct Program<O> {
    pub name: &'static str,
    pub usage: &'static str,
    pub parse: fn(Skip<Args>) -> Result<O, String>,
    /// Seconds after which the process ends in any case.
    pub seconds_max: fn(&O) -> u32,
    /// False: it ran, and what it found does not count.
    pub run: fn(&O) -> Result<bool, String>,
}

impl<O> Program<O> {
    /// 0: done; 1: failed, or does not count; 2: the command line is wrong.
    pub fn main(&self) -> ExitCode {
        if std::env::args().any(|argument| argument == "--help") {
            println!("{}", self.usage);
            return ExitCode::SUCCESS;
        }
        let options = match (self.parse)(std::env::args().skip(1)) {
            Ok(options) => options,
            Err(problem) => {
                eprintln!("{}: {problem}\n\n{}", self.name, self.usage);
                return ExitCode::from(2);
            }
        };
        bound_lifetime((self.seconds_max)(&options));
        match (self.run)(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => {
                eprintln!("{}: {problem}", self.name);
                ExitCode::FAILURE
            }
        }
    }
}
