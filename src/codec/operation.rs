//! What a request asks an inference server to do, as far as the end of its path tells (OpenAI's API, and whoever speaks it).

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `…/chat/completions`.
    Chat,
    /// `…/completions`.
    Completions,
    /// `…/embeddings`.
    Embeddings,
    /// Anything else.
    Other,
}

impl Operation {
    /// By the path, without its query, escapes of unreserved characters decoded; slashes at the end do not count.
    pub fn of(path: &[u8]) -> Self {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let path = &path[..end];
        if path.ends_with(b"/chat/completions") {
            Self::Chat
        } else if path.ends_with(b"/completions") {
            Self::Completions
        } else if path.ends_with(b"/embeddings") {
            Self::Embeddings
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_tells_what_is_asked() {
        for (path, operation) in [
            ("/v1/chat/completions", Operation::Chat),
            ("/openai/deployments/x/chat/completions//", Operation::Chat),
            ("/v1/completions", Operation::Completions),
            ("/chats/completions", Operation::Completions),
            ("/v1/embeddings/", Operation::Embeddings),
            ("/v1/xcompletions", Operation::Other),
            ("/v1/chat/completions/x", Operation::Other),
            ("/V1/Embeddings", Operation::Other),
            ("/", Operation::Other),
            ("", Operation::Other),
        ] {
            assert_eq!(Operation::of(path.as_bytes()), operation, "{path}");
        }
    }
}
