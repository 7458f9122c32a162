//! Rooms: who waits in which, and who is with whom. A message has one way only, to the other one of
//! the same room.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{Census, Neighbourhood};
use super::message::{Code, Ticket};
use crate::engine::Flow;

/// All rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    rooms: BTreeMap<u32, Room>,
    /// Which room somebody is in.
    of: BTreeMap<Flow, u32>,
    free: BTreeSet<u32>,
    census: Census,
    most_of_one_address: usize,
    pairs: usize,
}

#[derive(Debug)]
struct Room {
    ticket: Ticket,
    opened_from: Neighbourhood,
    waiter: Flow,
    joiner: Option<Flow>,
    /// How many texts the one who waited has said to the other.
    said: u32,
}

impl Rooms {
    /// At most so many, numbered from 1.
    pub fn new(most: u32, most_of_one_address: usize) -> Self {
        Self {
            rooms: BTreeMap::new(),
            of: BTreeMap::new(),
            free: (1..=most).collect(),
            census: Census::default(),
            most_of_one_address,
            pairs: 0,
        }
    }

    /// Opens the room with the smallest number that is free.
    ///
    /// # Errors
    /// When there are too many.
    pub fn open(&mut self, flow: Flow, ticket: Ticket, from: Neighbourhood) -> Result<u32, Code> {
        let number = *self.free.first().ok_or(Code::TooManyRooms)?;
        self.settle(flow, number, ticket, from).map(|()| number)
    }

    /// Opens a room that is claimed by its number: it is free, or was opened with the same ticket by
    /// a connection that this one replaces. Whoever is replaced comes back.
    ///
    /// # Errors
    /// When somebody else has the room, or there are too many.
    pub fn claim(
        &mut self,
        flow: Flow,
        number: u32,
        ticket: Ticket,
        from: Neighbourhood,
    ) -> Result<Option<Flow>, Code> {
        if self.free.contains(&number) {
            return self.settle(flow, number, ticket, from).map(|()| None);
        }
        let room = self.rooms.get_mut(&number).ok_or(Code::RoomTaken)?;
        if room.ticket != ticket || room.joiner.is_some() {
            return Err(Code::RoomTaken);
        }
        let before = std::mem::replace(&mut room.waiter, flow);
        self.census.leave(std::mem::replace(&mut room.opened_from, from));
        self.census.enter(from);
        self.of.remove(&before);
        self.of.insert(flow, number);
        Ok(Some(before))
    }

    /// Who opened a room with this ticket, if another is in it as well.
    pub fn paired_waiter(&self, number: u32, ticket: Ticket) -> Option<Flow> {
        let room = self.rooms.get(&number)?;
        (room.ticket == ticket && room.joiner.is_some()).then_some(room.waiter)
    }

    fn settle(
        &mut self,
        flow: Flow,
        number: u32,
        ticket: Ticket,
        from: Neighbourhood,
    ) -> Result<(), Code> {
        if self.census.of(from) >= self.most_of_one_address {
            return Err(Code::TooManyRooms);
        }
        self.free.remove(&number);
        self.census.enter(from);
        self.of.insert(flow, number);
        let room = Room { ticket, opened_from: from, waiter: flow, joiner: None, said: 0 };
        self.rooms.insert(number, room);
        Ok(())
    }

    /// Enters a room where somebody waits: who that is.
    ///
    /// # Errors
    /// When nobody does. A room with two in it is no room to enter, and is not told from one that
    /// never was.
    pub fn join(&mut self, flow: Flow, number: u32) -> Result<Flow, Code> {
        let room = self.rooms.get_mut(&number).filter(|room| room.joiner.is_none());
        let room = room.ok_or(Code::NoSuchRoom)?;
        room.joiner = Some(flow);
        self.of.insert(flow, number);
        self.pairs += 1;
        Ok(room.waiter)
    }

    /// Counts a text that is said in a room: how many the one who waited has said, if it is from that one.
    pub fn has_said(&mut self, flow: Flow) -> u32 {
        let room = self.of.get(&flow).and_then(|number| self.rooms.get_mut(number));
        room.filter(|room| room.waiter == flow).map_or(0, |room| {
            room.said = room.said.saturating_add(1);
            room.said
        })
    }

    /// Ends the room that somebody is in, and gives back who else was in it.
    pub fn leave(&mut self, flow: Flow) -> Option<Flow> {
        let number = self.of.remove(&flow)?;
        let room = self.rooms.remove(&number)?;
        self.free.insert(number);
        self.census.leave(room.opened_from);
        let joiner = room.joiner?;
        self.pairs -= 1;
        let other = if room.waiter == flow { joiner } else { room.waiter };
        self.of.remove(&other);
        Some(other)
    }

    /// Who else is in somebody's room.
    pub fn other(&self, flow: Flow) -> Option<Flow> {
        let room = self.rooms.get(self.of.get(&flow)?)?;
        let joiner = room.joiner?;
        Some(if room.waiter == flow { joiner } else { room.waiter })
    }

    /// Whether somebody is in a room.
    pub fn has(&self, flow: Flow) -> bool {
        self.of.contains_key(&flow)
    }

    /// Rooms where somebody waits.
    pub fn waiting(&self) -> usize {
        self.rooms.len() - self.pairs
    }

    /// Rooms with two in them.
    pub const fn pairs(&self) -> usize {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket = Ticket(1);

    #[test]
    fn the_smallest_number_that_is_free_is_given_out() {
        let mut rooms = Rooms::new(9, 9);
        assert_eq!([1, 2, 3].map(|flow| open(&mut rooms, flow)), [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(rooms.leave(Flow(2)), None);
        assert_eq!([4, 5].map(|flow| open(&mut rooms, flow)), [Ok(2), Ok(4)]);
    }

    #[test]
    fn a_room_holds_two_and_is_gone_with_either() {
        for leaver in [1, 2] {
            let mut rooms = Rooms::new(9, 9);
            assert_eq!(open(&mut rooms, 1), Ok(1));
            assert_eq!(rooms.join(Flow(2), 1), Ok(Flow(1)));
            assert_eq!(rooms.join(Flow(3), 1), Err(Code::NoSuchRoom));
            assert_eq!(
                (rooms.other(Flow(1)), rooms.other(Flow(2))),
                (Some(Flow(2)), Some(Flow(1)))
            );
            assert_eq!((rooms.waiting(), rooms.pairs()), (0, 1));
            assert_eq!(rooms.leave(Flow(leaver)), Some(Flow(3 - leaver)));
            assert_eq!((rooms.waiting(), rooms.pairs()), (0, 0));
            assert!(!rooms.has(Flow(1)) && !rooms.has(Flow(2)));
            assert_eq!(rooms.join(Flow(3), 1), Err(Code::NoSuchRoom));
        }
    }

    #[test]
    fn a_room_is_claimed_if_it_is_free_or_by_its_ticket() {
        let (mut rooms, near) = (Rooms::new(9, 9), near());
        assert_eq!(rooms.claim(Flow(1), 7, TICKET, near), Ok(None));
        assert_eq!(rooms.claim(Flow(2), 7, Ticket(2), near), Err(Code::RoomTaken));
        assert_eq!(rooms.claim(Flow(2), 7, TICKET, near), Ok(Some(Flow(1))));
        assert!(!rooms.has(Flow(1)) && rooms.has(Flow(2)));
        assert_eq!((rooms.census.of(near), open(&mut rooms, 3)), (1, Ok(1)));
        // With a peer in it, a ticket no longer opens it.
        assert_eq!(rooms.join(Flow(4), 7), Ok(Flow(2)));
        assert_eq!(rooms.claim(Flow(5), 7, TICKET, near), Err(Code::RoomTaken));
        for none in [0, 10] {
            assert_eq!(rooms.claim(Flow(5), none, TICKET, near), Err(Code::RoomTaken));
        }
    }

    #[test]
    fn rooms_are_limited_in_all_and_for_each_address() {
        let mut rooms = Rooms::new(3, 2);
        assert_eq!([1, 2].map(|flow| open(&mut rooms, flow)), [Ok(1), Ok(2)]);
        assert_eq!(open(&mut rooms, 3), Err(Code::TooManyRooms));
        assert_eq!(rooms.claim(Flow(3), 3, TICKET, near()), Err(Code::TooManyRooms));
        let other = Neighbourhood::of([192, 0, 2, 2].into());
        assert_eq!(rooms.open(Flow(3), TICKET, other), Ok(3));
        assert_eq!(rooms.open(Flow(4), TICKET, other), Err(Code::TooManyRooms));
        rooms.leave(Flow(1));
        assert_eq!(open(&mut rooms, 5), Ok(1));
    }

    fn open(rooms: &mut Rooms, flow: u32) -> Result<u32, Code> {
        rooms.open(Flow(flow), TICKET, near())
    }

    fn near() -> Neighbourhood {
        Neighbourhood::of([192, 0, 2, 1].into())
    }
}
