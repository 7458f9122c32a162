//! How NATs treat TCP: the words for it, a translator that behaves as it is told, and presets that
//! stand for devices and documents.

mod allocate;
mod behaviour;
mod parse;
mod preset;
mod session;
mod table;
mod translator;
mod words;

pub use behaviour::{
    Answer, Assignment, Behaviour, Fallback, HOLD, IdleTimeouts, Impossible, Knobs, Pooling,
    Sharing, Unsolicited,
};
pub use parse::BadNat;
pub use preset::{Device, KernelRouter, Nat, PRESETS, Preset};
pub use session::Side;
pub use translator::{Fate, Translator};
pub use words::{
    CrossingSegment, Filtering, Hairpinning, Mapping, PortAssignment, SimultaneousOpen,
    UnsolicitedSyn,
};
