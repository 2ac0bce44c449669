//! `--name value` and `--flag` arguments. An unknown name or a bad value is an error, never ignored.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

/// Options that may be given more than once.
const REPEATED: [&str; 1] = ["topic-config"];

pub struct Args {
    /// By name, in the order given.
    values: HashMap<String, Vec<String>>,
}

impl Args {
    /// Reads `arguments`. `names` take a value, `flags` take none. Only `REPEATED` may be given
    /// more than once.
    pub fn parse(
        arguments: impl Iterator<Item = String>,
        names: &[&str],
        flags: &[&str],
    ) -> Result<Args, String> {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let Some(rest) = argument.strip_prefix("--") else {
                return Err(format!("unexpected argument {argument}"));
            };
            let (name, given) = match rest.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (rest, None),
            };
            let value = if flags.contains(&name) {
                if given.is_some() {
                    return Err(format!("--{name} takes no value"));
                }
                "true".to_string()
            } else if names.contains(&name) {
                given
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("--{name} needs a value"))?
            } else {
                return Err(format!("unknown option --{name}"));
            };
            let given = values.entry(name.to_string()).or_default();
            if !given.is_empty() && !REPEATED.contains(&name) {
                return Err(format!("--{name} is given twice"));
            }
            given.push(value);
        }
        Ok(Args { values })
    }

    pub fn flag(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.first(name).unwrap_or(default).to_string()
    }

    /// Every value of an option that may be given more than once.
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    pub fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, String>
    where
        T::Err: Display,
    {
        match self.first(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error| format!("--{name} {text}: {error}")),
        }
    }

    /// A number of `low` to `high`, both inclusive.
    pub fn number<T>(&self, name: &str, default: T, low: T, high: T) -> Result<T, String>
    where
        T: FromStr + PartialOrd + Display + Copy,
        T::Err: Display,
    {
        let value = self.optional(name)?.unwrap_or(default);
        if value >= low && value <= high {
            Ok(value)
        } else {
            Err(format!("--{name} {value}: must be {low} to {high}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(
            line.split_whitespace().map(str::to_string),
            &["rate", "port", "topic-config"],
            &["quiet"],
        )
    }

    #[test]
    fn parse_reads_both_spellings_and_flags() {
        let args = parse("--rate 5 --port=7 --quiet").unwrap();
        assert_eq!(args.number("rate", 1u32, 0, 10), Ok(5));
        assert_eq!(args.number("port", 1u32, 0, 10), Ok(7));
        assert!(args.flag("quiet"));
    }

    #[test]
    fn parse_keeps_every_value_of_a_repeated_option() {
        let args = parse("--topic-config a=1 --topic-config b=2").unwrap();
        assert_eq!(args.all("topic-config"), ["a=1", "b=2"]);
        assert!(args.all("port").is_empty());
    }

    #[test]
    fn parse_refuses_what_it_does_not_know() {
        assert!(parse("--rat 5").is_err());
        assert!(parse("--rate").is_err());
        assert!(parse("--rate 1 --rate 2").is_err());
        assert!(parse("--quiet=no").is_err());
        assert!(
            parse("--rate 11")
                .unwrap()
                .number("rate", 1u32, 0, 10)
                .is_err()
        );
    }
}
