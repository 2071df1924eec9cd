//! Choices that an operator makes by name and that mean the same in configuration and plan.

use std::fmt;
use std::path::PathBuf;

/// A choice among a few words.
pub trait Words: Copy + 'static {
    /// All words.
    const WORDS: &'static [&'static str];

    /// What `word` stands for.
    fn of(word: &str) -> Option<Self>;

    /// The word that stands for it.
    fn word(self) -> &'static str;
}

/// Gives each variant of an enum its word; the compiler sees to it that none is left out.
macro_rules! words {
    ($choice:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $crate::base::choice::Words for $choice {
            const WORDS: &'static [&'static str] = &[$($word),*];

            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),*
                }
            }
        }
    };
}
pub(crate) use words;

/// What a client means that closes its sending side after a complete request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// It left: the upstream request is cancelled.
    Cancel,
    /// It still waits for the answer.
    Finish,
}

words!(HalfClose { Cancel = "cancel", Finish = "finish" });

/// How much weight a word of the program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something works, though hardly as it was meant.
    Warn,
    /// Something changed.
    Info,
    /// Something went on, for whoever looks for a reason.
    Debug,
}

words!(Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });

/// How requests are written that travel together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchProtocol {
    /// `/v1/embeddings`.
    OpenaiEmbeddings,
    /// `/v1/completions`.
    OpenaiCompletions,
    /// `/embed` of TEI.
    TeiEmbed,
    /// `/rerank` of TEI.
    TeiRerank,
    /// `/rerank` of Cohere, Jina and vLLM.
    CohereRerank,
    /// `/v2/models/{model}/infer`.
    KserveV2,
    /// Any other that is answered list by list.
    JsonArray,
}

words!(BatchProtocol {
    OpenaiEmbeddings = "openai-embeddings",
    OpenaiCompletions = "openai-completions",
    TeiEmbed = "tei-embed",
    TeiRerank = "tei-rerank",
    CohereRerank = "cohere-rerank",
    KserveV2 = "kserve-v2",
    JsonArray = "json-array",
});

/// Which answers of several clusters make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathering {
    /// All of them.
    All,
    /// The first good one, as it comes.
    First,
    /// The first good ones, so many.
    Quorum,
}

words!(Gathering { All = "all", First = "first", Quorum = "quorum" });

/// Which inference server the endpoints of a cluster are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Text Generation Inference.
    Tgi,
    /// Text Embeddings Inference.
    Tei,
    /// Triton Inference Server.
    Triton,
    /// The server of llama.cpp.
    Llamacpp,
    /// Ollama.
    Ollama,
    /// OpenAI, or whoever speaks as it does.
    Openai,
    /// Any other.
    Generic,
}

words!(Engine {
    Vllm = "vllm",
    Sglang = "sglang",
    Tgi = "tgi",
    Tei = "tei",
    Triton = "triton",
    Llamacpp = "llamacpp",
    Ollama = "ollama",
    Openai = "openai",
    Generic = "generic",
});

/// By what endpoints are found that take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discover {
    /// By the models that they list.
    Models,
}

words!(Discover { Models = "models" });

/// Which Host is sent upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRule {
    /// The endpoint's own authority.
    Endpoint,
    /// The one the client sent.
    Keep,
}

words!(HostRule { Endpoint = "endpoint", Keep = "keep" });

/// What a connection must begin with, said by the load balancer in front (PROXY protocol 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP at once.
    Off,
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

words!(ProxyProtocol { Off = "off", V1 = "v1", V2 = "v2" });

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "\"{}\"", path.display()),
        }
    }
}

/// What moves bytes between the kernel and an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring with cooperative task running.
    IoUring,
    /// epoll.
    Epoll,
}

words!(IoDriver { IoUring = "io_uring", Epoll = "epoll" });

impl IoDriver {
    /// The name used in arguments, start lines and statistics.
    pub fn name(self) -> &'static str {
        self.word()
    }
}
