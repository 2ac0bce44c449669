//! The lines of JSON that a harness reads.

use std::io::Write;

/// Tells whoever reads our output that something happened now.
pub fn announce(event: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{{\"event\":\"{event}\"}}").and_then(|()| out.flush());
}

pub fn quoted(text: &str) -> String {
    let escape = |one: char| match one {
        '"' | '\\' => format!("\\{one}"),
        one if (one as u32) < 0x20 => format!("\\u{:04x}", one as u32),
        one => one.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// A string or null.
pub fn quoted_or_null(text: Option<&str>) -> String {
    text.map_or("null".to_string(), quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_escapes_what_json_does_not_take() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
        assert_eq!(quoted_or_null(None), "null");
    }
}
