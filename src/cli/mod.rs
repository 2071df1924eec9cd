//! The commands, one file each: arguments in, exit code out (0 done, 1 failed while running, 2 wrong use or
//! configuration).

mod check;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The gateway in front of the inference servers you run.
#[derive(Debug, Parser)]
#[command(name = "corelane", version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway until SIGTERM or SIGINT.
    Run(run::Run),
    /// Validates configuration files and prints every problem.
    Check(check::Check),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Run(command) => command.run(),
        Command::Check(command) => command.run(),
    };
    ExitCode::from(code)
}
