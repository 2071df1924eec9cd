//! What the path of a request must look like, how specific that is, and what its parameters took.

use super::path;

/// What a path must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRule {
    /// The whole path.
    Exact(String),
    /// Segments, of which some are parameters that take one non-empty segment.
    Segments(Vec<Segment>),
    /// Segments, and behind them a parameter that takes one segment or more, the first not empty.
    Rest(Vec<Segment>, String),
    /// What it starts with; ends in `/`. The path without that slash fits too.
    Prefix(String),
}

/// One segment of a path with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Fixed(String),
    /// Any one segment that is not empty, known by this name.
    Parameter(String),
}

impl Segment {
    fn new(text: &str) -> Self {
        match text.strip_prefix('{') {
            Some(name) => Self::Parameter(name.trim_end_matches('}').to_owned()),
            None => Self::Fixed(text.to_owned()),
        }
    }

    fn fits(&self, part: &[u8]) -> bool {
        match self {
            Self::Fixed(text) => part == text.as_bytes(),
            Self::Parameter(_) => !part.is_empty(),
        }
    }

    /// Whether everything that fits `other` fits this one too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Parameter(_), other) => other.is_never_empty(),
            (Self::Fixed(_), Self::Parameter(_)) => false,
            (Self::Fixed(one), Self::Fixed(other)) => one == other,
        }
    }

    fn is_never_empty(&self) -> bool {
        match self {
            Self::Fixed(text) => !text.is_empty(),
            Self::Parameter(_) => true,
        }
    }
}

impl PathRule {
    /// Compiles `/v1/models`, `/v1/*`, `/v2/models/{model}/infer` or `/v1/models/{model*}`.
    pub fn new(pattern: &str) -> Self {
        let pattern = &path::of_pattern(pattern)[..];
        if let Some((before, name)) = pattern.strip_suffix("*}").and_then(|text| text.rsplit_once("/{")) {
            Self::Rest(before.split('/').map(Segment::new).collect(), name.to_owned())
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else if pattern.contains('{') {
            Self::Segments(pattern.split('/').map(Segment::new).collect())
        } else {
            Self::Exact(pattern.to_owned())
        }
    }

    /// Where the parameter called `name` stands, if there is one: what [`PathRule::value`] asks for.
    pub fn parameter(&self, name: &str) -> Option<usize> {
        let among = |segments: &[Segment]| {
            segments.iter().position(|segment| matches!(segment, Segment::Parameter(known) if known == name))
        };
        match self {
            Self::Exact(_) | Self::Prefix(_) => None,
            Self::Segments(segments) => among(segments),
            Self::Rest(segments, rest) if rest == name => Some(segments.len()),
            Self::Rest(segments, _) => among(segments),
        }
    }

    /// What the parameter at `place` took of a path as it came, each escape decoded once. None where the path does not
    /// fit, and where two servers could read the value differently.
    pub fn value(&self, place: usize, path: &[u8]) -> Option<Vec<u8>> {
        let readings = path::readings(path).ok()?;
        let mut values = (0..readings.len()).map(|at| self.value_in(place, readings.at(at)));
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)?
    }

    fn value_in(&self, place: usize, path: &[u8]) -> Option<Vec<u8>> {
        let taken = match self {
            Self::Exact(_) | Self::Prefix(_) => return None,
            Self::Rest(segments, _) if place == segments.len() => behind(segments, path)?,
            Self::Segments(_) | Self::Rest(..) => path.split(|&byte| byte == b'/').nth(place)?,
        };
        self.fits(path).then(|| path::decoded_once(taken))
    }

    pub(super) fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => {
                path.starts_with(prefix.as_bytes())
                    || (prefix.len() > 1 && path == &prefix.as_bytes()[..prefix.len() - 1])
            }
            Self::Segments(segments) => {
                let mut parts = path.split(|&b| b == b'/');
                segments.iter().all(|segment| parts.next().is_some_and(|part| segment.fits(part)))
                    && parts.next().is_none()
            }
            Self::Rest(segments, _) => {
                behind(segments, path).is_some_and(|rest| !matches!(rest, [] | [b'/', ..]))
            }
        }
    }

    /// Whether every path that fits `other` fits this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let begins = |wide: &[Segment], narrow: &[Segment]| {
            wide.len() <= narrow.len() && wide.iter().zip(narrow).all(|(wide, narrow)| wide.covers(narrow))
        };
        match (self, other) {
            (_, Self::Exact(path)) => self.fits(path.as_bytes()),
            (Self::Prefix(prefix), Self::Prefix(longer)) => longer.starts_with(prefix.as_str()),
            (Self::Prefix(prefix), Self::Segments(segments) | Self::Rest(segments, _)) => {
                // What all its paths begin with; a parameter is never empty.
                let fixed: String = segments
                    .iter()
                    .map_while(|segment| match segment {
                        Segment::Fixed(text) => Some(format!("{text}/")),
                        Segment::Parameter(_) => None,
                    })
                    .collect();
                fixed.starts_with(prefix.as_str())
            }
            (Self::Segments(wide), Self::Segments(narrow)) => {
                wide.len() == narrow.len() && begins(wide, narrow)
            }
            (Self::Rest(wide, _), Self::Segments(narrow)) => {
                begins(wide, narrow) && narrow.get(wide.len()).is_some_and(Segment::is_never_empty)
            }
            (Self::Rest(wide, _), Self::Rest(narrow, _)) => {
                begins(wide, narrow) && narrow.get(wide.len()).is_none_or(Segment::is_never_empty)
            }
            (Self::Exact(_) | Self::Segments(_) | Self::Rest(..), Self::Prefix(_))
            | (Self::Exact(_) | Self::Segments(_), Self::Rest(..))
            | (Self::Exact(_), Self::Segments(_)) => false,
        }
    }

    /// Exact over parameter over prefix, then longest first.
    pub(super) fn rank(&self) -> (u8, usize) {
        let length = |segments: &[Segment]| {
            let fixed = segments.iter().map(|segment| match segment {
                Segment::Fixed(text) => text.len() + 1,
                Segment::Parameter(_) => 1,
            });
            fixed.sum()
        };
        match self {
            Self::Exact(exact) => (2, exact.len()),
            Self::Segments(segments) => (1, length(segments)),
            Self::Rest(segments, _) => (0, length(segments)),
            Self::Prefix(prefix) => (0, prefix.len()),
        }
    }
}

/// What follows `segments` and one more slash in `path`, if it begins with them.
fn behind<'p>(segments: &[Segment], path: &'p [u8]) -> Option<&'p [u8]> {
    segments.iter().try_fold(path, |rest, segment| {
        let (part, tail) = rest.split_at(memchr::memchr(b'/', rest)?);
        segment.fits(part).then_some(&tail[1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_parameter_takes_all_that_follows() {
        for (pattern, path, fits) in [
            ("/v1/models/{m*}", "/v1/models/a", true),
            ("/v1/models/{m*}", "/v1/models/a/b/", true),
            ("/v1/models/{m*}", "/v1/models/", false),
            ("/v1/models/{m*}", "/v1/models", false),
            ("/v1/models/{m*}", "/v1/models//a", false),
            ("/v1/models/{m*}", "/v1/other/a", false),
            ("/{team}/models/{m*}", "/x/models/a/b", true),
            ("/{team}/models/{m*}", "//models/a", false),
            ("/{all*}", "/a", true),
            ("/{all*}", "/", false),
        ] {
            assert_eq!(PathRule::new(pattern).fits(path.as_bytes()), fits, "{pattern} {path}");
        }
        assert_eq!(PathRule::new("/v1/{m*}").rank(), PathRule::new("/v1/*").rank(), "it ranks as a prefix");
    }

    #[test]
    fn a_parameter_is_what_it_took_decoded_once() {
        for (pattern, name, path, value) in [
            ("/v1/models/{m*}", "m", "/v1/models/org%2Fm", Some("org/m")),
            ("/v1/models/{m*}", "m", "/v1/models/org/m", Some("org/m")),
            ("/v1/models/{m*}", "m", "/v1/models/a%252Fb", Some("a%2Fb")),
            ("/v1/models/{m*}", "m", "/v1/models/%6D%20x", Some("m x")),
            ("/v1/models/{m*}", "m", "/v1/models/", None),
            // Read in two ways, it is not known.
            ("/v1/models/{m*}", "m", "/v1/models/a;b", None),
            ("/v1/models/{m*}", "m", "/v1/models/a//b", None),
            ("/{team}/models/{m*}", "team", "/x/models/org%2Fm", Some("x")),
            ("/v2/models/{model}/infer", "model", "/v2/models/m%2d1/infer", Some("m-1")),
            ("/v2/models/{model}/infer", "model", "/v2/models/a%2Fb/infer", None),
            ("/v2/models/{model}/infer", "model", "/v2/models/m/ready", None),
        ] {
            let rule = PathRule::new(pattern);
            let got = rule.value(rule.parameter(name).unwrap(), path.as_bytes());
            assert_eq!(got.as_deref(), value.map(str::as_bytes), "{pattern} {path}");
        }
        assert_eq!(PathRule::new("/v1/{m}/x/{n*}").parameter("o"), None);
        assert_eq!(PathRule::new("/v1/*").parameter("o"), None);
    }
}
