//! Virtual time: tasks run until all of them sleep, then the clock moves to whoever wakes first. One thread and one order, so
//! the same seed gives the same run.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Nanoseconds since the sale began.
pub type Nanos = u64;

pub const US: Nanos = 1_000;
pub const MS: Nanos = 1_000 * US;
pub const SECOND: Nanos = 1_000 * MS;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Who sleeps until when; of two who wake at once, the one who went to sleep first does so first.
struct Sleeper {
    at: Nanos,
    order: u64,
    waker: Waker,
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sleeper {}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock(Rc<Inner>);

#[derive(Default)]
struct Inner {
    now: Cell<Nanos>,
    slept: Cell<u64>,
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
    new: RefCell<Vec<Task>>,
}

impl Clock {
    pub fn now(&self) -> Nanos {
        self.0.now.get()
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.new.borrow_mut().push(Box::pin(task));
    }

    pub fn sleep(&self, time: Nanos) -> Sleep {
        self.until(self.now() + time)
    }

    pub fn until(&self, at: Nanos) -> Sleep {
        Sleep { clock: self.clone(), at, is_asleep: false }
    }

    /// Runs all tasks until `done`, or until nobody sleeps any more.
    pub fn run(&self, done: impl Fn() -> bool) {
        let ready = Arc::new(Mutex::new(Vec::new()));
        let mut tasks: Vec<Option<(Task, Waker)>> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut batch: Vec<usize> = Vec::new();
        while !done() {
            loop {
                for task in self.0.new.borrow_mut().drain(..) {
                    let place = free.pop().unwrap_or_else(|| {
                        tasks.push(None);
                        tasks.len() - 1
                    });
                    let waker = Waker::from(Arc::new(Wakes { place, ready: ready.clone() }));
                    tasks[place] = Some((task, waker));
                    batch.push(place);
                }
                batch.append(&mut ready.lock().expect("one thread"));
                if batch.is_empty() {
                    break;
                }
                for place in batch.drain(..) {
                    // A place may have been woken for the one who had it before: tasks bear that.
                    let Some((task, waker)) = tasks[place].as_mut() else { continue };
                    if task.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                        tasks[place] = None;
                        free.push(place);
                    }
                }
            }
            let Some(Reverse(sleeper)) = self.0.sleepers.borrow_mut().pop() else { return };
            self.0.now.set(sleeper.at);
            sleeper.waker.wake();
        }
    }
}

struct Wakes {
    place: usize,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.ready.lock().expect("one thread").push(self.place);
    }
}

pub struct Sleep {
    clock: Clock,
    at: Nanos,
    is_asleep: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.is_asleep, true) {
            let inner = &self.clock.0;
            let order = inner.slept.replace(inner.slept.get() + 1);
            let sleeper = Sleeper { at: self.at, order, waker: context.waker().clone() };
            inner.sleepers.borrow_mut().push(Reverse(sleeper));
        }
        Poll::Pending
    }
}
