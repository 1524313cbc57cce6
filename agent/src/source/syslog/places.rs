//! The places of connections: a sender that says nothing keeps nobody out.
//!
//! When all places are taken, the connection that has been silent for longest since it was made
//! gives its place to the new one. Who has sent anything keeps its place until it ends or is idle
//! for too long: such senders are silent for hours between two messages, and one that is cut off
//! may lose what it sends next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// All places of a source.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Connections that have sent nothing, the oldest first.
#[derive(Debug, Default)]
struct Silent {
    last: u64,
    seats: BTreeMap<u64, Seat>,
}

/// What makes a connection one of so many; the other end hears when it is lost.
#[derive(Debug)]
struct Seat {
    permit: OwnedSemaphorePermit,
    _lost: oneshot::Sender<()>,
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Once it has sent something.
    seat: Option<Seat>,
}

/// A new connection, and whether another had to make room for it.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) place: Place,
    pub(super) lost: oneshot::Receiver<()>,
    pub(super) made_room: bool,
}

impl Places {
    /// So many.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            silent: Mutex::default(),
        }
    }

    /// A place for a new connection; `None` when all others have sent something.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let free = Arc::clone(&self.free).try_acquire_owned().ok();
        let mut silent = self.silent();
        let made_room = free.is_none();
        let permit = match free {
            Some(permit) => permit,
            None => silent.seats.pop_first()?.1.permit,
        };
        let (sender, lost) = oneshot::channel();
        silent.last += 1;
        let number = silent.last;
        let seat = Seat {
            permit,
            _lost: sender,
        };
        silent.seats.insert(number, seat);
        let place = Place {
            places: Arc::clone(self),
            number,
            seat: None,
        };
        Some(Entered {
            place,
            lost,
            made_room,
        })
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Something came; false when the place is lost already.
    pub(super) fn keep(&mut self) -> bool {
        if self.seat.is_none() {
            self.seat = self.places.silent().seats.remove(&self.number);
        }
        self.seat.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.silent().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_silent_makes_room() {
        let places = Arc::new(Places::new(3));
        let [mut first, mut second, mut third] = [(); 3].map(|()| places.enter().unwrap());
        assert!(!third.made_room);
        assert!(first.place.keep());
        let mut fourth = places.enter().unwrap();
        assert!(fourth.made_room);
        // The second was the oldest of those that had sent nothing.
        assert!(second.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        assert!(!second.place.keep());
        drop(second);
        for kept in [&mut first, &mut third, &mut fourth] {
            assert!(kept.lost.try_recv() == Err(oneshot::error::TryRecvError::Empty));
            assert!(kept.place.keep() && kept.place.keep());
        }
        assert!(places.enter().is_none());
        // A place is given back once.
        drop(third);
        let fifth = places.enter().unwrap();
        assert!(!fifth.made_room);
        drop(fifth);
        assert!(!places.enter().unwrap().made_room);
        assert_eq!(places.free.available_permits(), 1);
    }
}
