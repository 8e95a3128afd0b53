//! The lines of a trace as definitions of a TLA+ module.

use std::fmt::Write as _;
use std::process::ExitCode;

/// Lines in one definition: TLC's parser is slow on long ones.
const CHUNK: usize = 100;

/// Defines `TraceLines`, and ends the module.
pub fn write_lines(text: &mut String, lines: &[String]) {
    let mut parts = Vec::new();
    for (at, chunk) in lines.chunks(CHUNK).enumerate() {
        let _ = writeln!(text, "Part{at} == <<\n  {}\n>>", chunk.join(",\n  "));
        parts.push(format!("Part{at}"));
    }
    let _ = writeln!(text, "TraceLines == {}", parts.join(" \\o "));
    let _ = writeln!(text, "{}", "=".repeat(77));
}

/// Prints the module that was made of the traces in `directory`, or why there is none.
pub fn hand_out(directory: &str, module: Result<String, String>) -> ExitCode {
    match module {
        Ok(module) => {
            print!("{module}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{directory}: {why}");
            ExitCode::FAILURE
        }
    }
}
