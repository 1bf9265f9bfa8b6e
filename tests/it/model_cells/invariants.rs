//! What must be so whatever happens: units are where they are once, and a proof is true.

use firstcome::cell::{CellId, Epoch};
use firstcome::pool::Pool;
use firstcome::scripts::quota_read::Quota;

use super::pools::pools;
use super::rules::{Here, Model, cells};

impl Model {
    /// The cells that have a pool in the life that its home says.
    fn in_life(&self, pool: Pool) -> impl Iterator<Item = (CellId, &Here)> {
        let life = self.here(pool.home(cells()), pool).map(|it| it.life);
        cells()
            .all()
            .filter_map(move |cell| Some((cell, self.here(cell, pool)?)))
            .filter(move |(_, it)| Some(it.life) == life)
    }

    /// Units from one cell to another that have left the one and not come to the other; an error where a number is missing,
    /// or was taken that was not given.
    fn on_their_way(&self, pool: Pool, from: CellId, to: CellId) -> Result<i64, String> {
        let of = |cell| self.in_life(pool).find(|(it, _)| *it == cell).map(|(_, here)| here);
        let given = of(from).and_then(|it| it.given.get(&to));
        let taken = of(to).and_then(|it| it.taken.get(&from)).map_or(0, |it| it.number);
        match given.map_or(0, |it| it.number).checked_sub(taken) {
            Some(0) => Ok(0),
            Some(1) => Ok(given.map_or(0, |it| it.units)),
            _ => Err(format!("{pool}: cell {to} has taken {taken} of {given:?} from cell {from}")),
        }
    }

    /// Units that somebody can still buy.
    pub fn free(&self, pool: Pool) -> Result<i64, String> {
        let mut free: i64 = self.in_life(pool).map(|(_, it)| it.remaining).sum();
        let home = pool.home(cells());
        for other in cells().all().filter(|it| *it != home) {
            free += self.on_their_way(pool, home, other)? + self.on_their_way(pool, other, home)?;
        }
        Ok(free)
    }

    pub fn check_units(&self) -> Result<(), String> {
        for pool in pools() {
            let free = self.free(pool)?;
            let of_all = |count: fn(&Here) -> i64| self.in_life(pool).map(|(_, it)| count(it)).sum::<i64>();
            let (held, put_in, shares) = (of_all(|it| it.held), of_all(|it| it.put_in), of_all(Here::share));
            if free + held != put_in || shares != free {
                return Err(format!(
                    "{pool}: {free} units are free, {held} held, {put_in} were put in; shares say {shares}"
                ));
            }
            if let Some((cell, here)) = self.in_life(pool).find(|(_, it)| it.remaining < 0) {
                return Err(format!("{pool}: cell {cell} has {} units", here.remaining));
            }
        }
        Ok(())
    }
}

/// What two readings must say for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    All,
    NoEpochs,
    NoIncreases,
}

/// Two readings of all cells, under way, as `across::stock::count` makes them; and what it cannot know.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    first: Vec<(CellId, Quota, Epoch)>,
    second: Vec<(CellId, Quota, Epoch)>,
    least_free: Option<i64>,
}

impl Reading {
    /// Whether a cell is still to be read in the reading at hand.
    pub fn wants(&self, cell: CellId) -> bool {
        let all = usize::from(cells().count());
        let at_hand = if self.first.len() < all { &self.first } else { &self.second };
        at_hand.iter().all(|it| it.0 != cell)
    }

    pub fn read(&mut self, cell: CellId, quota: Quota, epoch: Epoch) {
        let all = usize::from(cells().count());
        let at_hand = if self.first.len() < all { &mut self.first } else { &mut self.second };
        at_hand.push((cell, quota, epoch));
    }

    pub fn is_over(&self) -> bool {
        self.second.len() == usize::from(cells().count())
    }

    pub fn watch(&mut self, model: &Model, pool: Pool) -> Result<(), String> {
        let free = model.free(pool)?;
        self.least_free = Some(self.least_free.map_or(free, |it| it.min(free)));
        Ok(())
    }

    /// How many units it proves that there were at most, if any number.
    fn proves(&self, pool: Pool, compared: Compared) -> Option<i64> {
        let has_only_fallen = |(cell, before, epoch): &(CellId, Quota, Epoch)| {
            let (_, now, epoch_now) = self.second.iter().find(|it| it.0 == *cell).expect("it was read");
            (epoch == epoch_now || compared == Compared::NoEpochs)
                && before.life == now.life
                && (before.increases == now.increases || compared == Compared::NoIncreases)
                && now.share() <= before.share()
        };
        let is_proof = self.first.iter().all(has_only_fallen);
        let (_, at_home, _) = self.first.iter().find(|it| it.0 == pool.home(cells()))?;
        let of_its_life = self.first.iter().map(|it| it.1).filter(|it| it.life == at_home.life);
        is_proof.then(|| of_its_life.map(Quota::share).sum())
    }

    /// Whether it proves something, and an error where that is wrong.
    pub fn check(&self, pool: Pool, compared: Compared) -> Result<bool, String> {
        let Some(at_most) = self.proves(pool, compared) else { return Ok(false) };
        let least = self.least_free.unwrap_or(0);
        if least > at_most {
            return Err(format!(
                "proven: at most {at_most} units; there never were fewer than {least}: {self:?}"
            ));
        }
        Ok(true)
    }
}
