//! Some of the endpoints of a cluster, by their positions.

/// A set of positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(Box<[u64]>);

impl Positions {
    /// None of so many.
    pub fn none_of(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    /// This one too; it must be one of those many.
    pub fn add(&mut self, position: usize) {
        self.0[position / 64] |= 1 << (position % 64);
    }

    /// Whether this is one of them.
    pub fn contain(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_in_a_set_that_were_added() {
        for count in [1, 63, 64, 65, 200] {
            let mut some = Positions::none_of(count);
            let is_in = |position: &usize| position.is_multiple_of(3) || position + 1 == count;
            (0..count).filter(is_in).for_each(|position| some.add(position));
            let found: Vec<_> = (0..count + 70).filter(|position| some.contain(*position)).collect();
            assert_eq!(found, (0..count).filter(is_in).collect::<Vec<_>>(), "{count}");
        }
        assert!(!Positions::default().contain(0));
    }
}
