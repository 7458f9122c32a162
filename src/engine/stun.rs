//! What STUN servers said.

use serde::{Deserialize, Serialize};

use super::{End, Unreached};
use crate::time::Duration;
use crate::wire::Endpoint;

/// What became of asking one endpoint of a STUN server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StunAsked {
    /// The endpoint.
    pub server: Endpoint,
    /// The endpoint that named this one as another of its server; none if the user did.
    pub named_by: Option<Endpoint>,
    /// What became of it.
    pub outcome: StunOutcome,
}

/// What a STUN server answered, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StunOutcome {
    /// A success.
    Answered(Box<StunAnswer>),
    /// No connection came to be.
    Unreached {
        /// Why not.
        why: Unreached,
    },
    /// The connection ended before the answer.
    Ended {
        /// How.
        how: End,
    },
    /// The connection stands, and nothing was said in time.
    Silent,
    /// An error response.
    Refused {
        /// ERROR-CODE.
        code: u16,
        /// Its words.
        reason: String,
    },
    /// What came makes no sense as an answer to what was asked.
    Nonsense {
        /// What is wrong with it.
        what: String,
    },
}

/// A success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StunAnswer {
    /// Our end of the connection.
    pub local: Endpoint,
    /// The same end as the server saw it: XOR-MAPPED-ADDRESS.
    pub external: Endpoint,
    /// The same in the clear, which some NATs rewrite: MAPPED-ADDRESS.
    pub mapped: Option<Endpoint>,
    /// Whence the server says that it answered: RESPONSE-ORIGIN.
    pub origin: Option<Endpoint>,
    /// The server's other address and port: OTHER-ADDRESS.
    pub other: Option<Endpoint>,
    /// The server's maker in its own words: SOFTWARE.
    pub software: Option<String>,
    /// From the request to the answer.
    pub round_trip: Duration,
}
