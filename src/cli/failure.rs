//! An error that ends the program, with what to do about it.

use std::fmt;

use crate::os;

/// What was tried and why it failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried, on what, and why it failed.
    pub error: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure and its remedy.
    pub fn new(error: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self { error: error.to_string(), hint: hint.into() }
    }
}

impl From<os::Error> for Failure {
    fn from(error: os::Error) -> Self {
        let hint = error.hint.clone().unwrap_or_default();
        Self::new(error, hint)
    }
}

/// Two lines for stderr.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\nhint: {}", self.hint) }
    }
}

impl std::error::Error for Failure {}
