//! `[observe]`, key by key.

use std::path::PathBuf;

use super::reader::Value;
use super::{AccessLogConfig, ObserveConfig};
use crate::base::choice::LogTarget;
use crate::metrics::access::Format;

pub(super) fn observe(value: Value<'_, '_>) -> ObserveConfig {
    let Some(mut table) = value.table() else { return ObserveConfig::default() };
    let config = ObserveConfig {
        access_log: table.take("access_log").and_then(access_log),
        server_timing: table.take("server_timing").and_then(|value| value.truth()),
    };
    table.finish();
    config
}

fn access_log(value: Value<'_, '_>) -> Option<Option<AccessLogConfig>> {
    if value.is_string() {
        return value.parsed(|text| match text {
            "off" => Ok(None),
            _ => Err("write \"off\", or a table such as { to = \"stdout\" }".into()),
        });
    }
    let mut table = value.table()?;
    let to = match table.take("to") {
        Some(value) => value.parsed(target).map(|target| value.placed(target)),
        None => {
            table.missing("to", "the lines would go nowhere", "add to = \"stdout\", or the path of a file");
            None
        }
    };
    let format = table.take("format").map_or(Some(Format::Json), |value| value.parsed(Format::parse));
    let sample = table.take("sample").map_or(Some(1.0), |value| value.share());
    table.finish();
    Some(Some(AccessLogConfig { to: to?, format: format?, sample: sample? }))
}

fn target(text: &str) -> Result<LogTarget, String> {
    match text {
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        path if path.starts_with('/') || path.starts_with("./") => Ok(LogTarget::File(PathBuf::from(path))),
        _ => Err(
            "write \"stdout\", \"stderr\", or a path such as \"/var/log/corelane.log\" or \"./access.log\""
                .into(),
        ),
    }
}
