//! Those who wait for a topic's next event.
//!
//! Each watch has a seat for as long as it lives, with its task's waker in it. Taking a seat again is a
//! flag, and waking everybody is one pass over the seats that wakes those whose flag is up: who is
//! still busy with earlier events, or is held up by a slow client, is passed by.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The seats of one topic.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Vec<Arc<Seat>>>);

/// One watch's place.
#[derive(Default)]
pub(crate) struct Seat {
    /// Whether to wake it.
    waits: AtomicBool,
    /// Whether it is told of news before the crowd is.
    prompt: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Where among the seats it is; changed under their lock only.
    at: AtomicUsize,
}

impl Waiting {
    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many seats there are.
    pub(crate) fn len(&self) -> usize {
        self.seats().len()
    }

    /// A seat for one more.
    pub(crate) fn enter(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat::default());
        let mut seats = self.seats();
        seat.at.store(seats.len(), SeqCst);
        seats.push(seat.clone());
        seat
    }

    /// Gives a seat back. The answer is whether it was the last.
    pub(crate) fn leave(&self, seat: &Seat) -> bool {
        let mut seats = self.seats();
        let at = seat.at.load(SeqCst);
        seats.swap_remove(at);
        if let Some(moved) = seats.get(at) {
            moved.at.store(at, SeqCst);
            // Where it is now, others may have been told already.
            moved.wake();
        }
        if seats.capacity() > 64 && seats.len() < seats.capacity() / 4 {
            let room = seats.len() * 2;
            seats.shrink_to(room);
        }
        seats.is_empty()
    }

    /// Wakes everybody who waits.
    pub(crate) fn wake(&self) {
        self.seats().iter().for_each(|seat| seat.wake());
    }

    /// Wakes those who wait among some of the seats.
    pub(crate) fn wake_some(&self, seats: Range<usize>) {
        let all = self.seats();
        let some = seats.start.min(all.len())..seats.end.min(all.len());
        all[some].iter().for_each(|seat| seat.wake());
    }

    /// Wakes those who want to be told before others.
    pub(crate) fn wake_prompt(&self) {
        let seats = self.seats();
        let prompt = seats.iter().filter(|seat| seat.prompt.load(SeqCst));
        prompt.for_each(|seat| seat.wake());
    }
}

impl Seat {
    /// Has `waker` woken by the next news. Look once more for what may have come before that.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        drop(known);
        self.waits.store(true, SeqCst);
    }

    /// Takes that back.
    pub(crate) fn wait_no_more(&self) {
        self.waits.store(false, SeqCst);
    }

    /// From now on it is told of news at once.
    pub(crate) fn be_prompt(&self) {
        self.prompt.store(true, SeqCst);
    }

    fn wake(&self) {
        // Looked at before it is taken: most who are busy stay so, and a read is cheaper.
        if self.waits.load(SeqCst)
            && self.waits.swap(false, SeqCst)
            && let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn only_who_waits_is_woken_and_only_once() {
        let (waiting, woken) = (Waiting::default(), Arc::new(Woken::default()));
        let seat = waiting.enter();
        waiting.wake();
        assert_eq!(woken.0.load(SeqCst), 0);
        seat.wait(&woken.clone().into());
        waiting.wake();
        waiting.wake();
        assert_eq!(woken.0.load(SeqCst), 1);
        seat.wait(&woken.clone().into());
        seat.wait_no_more();
        waiting.wake();
        assert_eq!(woken.0.load(SeqCst), 1);
    }

    #[test]
    fn seats_come_and_go_in_any_order() {
        let waiting = Waiting::default();
        let all: Vec<_> = (0..5)
            .map(|_| (waiting.enter(), Arc::new(Woken::default())))
            .collect();
        for at in [0, 3, 1] {
            assert!(!waiting.leave(&all[at].0));
        }
        all.iter()
            .for_each(|(seat, woken)| seat.wait(&woken.clone().into()));
        waiting.wake();
        let woken: Vec<_> = all.iter().map(|(_, woken)| woken.0.load(SeqCst)).collect();
        assert_eq!((woken, waiting.len()), (vec![0, 0, 1, 0, 1], 2));
        assert!(!waiting.leave(&all[4].0));
        assert!(waiting.leave(&all[2].0));
    }

    #[test]
    fn some_are_woken_and_who_moves_among_them_is_not_forgotten() {
        let waiting = Waiting::default();
        let all: Vec<_> = (0..5)
            .map(|_| (waiting.enter(), Arc::new(Woken::default())))
            .collect();
        all.iter()
            .for_each(|(seat, woken)| seat.wait(&woken.clone().into()));
        waiting.wake_some(0..2);
        waiting.leave(&all[0].0);
        waiting.wake_some(2..9);
        let woken: Vec<_> = all.iter().map(|(_, woken)| woken.0.load(SeqCst)).collect();
        assert_eq!(woken, [1, 1, 1, 1, 1]);
    }

    #[test]
    fn the_prompt_are_woken_before_the_crowd() {
        let waiting = Waiting::default();
        let (slow, prompt) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let seats = [waiting.enter(), waiting.enter()];
        seats[0].wait(&slow.clone().into());
        seats[1].be_prompt();
        seats[1].wait(&prompt.clone().into());
        waiting.wake_prompt();
        assert_eq!((slow.0.load(SeqCst), prompt.0.load(SeqCst)), (0, 1));
        waiting.wake();
        assert_eq!((slow.0.load(SeqCst), prompt.0.load(SeqCst)), (1, 1));
    }
}
