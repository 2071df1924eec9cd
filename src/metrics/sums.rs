//! Counters of a kind, side by side.

/// Adds to each of them its own.
pub(super) fn add_each<const N: usize>(ours: &mut [u64; N], more: [u64; N]) {
    ours.iter_mut().zip(more).for_each(|(ours, more)| *ours += more);
}
