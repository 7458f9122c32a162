//! How NATs treat TCP: the words for it, and a translator that behaves as it is told.

mod words;

pub use words::{
    CrossingSegment, Filtering, Hairpinning, Mapping, PortAssignment, SimultaneousOpen,
    UnsolicitedSyn,
};
