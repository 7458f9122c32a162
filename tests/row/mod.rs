//! What two NATs in a row show together, where it follows from what each does.

use tso_probe::nat::{
    Assignment, CrossingSegment, Filtering, Hairpinning, Knobs, Mapping, Pooling, Sharing,
};

use super::observable::{Together, Vantage, is_error};

/// Two, of which at least one keeps every port for every remote, so that the other alone decides
/// the mapping.
pub fn together(inner: &Knobs, outer: &Knobs, vantage: Vantage) -> Together {
    let mut knobs = if is_plain(inner) { outer.clone() } else { inner.clone() };
    assert!(is_plain(inner) || is_plain(outer), "two mappings in a row are not derived");
    // Whoever gets in has passed both filters.
    knobs.filtering = inner.filtering.max(outer.filtering);
    knobs.filtering_established = inner.filtering_established.max(outer.filtering_established);
    // The first segment that either stops; none comes after it.
    let stops = |segment: &CrossingSegment| [inner.blocks, outer.blocks].contains(&Some(*segment));
    let all = [CrossingSegment::SynIn, CrossingSegment::SynAckOut, CrossingSegment::SynAckIn];
    knobs.blocks = all.into_iter().find(stops);
    // What is not mapped ends at the outer one, and so does what it filters.
    knobs.unsolicited = outer.unsolicited;
    let kept_out = match outer.filtering {
        Filtering::EndpointIndependent => false,
        Filtering::AddressDependent => vantage.second_address,
        Filtering::AddressAndPortDependent => true,
    };
    let filtered = if kept_out { outer.unsolicited } else { inner.unsolicited };
    // Whom the outer one lets in and the inner one does not, that one answers.
    let stricter = inner.filtering > outer.filtering
        || inner.filtering_established > outer.filtering_established;
    let errors = is_error(outer.unsolicited) || (stricter && is_error(inner.unsolicited));
    // A knock comes back from the outer one, whose internal endpoints are no host's of ours, and
    // which the inner one has not sent to.
    let unfiltered = inner.filtering == Filtering::EndpointIndependent;
    knobs.hairpinning = match outer.hairpinning {
        Hairpinning::InternalSource if unfiltered => Hairpinning::ExternalSource,
        Hairpinning::InternalSource => Hairpinning::Unsupported,
        other => other,
    };
    Together { knobs, filtered, errors, settles: is_plain(inner).then_some(inner.on_clash) }
}

/// Whether it keeps every port for every remote.
pub fn is_plain(knobs: &Knobs) -> bool {
    knobs.mapping == Mapping::EndpointIndependent
        && knobs.ports == Assignment::Preservation(Sharing::Exclusive)
        && knobs.pooling == Pooling::Paired
}
