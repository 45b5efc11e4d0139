//! WebSockets on which nobody has said yet who they are.
//!
//! A browser can't set headers on a socket, so it introduces itself on it, and until then it may be anybody's. So such sockets have places of
//! their own, apart from those of people: few of them, fewer of one address, for as long as `connection_init` may take. There is always room
//! for one more, in place of the one that has waited longest: of the same address or, when all are taken, of all strangers. Who means to come in
//! needs a place for as long as a message takes; who fills the lobby only pushes out their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lotline_domain::id::ActorId;
use metrics::counter;
use tokio_util::sync::CancellationToken;

/// Whose a socket is, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Somebody's at an address.
    Stranger(IpAddr),
    /// The request has said it; the socket has not begun.
    Known(ActorId),
}

/// Those who wait.
pub(crate) struct Lobby {
    most: usize,
    most_of_one: usize,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    last: u64,
    waiting: BTreeMap<Turn, (Whose, CancellationToken)>,
}

/// Strangers go before who is known, then whoever has waited longer.
type Turn = (bool, u64);

/// One of them, until dropped.
pub struct Waiting {
    queue: Arc<Mutex<Queue>>,
    turn: Turn,
    turned_out: CancellationToken,
}

impl Lobby {
    /// An empty one.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, queue: Arc::default() }
    }

    /// Takes one more in.
    pub(crate) fn enter(&self, whose: Whose) -> Waiting {
        let mut queue = lock(&self.queue);
        let mut own = queue.waiting.iter().filter(|(_, (other, _))| *other == whose).map(|(turn, _)| *turn);
        let (first, others) = (own.next(), own.count());
        let first = first.filter(|_| others + 1 >= self.most_of_one);
        let full = queue.waiting.len() >= self.most;
        let goes = first.or_else(|| queue.waiting.keys().next().copied().filter(|_| full));
        if let Some((_, turned_out)) = goes.and_then(|turn| queue.waiting.remove(&turn)) {
            turned_out.cancel();
            counter!("lotline_streams_refused_total", "reason" => "newcomer").increment(1);
        }
        queue.last += 1;
        let (turn, turned_out) = ((matches!(whose, Whose::Known(_)), queue.last), CancellationToken::new());
        queue.waiting.insert(turn, (whose, turned_out.clone()));
        Waiting { queue: Arc::clone(&self.queue), turn, turned_out }
    }
}

impl Waiting {
    /// Cancelled when another one has got the place.
    pub fn turned_out(&self) -> CancellationToken {
        self.turned_out.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.queue).waiting.remove(&self.turn);
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // The queue is changed whole, so it is good even after a panic elsewhere.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(last: u8) -> Whose {
        Whose::Stranger([192, 0, 2, last].into())
    }

    fn out(waiting: &[&Waiting]) -> Vec<bool> {
        waiting.iter().map(|waiting| waiting.turned_out.is_cancelled()).collect()
    }

    #[test]
    fn an_address_pushes_out_its_own() {
        let lobby = Lobby::new(4, 2);
        let (other, first, second) = (lobby.enter(stranger(2)), lobby.enter(stranger(1)), lobby.enter(stranger(1)));
        let third = lobby.enter(stranger(1));
        assert_eq!(out(&[&other, &first, &second, &third]), [false, true, false, false]);
        drop(second);
        let fourth = lobby.enter(stranger(1));
        assert_eq!(out(&[&other, &third, &fourth]), [false, false, false], "whoever leaves makes room");
        drop((first, other, third, fourth));
        assert!(lock(&lobby.queue).waiting.is_empty(), "and is forgotten");
    }

    #[test]
    fn when_all_places_are_taken_the_stranger_who_has_waited_longest_goes() {
        let lobby = Lobby::new(3, 2);
        let known = lobby.enter(Whose::Known(ActorId::new("ann").unwrap()));
        let (one, two, three) = (lobby.enter(stranger(1)), lobby.enter(stranger(2)), lobby.enter(stranger(3)));
        assert_eq!(out(&[&known, &one, &two, &three]), [false, true, false, false]);
        let four = lobby.enter(stranger(4));
        assert_eq!(out(&[&known, &two, &three, &four]), [false, true, false, false]);
        assert_eq!(lock(&lobby.queue).waiting.len(), 3);
    }
}
