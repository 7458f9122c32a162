//! How many worlds a core classifies in a second: from the first SYN to the six findings, on virtual
//! time, judging included.

use divan::Bencher;
use divan::counter::ItemsCount;
use tso_probe::engine::Effort;
use tso_probe::nat::{Behaviour, Device, Preset};
use tso_probe::sim::{Layout, classify};
use tso_probe::time::Duration;
use tso_probe::verdict::judge;

fn main() {
    divan::main();
}

fn modelled(name: &str) -> Vec<Behaviour> {
    match Preset::named(name).map(Preset::device) {
        Some(Device::Modelled(nats)) => nats,
        _ => panic!("no modelled preset is called {name}"),
    }
}

fn layout(effort: Effort) -> Layout {
    Layout::fair(effort, 5_382, Duration::from_millis(50))
}

#[divan::bench(args = ["rfc5382", "openwrt", "linux-random", "sequential", "full-cone"])]
fn default(bencher: Bencher<'_, '_>, name: &str) {
    let (nats, layout) = (modelled(name), layout(Effort::Default));
    bencher.counter(ItemsCount::new(1u32)).bench(|| judge(&classify(&nats, &layout)));
}

#[divan::bench(args = ["rfc5382", "openwrt", "linux-random", "sequential", "full-cone"])]
fn quick(bencher: Bencher<'_, '_>, name: &str) {
    let (nats, layout) = (modelled(name), layout(Effort::Quick));
    bencher.counter(ItemsCount::new(1u32)).bench(|| judge(&classify(&nats, &layout)));
}

#[divan::bench(args = ["rfc5382", "openwrt", "linux-random", "sequential", "full-cone"])]
fn judging_alone(bencher: Bencher<'_, '_>, name: &str) {
    let run = classify(&modelled(name), &layout(Effort::Default));
    bencher.counter(ItemsCount::new(1u32)).bench(|| judge(&run));
}
