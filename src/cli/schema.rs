//! `corelane schema`: the JSON Schema of the configuration.

use clap::Args;

use super::print::print;
use crate::config::ROOT;
use crate::config::schema::schema;

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane schema > corelane.schema.json\nand as the first line of the configuration, for editors that know Taplo:\n  #:schema ./corelane.schema.json"
)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> u8 {
        print(format_args!("{:#}\n", schema(&ROOT)))
    }
}
