//! Process entry: parses arguments, calls cli, turns its result into an exit code.
#![deny(unsafe_code)]

fn main() -> std::process::ExitCode {
    corelane::main()
}
