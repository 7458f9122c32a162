//! Which connections are asked for.

use clap::{Args, ValueEnum};
use ipnetwork::IpNetwork;

use crate::capture::Opening;
use crate::verdict::ConnectionOutcome;

/// Which connections.
#[derive(Args, Debug)]
pub struct FilterArgs {
    /// Only connections of this address, or of one with this prefix (192.0.2.0/24, 2001:db8::/32), at
    /// either end; may be given several times
    #[arg(long, value_name = "ADDR[/LENGTH]")]
    pub address: Vec<IpNetwork>,
    /// Only connections of this port, at either end; may be given several times
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Only connections that ended so; may be given several times
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Vec<OutcomeName>,
    /// Only connections that began then or later, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub since: Option<f64>,
    /// Only connections that began before, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub until: Option<f64>,
}

/// An outcome, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum OutcomeName {
    Open,
    Refused,
    Reset,
    TimedOut,
    Failed,
    Unfinished,
}

/// Which connections; an empty list is no restriction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    networks: Vec<IpNetwork>,
    ports: Vec<u16>,
    outcomes: Vec<ConnectionOutcome>,
    since: Option<f64>,
    until: Option<f64>,
}

impl Filter {
    pub fn new(args: FilterArgs) -> Self {
        Self {
            networks: args.address,
            ports: args.port,
            outcomes: args.outcome.into_iter().map(Into::into).collect(),
            since: args.since,
            until: args.until,
        }
    }

    /// Whether its ends and its beginning are asked for, which is known before anything else.
    pub fn may_pass(&self, opening: &Opening) -> bool {
        let ends = [opening.a, opening.b];
        let has_address =
            ends.iter().any(|end| self.networks.iter().any(|network| network.contains(end.ip())));
        let has_port = ends.iter().any(|end| self.ports.contains(&end.port()));
        (self.networks.is_empty() || has_address)
            && (self.ports.is_empty() || has_port)
            && self.began_in_time(opening)
    }

    /// Whether connections of that outcome are asked for.
    pub fn wants(&self, outcome: ConnectionOutcome) -> bool {
        self.outcomes.is_empty() || self.outcomes.contains(&outcome)
    }

    #[allow(clippy::cast_precision_loss, reason = "people give seconds")]
    fn began_in_time(&self, opening: &Opening) -> bool {
        let began = opening.packets.first().map_or(0.0, |first| first.at as f64 / 1e9);
        self.since.is_none_or(|since| began >= since)
            && self.until.is_none_or(|until| began < until)
    }
}

impl From<OutcomeName> for ConnectionOutcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Open => Self::Open,
            OutcomeName::Refused => Self::Refused,
            OutcomeName::Reset => Self::Reset,
            OutcomeName::TimedOut => Self::TimedOut,
            OutcomeName::Failed => Self::Failed,
            OutcomeName::Unfinished => Self::Unfinished,
        }
    }
}
