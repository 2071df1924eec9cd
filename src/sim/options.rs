//! How the simulated server behaves.

use std::time::Duration;

/// How the simulated server behaves.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Names of the models it serves.
    pub models: Vec<String>,
    /// Time to the first token of an empty prompt.
    pub ttft: Duration,
    /// Time between tokens.
    pub itl: Duration,
    /// Tokens of an answer, unless the request asks for fewer.
    pub tokens: u32,
    /// Concurrent generations; others queue.
    pub slots: usize,
    /// Prompt tokens a second; none for no prefill time.
    pub prefill_rate: Option<f64>,
    /// Blocks of the prefix cache; 0 for none.
    pub kv_blocks: usize,
    /// Closes a connection that was idle this long; none never does.
    pub keep_alive: Option<Duration>,
    /// Where invention starts.
    pub seed: u64,
    /// Numbers in each embedding.
    pub dimensions: usize,
    /// Tokens that are written at once, each as an event of its own.
    pub burst: u32,
    /// Whether each write of a stream begins with a comment that tells the time.
    pub stamp: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            models: vec!["sim".to_owned()],
            ttft: Duration::from_millis(20),
            itl: Duration::from_millis(10),
            tokens: 16,
            slots: 64,
            prefill_rate: None,
            kv_blocks: 0,
            keep_alive: Some(Duration::from_secs(5)),
            seed: 1,
            dimensions: 16,
            burst: 1,
            stamp: false,
        }
    }
}
