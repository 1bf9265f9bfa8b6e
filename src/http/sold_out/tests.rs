use super::*;
use crate::ids::OptionId;

const LASTS: u64 = 100;

/// A memory, and a clock that begins with it.
struct Story {
    memory: SoldOut,
    epochs: u64,
}

fn story() -> Story {
    let settings = Settings { sold_out_memory_ms: LASTS, ..Settings::default() };
    Story { memory: SoldOut::new(&settings), epochs: 8 }
}

fn sku(product: u64) -> Pool {
    Pool::Stock(SkuId { product: ProductId::new(product).unwrap(), option: OptionId::NONE })
}

impl Story {
    fn at(&self, micros: u64) -> Instant {
        self.memory.began + Duration::from_micros(micros)
    }

    fn asking(&self, micros: u64) -> Asking {
        Asking { at: self.at(micros), epochs: self.epochs }
    }

    /// A call that a script refuses.
    fn told(&self, thing: Pool, sent: u64, answered: u64) {
        self.memory.told_at(thing, self.asking(sent), self.at(answered));
    }

    /// Calls of which each is sent before the one before is answered: one every 10 µs.
    fn rush(&self, thing: Pool, from: u64, calls: u64) {
        for call in 0..calls {
            self.told(thing, from + call * 10, from + call * 10 + 15);
        }
    }

    fn knows(&self, thing: Pool, micros: u64) -> bool {
        self.memory.knows(thing, self.asking(micros)).is_some()
    }

    /// Answers somebody from memory.
    fn hears(&self, thing: Pool, micros: u64) {
        assert!(self.knows(thing, micros), "{micros}");
        self.memory.answers(thing, self.at(micros));
    }
}

#[test]
fn a_rush_is_remembered_from_the_call_on_that_told_it() {
    let story = story();
    story.rush(sku(1), 0, 16);
    assert!(!story.knows(sku(1), 200), "the first was alone, and 15 are no rush");
    story.told(sku(1), 160, 175);
    assert!(story.knows(sku(1), 200) && !story.knows(sku(2), 200));
    // Sent at 160 µs; from the middle of its time on one asks the script.
    assert!(story.knows(sku(1), 50_159) && !story.knows(sku(1), 50_160));
    assert!(story.knows(sku(1), 100_159) && !story.knows(sku(1), 100_160));
}

#[test]
fn who_asks_one_by_one_hears_the_script() {
    let story = story();
    for call in 0..1_000 {
        story.told(sku(1), call * 10, call * 10 + 9);
        assert!(!story.knows(sku(1), call * 10 + 9), "{call}");
    }
}

#[test]
fn callers_who_meet_now_and_then_are_no_rush() {
    let story = story();
    for call in 0..1_000 {
        story.told(sku(1), call * 10_000, call * 10_000 + 15);
        story.told(sku(1), call * 10_000 + 5, call * 10_000 + 25);
        assert!(!story.knows(sku(1), call * 10_000 + 30), "{call}");
    }
}

#[test]
fn a_rush_goes_on_while_the_one_who_asks_anew_has_company() {
    let story = story();
    story.rush(sku(1), 0, 17);
    story.hears(sku(1), 50_000);
    assert!(!story.knows(sku(1), 60_000), "this one asks");
    story.hears(sku(1), 60_100);
    story.told(sku(1), 60_000, 60_300);
    assert!(story.knows(sku(1), 105_000), "its answer counts from 60 ms on");
    // The rush is over: who asks now is alone.
    assert!(!story.knows(sku(1), 120_000));
    story.told(sku(1), 120_000, 120_300);
    assert!(story.knows(sku(1), 159_999) && !story.knows(sku(1), 160_000));
}

#[test]
fn what_was_asked_before_the_units_came_back_counts_no_more() {
    let story = story();
    story.rush(sku(1), 0, 17);
    story.memory.forget(sku(1));
    assert!(!story.knows(sku(1), 200));
    // Asked before, answered later.
    let before = Asking { at: story.memory.began, epochs: story.epochs };
    for _ in 0..100 {
        story.memory.told_at(sku(1), before, story.at(1_000_000));
    }
    assert!(!story.knows(sku(1), 1_000_000));
    // Asked since.
    story.rush(sku(1), 60_000_000, 17);
    assert!(story.knows(sku(1), 60_000_200));
    story.memory.forget_product(ProductId::new(2).unwrap());
    assert!(story.knows(sku(1), 60_000_200));
    story.memory.forget_product(ProductId::new(1).unwrap());
    assert!(!story.knows(sku(1), 60_000_200));
}

#[test]
fn another_epoch_knows_nothing() {
    let mut story = story();
    story.rush(sku(1), 0, 17);
    story.epochs = 9;
    assert!(!story.knows(sku(1), 200));
    story.rush(sku(1), 1_000, 100);
    assert!(story.knows(sku(1), 2_100));
    story.epochs = 10;
    assert!(!story.knows(sku(1), 2_100), "nor the next one");
}

#[test]
fn of_two_things_with_one_place_the_first_is_remembered_while_it_is_told() {
    let story = story();
    let one = sku(1);
    let other = (2..).map(sku).find(|it| place_of(*it) == place_of(one)).unwrap();
    story.rush(one, 0, 17);
    story.rush(other, 20, 100);
    assert!(story.knows(one, 2_000) && !story.knows(other, 2_000));
    story.rush(other, 200_000, 17);
    assert!(story.knows(other, 200_200) && !story.knows(one, 200_200));
}

#[test]
fn a_memory_of_no_time_is_none() {
    let settings = Settings { sold_out_memory_ms: 0, ..Settings::default() };
    let story = Story { memory: SoldOut::new(&settings), epochs: 8 };
    story.rush(sku(1), 0, 100);
    assert!(!story.knows(sku(1), 1_000) && story.memory.places.is_empty());
    story.memory.forget(sku(1));
    story.memory.forget_product(ProductId::new(1).unwrap());
}
