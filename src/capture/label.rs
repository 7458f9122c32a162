//! What stands in names and comments of an evidence file, as text that people read and we read
//! back: places as interface names, and `[probe 3 volley 7] prose` as a frame's comment.

use crate::engine::{Place, Record};
use crate::tcp::Side;
use crate::wire::control::{ProbeId, Volley};

/// The interface name that stands for a place.
pub fn of_place(place: Place) -> String {
    match place {
        Place::Prober => "prober".to_owned(),
        Place::Reflector(index) => format!("reflector-{index}"),
        Place::End(Side::A) => "end-a".to_owned(),
        Place::End(Side::B) => "end-b".to_owned(),
    }
}

/// The place that an interface name stands for.
pub fn to_place(name: &str) -> Option<Place> {
    match name {
        "prober" => Some(Place::Prober),
        "end-a" => Some(Place::End(Side::A)),
        "end-b" => Some(Place::End(Side::B)),
        _ => name.strip_prefix("reflector-")?.parse().ok().map(Place::Reflector),
    }
}

/// The comment of a frame: its probe and volley, then prose.
pub fn of_record(record: &Record, prose: Option<String>) -> Option<String> {
    let probe = record.probe.map(|ProbeId(probe)| format!("probe {probe}"));
    let volley = record.volley.map(|Volley(volley)| format!("volley {volley}"));
    let words: Vec<_> = probe.into_iter().chain(volley).collect();
    if words.is_empty() && prose.is_none() {
        return None;
    }
    let mut comment = format!("[{}]", words.join(" "));
    if let Some(prose) = prose {
        comment.push(' ');
        comment.push_str(&prose);
    }
    Some(split(&comment).0.to_owned())
}

/// The probe and volley that a comment names; none if it is somebody else's.
pub fn to_cause(comment: &str) -> Option<(Option<ProbeId>, Option<Volley>)> {
    let (inside, _) = comment.strip_prefix('[')?.split_once(']')?;
    let words: Vec<_> = inside.split_whitespace().collect();
    let (mut probe, mut volley) = (None, None);
    for pair in words.chunks(2) {
        match *pair {
            ["probe", number] => probe = Some(ProbeId(number.parse().ok()?)),
            ["volley", number] => volley = Some(Volley(number.parse().ok()?)),
            _ => return None,
        }
    }
    Some((probe, volley))
}

/// The text as far as one comment takes it, and the rest.
pub fn split(text: &str) -> (&str, &str) {
    let longest = text.len().min(LONGEST_COMMENT);
    let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.split_at(end)
}

/// An option's length has 16 bits; what is left of them makes room for the heading of a part.
const LONGEST_COMMENT: usize = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_its_cause() {
        let cause = (Some(ProbeId(3)), Some(Volley(7)));
        assert_eq!(to_cause("[probe 3 volley 7] a SYN to an unmapped port"), Some(cause));
        assert_eq!(to_cause("[] prose alone"), Some((None, None)));
        assert_eq!(to_cause("looks odd [see ticket]"), None);
        assert_eq!(to_cause("[odd] looks odd"), None);
    }

    #[test]
    fn a_name_stands_for_its_place() {
        let ends = [Place::End(Side::A), Place::End(Side::B)];
        for place in
            [Place::Prober, Place::Reflector(0), Place::Reflector(255)].into_iter().chain(ends)
        {
            assert_eq!(to_place(&of_place(place)), Some(place));
        }
        assert_eq!(to_place("eth0"), None);
        assert_eq!(to_place("reflector-256"), None);
    }
}
