//! Ids that stand for names after compilation, and a vector indexed by one kind of id.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// An id is the position of its thing inside one plan; it means nothing in another plan.
pub trait Id: Copy {
    /// The id of the thing at `position`.
    fn at(position: usize) -> Self;
    /// The position this id stands for.
    fn position(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl Id for $name {
            fn at(position: usize) -> Self {
                Self(u32::try_from(position).expect("a plan holds fewer than 2^32 things of a kind"))
            }
            fn position(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// One pinned thread with its event loop.
    LaneId,
    /// One address that is accepted on.
    ListenerId,
    /// One route of a plan.
    RouteId,
    /// One filter of a plan.
    FilterId,
    /// One cluster of a plan.
    ClusterId,
    /// One endpoint, counted over all clusters of a plan.
    EndpointId,
}

/// A vector that only one kind of id can index.
#[derive(Debug, Clone)]
pub struct IdVec<I, T> {
    items: Vec<T>,
    kind: PhantomData<fn(I)>,
}

impl<I: Id, T> IdVec<I, T> {
    /// An empty vector.
    pub fn new() -> Self {
        Self { items: Vec::new(), kind: PhantomData }
    }

    /// Appends `item` and tells its id.
    pub fn push(&mut self, item: T) -> I {
        self.items.push(item);
        I::at(self.items.len() - 1)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The items in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// The items in order, each with its id.
    pub fn pairs(&self) -> impl Iterator<Item = (I, &T)> {
        self.items.iter().enumerate().map(|(position, item)| (I::at(position), item))
    }
}

impl<I: Id, T> Default for IdVec<I, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Id, T> FromIterator<T> for IdVec<I, T> {
    fn from_iter<S: IntoIterator<Item = T>>(source: S) -> Self {
        Self { items: source.into_iter().collect(), kind: PhantomData }
    }
}

impl<I: Id, T> Index<I> for IdVec<I, T> {
    type Output = T;
    fn index(&self, id: I) -> &T {
        &self.items[id.position()]
    }
}

impl<I: Id, T> IndexMut<I> for IdVec<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.position()]
    }
}
