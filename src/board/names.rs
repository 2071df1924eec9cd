//! Numbers for names that the program itself has, so that a name fits into a byte.

use std::sync::OnceLock;

/// Most names that get a number; the program has some sixty of them.
const NAMES_MAX: usize = 255;

/// Names in the order in which they were first seen; all threads share them and none waits.
#[derive(Debug)]
pub struct Names {
    known: [OnceLock<&'static str>; NAMES_MAX],
}

impl Default for Names {
    fn default() -> Self {
        Self { known: [const { OnceLock::new() }; NAMES_MAX] }
    }
}

impl Names {
    /// The number of a name, from 1 on; 0 where there are too many.
    pub fn number(&self, name: &'static str) -> u8 {
        let at = self.known.iter().position(|known| *known.get_or_init(|| name) == name);
        at.map_or(0, |at| at as u8 + 1)
    }

    /// The name behind a number.
    pub fn name(&self, number: u8) -> Option<&'static str> {
        self.known[usize::from(number).checked_sub(1)?].get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_number() {
        let names = Names::default();
        assert_eq!((names.number("a"), names.number("b"), names.number("a")), (1, 2, 1));
        assert_eq!((names.name(2), names.name(3), names.name(0)), (Some("b"), None, None));
        for at in 0..300 {
            names.number(Box::leak(at.to_string().into_boxed_str()));
        }
        assert_eq!((names.number("late"), names.name(255)), (0, Some("252")));
    }
}
