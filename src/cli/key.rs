//! `corelane key`: makes API keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};

use super::print::{complain, print};
use crate::base::digest::Digest;
use crate::config;

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key and prints it, once, and the block for the keys file.
    New(New),
}

/// Arguments of `key new`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane key new team-a\n\nThe first line is the key, for its holder alone. The rest belongs into the file that a filter of the kind\n\"keys\" names; it holds the key's SHA-256, from which nobody can make the key."
)]
struct New {
    /// Whose key it is: its name in logs and metrics.
    #[arg(value_name = "NAME")]
    name: String,
}

impl Key {
    pub(super) fn run(self) -> u8 {
        let Command::New(New { name }) = self.command;
        if let Err(fix) = config::name(&name) {
            complain(format_args!(
                "{name:?} is not a name\n  why: logs and metrics could not tell it\n  fix: {fix}"
            ));
            return 2;
        }
        let mut chance = [0; 32];
        if let Err(error) = getrandom::fill(&mut chance) {
            complain(format_args!(
                "no key can be made\n  why: the system has no random numbers: {error}\n  fix: allow getrandom to this process"
            ));
            return 1;
        }
        let key = format!("sk-{}", URL_SAFE_NO_PAD.encode(chance));
        let name = serde_json::Value::from(name);
        print(format_args!(
            "{key}\n\n[[key]]\nname = {name}\nsha256 = \"{}\"\n",
            Digest::of(key.as_bytes()).text()
        ))
    }
}
