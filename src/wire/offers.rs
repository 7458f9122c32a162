//! What the two ends of a connection agree upon by the options of their SYNs.

use super::TcpOption;
use super::segment::{Options, read_option};

/// What a SYN offers, or a SYN,ACK takes up. An option of another length than it has is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Window scaling (RFC 7323 §2).
    pub scales: bool,
    /// Selective acknowledgements (RFC 2018 §2).
    pub sack: bool,
    /// Timestamps (RFC 7323 §3): the sender's clock, and the echo of the peer's.
    pub clock: Option<(u32, u32)>,
    /// Whether something of this, or of the MSS, is there twice or has another length, or the list
    /// breaks off inside an option.
    pub is_odd: bool,
}

impl Offers {
    /// Reads them from the options of a SYN or SYN,ACK.
    pub fn of(options: &Options) -> Self {
        Self::read(options.octets())
    }

    /// The same from the octets of its options.
    pub fn read(options: &[u8]) -> Self {
        let (mut offers, mut has_size) = (Self::default(), false);
        let mut rest = options;
        while let Some((option, behind)) = read_option(rest) {
            rest = behind;
            let set = |is_there: &mut bool| std::mem::replace(is_there, true);
            let is_again = match option {
                TcpOption::MaximumSegmentSize(_) => set(&mut has_size),
                TcpOption::WindowScale(_) => set(&mut offers.scales),
                TcpOption::SackPermitted => set(&mut offers.sack),
                TcpOption::Timestamps { value, echo } => {
                    // The first counts, as for [`Options::timestamps`].
                    let earlier = offers.clock;
                    offers.clock = earlier.or(Some((value, echo)));
                    earlier.is_some()
                }
                TcpOption::Other { kind, .. } => matches!(kind, 2 | 3 | 4 | 8),
                TcpOption::Nop => false,
            };
            offers.is_odd |= is_again;
        }
        // Behind the mark that ends the list is padding (RFC 9293 §3.1).
        offers.is_odd |= !matches!(rest, [] | [0, ..]);
        offers
    }

    /// What is taken up here that nobody has offered, by name (RFC 7323 §2.2 and §3.2, RFC 2018 §2).
    pub fn beyond(self, offered: Self) -> impl Iterator<Item = &'static str> {
        let taken = [
            ("window scale", self.scales && !offered.scales),
            ("SACK", self.sack && !offered.sack),
            ("timestamps", self.clock.is_some() && offered.clock.is_none()),
        ];
        taken.into_iter().filter_map(|(name, is_beyond)| is_beyond.then_some(name))
    }

    /// What either offers.
    pub fn or(self, other: Self) -> Self {
        Self {
            scales: self.scales || other.scales,
            sack: self.sack || other.sack,
            clock: self.clock.or(other.clock),
            is_odd: self.is_odd || other.is_odd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(octets: &[u8]) -> Offers {
        Offers::of(&Options::from_octets(octets).expect("words"))
    }

    #[test]
    fn what_common_stacks_offer_is_nothing_odd() {
        let offers = Offers::of(&Options::opening(9, 8));
        let all = Offers { scales: true, sack: true, clock: Some((9, 8)), is_odd: false };
        assert_eq!(offers, all);
        // The list ends before its padding; kinds of which nothing depends are anybody's.
        assert_eq!(of(&[30, 4, 0, 1, 4, 2, 0, 77]), Offers { sack: true, ..Offers::default() });
    }

    #[test]
    fn an_option_of_another_length_offers_nothing_and_is_odd() {
        let odd = Offers { is_odd: true, ..Offers::default() };
        for octets in
            [&[8, 4, 0, 0][..], &[3, 4, 7, 7], &[4, 3, 0, 0], &[2, 3, 5, 0], &[8, 60, 0, 0]]
        {
            assert_eq!(of(octets), odd, "{octets:?}");
        }
        assert_eq!(of(&[4, 2, 4, 2]), Offers { sack: true, ..odd });
        assert_eq!(of(&[1, 1, 1, 8]), odd, "it breaks off");
    }

    #[test]
    fn what_nobody_has_offered_is_named() {
        let (all, few) = (Offers::of(&Options::opening(9, 8)), of(&[4, 2, 1, 1]));
        assert_eq!(all.beyond(few).collect::<Vec<_>>(), ["window scale", "timestamps"]);
        assert_eq!(few.beyond(all).count() + all.beyond(few.or(all)).count(), 0);
    }
}
