//! A span of another trace, as whoever was told of its work names it.

/// Trace and span of it (OpenTelemetry, Trace API, Link).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// 16 bytes.
    pub trace: u128,
    /// 8 bytes.
    pub span: u64,
}
