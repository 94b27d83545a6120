//! Keeps the promises that paces make: a thread that tells crowds when their time has come.
//!
//! It begins with the first promise, sleeps while there is none, and ends with the store. Times here
//! are fractions of a millisecond, finer than what tokio's timers know.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::topic::Topic;

/// A topic, and when to tell its watchers.
type Promise = (Instant, Arc<Topic>);

/// The way to the thread.
#[derive(Default)]
pub(crate) struct Herald(Mutex<Option<Sender<Promise>>>);

impl Herald {
    /// Has the watchers of `topic` told at `due`; at once if there can be no thread.
    pub(crate) fn tell_at(&self, due: Instant, topic: Arc<Topic>) {
        let mut door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if door.is_none() {
            *door = begin();
        }
        let promise = (due, topic);
        let kept = match &*door {
            Some(thread) => thread.send(promise).map_err(|refused| refused.0),
            None => Err(promise),
        };
        if let Err((_, topic)) = kept {
            while topic.keep_promise(Instant::now()).is_some() {}
        }
    }
}

fn begin() -> Option<Sender<Promise>> {
    let (door, promises) = channel();
    let thread = std::thread::Builder::new().name("herald".to_owned());
    match thread.spawn(move || run(&promises)) {
        Ok(_) => Some(door),
        Err(error) => {
            tracing::warn!(%error, "no thread to gather changes for many watchers");
            None
        }
    }
}

fn run(promises: &Receiver<Promise>) {
    let mut open: Vec<Promise> = Vec::new();
    loop {
        let next = open.iter().map(|(due, _)| *due).min();
        let told = match next {
            None => promises.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => promises.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match told {
            Ok(promise) => open.push(promise),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        open.retain_mut(|(due, topic)| {
            if *due > now {
                return true;
            }
            let next = topic.keep_promise(now);
            *due = next.unwrap_or(now);
            next.is_some()
        });
    }
}
