//! The roll call: which balancer a cluster uses, as an operator writes it.

/// Which balancer a cluster uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancerKind {
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Least work for its weight.
    LeastWork,
    /// Whoever is expected to answer first.
    PeakEwma,
    /// By the value of this field of the head, in lower case.
    HashHeader(String),
    /// By the value of this member of the body.
    HashBody(String),
    /// By the beginning of the prompt.
    Prefix,
}

impl BalancerKind {
    /// Words that stand for themselves, and those that a name follows.
    pub const WORDS: [&'static str; 7] =
        ["round-robin", "random", "least-work", "peak-ewma", "hash:header:NAME", "hash:body:FIELD", "prefix"];

    /// What `word` stands for; the name of a field or member is not looked at.
    pub fn of(word: &str) -> Option<Self> {
        if let Some(name) = word.strip_prefix("hash:header:") {
            return Some(Self::HashHeader(name.to_ascii_lowercase()));
        }
        if let Some(path) = word.strip_prefix("hash:body:") {
            return Some(Self::HashBody(path.to_owned()));
        }
        match word {
            "round-robin" => Some(Self::RoundRobin),
            "random" => Some(Self::Random),
            "least-work" => Some(Self::LeastWork),
            "peak-ewma" => Some(Self::PeakEwma),
            "prefix" => Some(Self::Prefix),
            _ => None,
        }
    }

    /// Its name in configuration.
    pub fn name(&self) -> String {
        match self {
            Self::RoundRobin => "round-robin".to_owned(),
            Self::Random => "random".to_owned(),
            Self::LeastWork => "least-work".to_owned(),
            Self::PeakEwma => "peak-ewma".to_owned(),
            Self::HashHeader(name) => format!("hash:header:{name}"),
            Self::HashBody(path) => format!("hash:body:{path}"),
            Self::Prefix => "prefix".to_owned(),
        }
    }

    /// Whether it compares loads, so that what engines say of theirs counts.
    pub fn weighs_load(&self) -> bool {
        match self {
            Self::LeastWork | Self::PeakEwma | Self::HashHeader(_) | Self::HashBody(_) | Self::Prefix => true,
            Self::RoundRobin | Self::Random => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_for_one_and_back() {
        for word in BalancerKind::WORDS {
            let kind = BalancerKind::of(word).unwrap();
            let lower = word.replace("header:NAME", "header:name");
            assert_eq!(kind.name(), lower);
        }
        assert_eq!(BalancerKind::of("hash"), None);
        assert_eq!(BalancerKind::of("hash:header"), None);
        assert_eq!(
            BalancerKind::of("hash:body:"),
            Some(BalancerKind::HashBody(String::new())),
            "the reader looks"
        );
    }
}
