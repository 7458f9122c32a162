//! STUN servers asked again and again, each time from a port of the host's choice; no privilege is
//! needed.

use super::control::Control;
use super::driver::{Driver, Stop};
use super::station::Station;
use crate::engine::{Fact, Run};
use crate::os;
use crate::os::signals::Signals;
use crate::probe::{Survey, SurveySetting};

/// Asks them. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this host cannot wait.
pub fn survey(
    setting: SurveySetting,
    signals: &Signals,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<Run> {
    let (mut survey, stop) = (Survey::new(setting), Stop::Signals(signals));
    Driver::new(&mut survey, Station::plain(), Control::default(), stop, watch).run()
}
