//! The commands, one file each: arguments in, exit code out (0 done, 1 failed while running, 2 wrong use or
//! configuration).

mod admin;
mod check;
mod demo;
mod explain;
mod figures;
mod key;
mod load;
mod print;
mod run;
mod schema;
mod sim;
mod slow;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::base::say::Settled;

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
    /// Two simulated inference servers and the gateway in front of them, ready to be tried.
    Demo(demo::Demo),
    /// Validates configuration files and prints every problem.
    Check(check::Check),
    /// Tells which route, cluster and endpoint a request would meet, without sending it.
    Explain(explain::Explain),
    /// Makes API keys.
    Key(key::Key),
    /// Prints the JSON Schema of the configuration, for editors.
    Schema(schema::Schema),
    /// Puts a server under load, or two in turn, and checks every answer.
    Load(load::Load),
    /// Shows T, S, B, TTFT and ITL of a running gateway in a terminal, new each second.
    Top(top::Top),
    /// Tells the slowest recent exchanges of a running gateway, phase by phase.
    Slow(slow::Slow),
    /// A simulated inference server, good enough to test a gateway.
    Sim(sim::Sim),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let _settled = Settled;
    let code = match Arguments::parse().command {
        Command::Run(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Key(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Slow(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Sim(command) => command.run(),
    };
    ExitCode::from(code)
}
