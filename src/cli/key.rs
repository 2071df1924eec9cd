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
        match make(&name) {
            Ok((key, block)) => print(format_args!("{key}\n\n{block}")),
            Err(error) => {
                complain(format_args!(
                    "no key can be made\n  why: the system has no random numbers: {error}\n  fix: allow getrandom to this process"
                ));
                1
            }
        }
    }
}

/// A new key, and its block for a keys file.
pub(super) fn make(name: &str) -> Result<(String, String), getrandom::Error> {
    let mut chance = [0; 32];
    getrandom::fill(&mut chance)?;
    let key = format!("sk-{}", URL_SAFE_NO_PAD.encode(chance));
    let digest = Digest::of(key.as_bytes()).text();
    let name = serde_json::Value::from(name);
    Ok((key, format!("[[key]]\nname = {name}\nsha256 = \"{digest}\"\n")))
}
