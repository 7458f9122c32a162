//! Random worlds: a behaviour, a path and its weather, and what goes wrong.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use tso_probe::engine::Effort;
use tso_probe::nat::{
    Answer, Assignment, Behaviour, CrossingSegment, Fallback, Filtering, Hairpinning, Knobs,
    Mapping, Pooling, Sharing, Unsolicited,
};
use tso_probe::sim::{Broken, Fault, Layout, Loss, Reflectors, Weather};
use tso_probe::time::{Duration, Instant};

/// One NAT or two in a row, the inner one first, and all that stands around.
#[derive(Debug)]
pub struct World {
    pub nats: Vec<Behaviour>,
    pub layout: Layout,
}

impl World {
    /// The world of this number from this seed; the same every time.
    pub fn random(seed: u64, number: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(mixed);
        let mut nats = vec![behaviour(&mut random, |_| {})];
        if random.random_bool(0.15) {
            nats = row(&mut random);
        }
        Self { nats, layout: layout(&mut random) }
    }

    /// Whether the path loses at most one packet in a hundred, and nothing else goes wrong.
    pub fn is_fair(&self) -> bool {
        let fair = |weather: &Weather| match weather.loss {
            Loss::None => true,
            Loss::Independent(chance) => chance <= 0.01,
            Loss::Bursts { share, .. } => share <= 0.01,
            Loss::Syns(_) | Loss::SynLimit { .. } => false,
        };
        self.layout.fault.is_none() && self.paths().all(|weather| fair(&weather))
    }

    /// How long a packet takes from a reflector to the NAT and back at least.
    pub fn around(&self) -> Duration {
        self.layout.weather.iter().map(|weather| weather.delay).sum()
    }

    /// How much longer it may take.
    pub fn jitter(&self) -> Duration {
        self.layout.weather.iter().map(|weather| weather.jitter).sum()
    }

    fn paths(&self) -> impl Iterator<Item = Weather> {
        self.layout.weather.into_iter().chain(self.layout.inner_weather)
    }
}

fn behaviour(random: &mut Xoshiro256PlusPlus, change: impl Fn(&mut Knobs)) -> Behaviour {
    loop {
        let mut knobs = knobs(random);
        change(&mut knobs);
        if let Ok(behaviour) = Behaviour::try_from(knobs) {
            return behaviour;
        }
    }
}

/// Two in a row, one of which keeps every port for every remote. Where the inner one spreads its
/// bindings over two addresses, or both choose ports on a clash by rules of their own, what is seen
/// is a mixture that nobody derives here.
fn row(random: &mut Xoshiro256PlusPlus) -> Vec<Behaviour> {
    let alike = |knobs: &mut Knobs| {
        (knobs.pooling, knobs.on_clash) = (Pooling::Paired, Fallback::Random);
    };
    let plain = behaviour(random, |knobs| {
        alike(knobs);
        knobs.mapping = Mapping::EndpointIndependent;
        knobs.ports = Assignment::Preservation(Sharing::Exclusive);
        (knobs.range, knobs.parity) = (1_024..=65_535, false);
    });
    let any = behaviour(random, alike);
    if random.random_bool(0.5) { vec![plain, any] } else { vec![any, plain] }
}

fn one<T: Clone>(random: &mut Xoshiro256PlusPlus, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

fn knobs(random: &mut Xoshiro256PlusPlus) -> Knobs {
    use Filtering as F;
    let filterings = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent];
    let filtering = one(random, &filterings);
    let filtering_established =
        if random.random_bool(0.7) { filtering } else { one(random, &filterings) };
    let ports = ports(random);
    let preserves = matches!(ports, Assignment::Preservation(_) | Assignment::Overloading);
    Knobs {
        mapping: one(
            random,
            &[
                Mapping::EndpointIndependent,
                Mapping::AddressDependent,
                Mapping::AddressAndPortDependent,
            ],
        ),
        filtering,
        filtering_established,
        ports,
        on_clash: match random.random_range(0..3) {
            0 => Fallback::Sequential(one(random, &[1, 2, -1, 4])),
            _ => Fallback::Random,
        },
        // Where ports are preserved, all of ours are in range.
        range: match random.random_range(0..12) {
            0..=2 if !preserves => 20_480..=22_527,
            3 if !preserves => 40_000..=40_511,
            _ => 1_024..=65_535,
        },
        parity: random.random_bool(0.1),
        pooling: if random.random_bool(0.1) { Pooling::Arbitrary } else { Pooling::Paired },
        hairpinning: one(
            random,
            &[Hairpinning::Unsupported, Hairpinning::InternalSource, Hairpinning::ExternalSource],
        ),
        unsolicited: unsolicited(random),
        blocks: one(
            random,
            &[
                None,
                None,
                Some(CrossingSegment::SynIn),
                Some(CrossingSegment::SynAckOut),
                Some(CrossingSegment::SynAckIn),
            ],
        ),
        rewrites_isn: random.random_bool(0.2),
        strips_options: random.random_bool(0.2),
        ..Knobs::rfc5382()
    }
}

fn ports(random: &mut Xoshiro256PlusPlus) -> Assignment {
    match random.random_range(0..7) {
        0 => Assignment::Preservation(Sharing::Exclusive),
        1 => Assignment::Preservation(Sharing::Overlapping),
        2 => Assignment::Preservation(Sharing::OverlappingReuse),
        3 | 4 => Assignment::Sequential(one(random, &[1, 2, -1, -2, 3, 8])),
        5 => Assignment::Random,
        _ => Assignment::Overloading,
    }
}

fn unsolicited(random: &mut Xoshiro256PlusPlus) -> Unsolicited {
    let answer = one(
        random,
        &[
            Answer::Silence,
            Answer::Reset,
            Answer::Unreachable(1),
            Answer::Unreachable(3),
            Answer::Unreachable(13),
        ],
    );
    let after = match random.random_range(0..20) {
        0..8 => Duration::ZERO,
        8..12 => Duration::from_secs(6),
        12 => Duration::from_millis(random.random_range(6_000..40_000)),
        _ => Duration::from_millis(random.random_range(1..6_000)),
    };
    let holds = random.random_bool(0.5).then(|| one(random, &[10, 16, 1_000]));
    let holds = holds.filter(|_| !after.is_zero() && answer != Answer::Silence);
    Unsolicited { answer, after, holds }
}

fn layout(random: &mut Xoshiro256PlusPlus) -> Layout {
    let effort = match random.random_range(0..10) {
        0 | 1 => Effort::Quick,
        2 => Effort::Full,
        _ => Effort::Default,
    };
    let delay = Duration::from_micros(random.random_range(200..150_000));
    let jitter = jitter(random);
    let fair = random.random_bool(0.3);
    let [outer, inner] = [(); 2].map(|()| both_ways(random, fair));
    let weather = |[out, back]: [Loss; 2], delay, jitter, duplicated| {
        [out, back].map(|loss| Weather { delay, jitter, loss, duplicated })
    };
    let duplicated = if random.random_bool(0.2) { random.random_range(0.0..0.05) } else { 0.0 };
    let hop = Duration::from_micros(random.random_range(50..3_000));
    Layout {
        effort,
        seed: random.random(),
        second_internal: random.random_bool(0.8),
        reflectors: match random.random_range(0..10) {
            0 => Reflectors::OneAddress,
            1 | 2 => Reflectors::TwoHosts,
            _ => Reflectors::TwoAddresses,
        },
        weather: weather(outer, delay, jitter, duplicated),
        inner_weather: if random.random_bool(0.4) {
            weather(inner, hop, jitter / 10, 0.0)
        } else {
            weather([Loss::None; 2], hop, Duration::ZERO, 0.0)
        },
        fault: (!fair && random.random_bool(0.12)).then(|| fault(random)),
    }
}

/// Any moment of most runs, and sometimes one after their end.
fn fault(random: &mut Xoshiro256PlusPlus) -> Fault {
    let number = random.random_range(0..2);
    let what = match random.random_range(0..5) {
        0 | 1 => Broken::Reflector(number),
        2 => Broken::ControlPath(number),
        3 => Broken::Control(number),
        _ => Broken::Patience,
    };
    Fault { what, at: Instant::from_millis(random.random_range(0..15_000)) }
}

/// Half of all paths keep the order of packets but for a little; some reorder thoroughly.
fn jitter(random: &mut Xoshiro256PlusPlus) -> Duration {
    match random.random_range(0..4) {
        0 | 1 => Duration::ZERO,
        2 => Duration::from_micros(random.random_range(0..10_000)),
        _ => Duration::from_micros(random.random_range(0..200_000)),
    }
}

/// Loss outward and inward.
fn both_ways(random: &mut Xoshiro256PlusPlus, fair: bool) -> [Loss; 2] {
    let most = if fair { 0.005 } else { 0.2 };
    let losses = [(); 2].map(|()| loss(random, most, fair));
    match random.random_range(0..4) {
        0 => [losses[0], Loss::None],
        1 => [Loss::None, losses[1]],
        _ => losses,
    }
}

fn loss(random: &mut Xoshiro256PlusPlus, most: f64, fair: bool) -> Loss {
    match random.random_range(0..6) {
        0 => Loss::None,
        1 | 2 => Loss::Independent(random.random_range(0.0..most)),
        3 => Loss::Bursts {
            share: random.random_range(most / 20.0..most),
            length: Duration::from_micros(random.random_range(1_000..500_000)),
        },
        _ if fair => Loss::Independent(random.random_range(0.0..most)),
        4 => Loss::Syns(random.random_range(0.0..most)),
        _ => Loss::SynLimit {
            per_second: random.random_range(5..60),
            burst: random.random_range(5..100),
        },
    }
}
