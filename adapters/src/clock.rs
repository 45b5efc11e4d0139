//! The system's clock and fresh identifiers: the one place that reads the time and asks for randomness.

use std::sync::{Mutex, PoisonError};

use lotline_domain::port::{Clock, Ids};
use lotline_domain::timestamp::Timestamp;
use rand::TryRngCore;
use rand::rngs::OsRng;
use uuid::{Builder, Uuid};

/// The operating system's clock, UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everything else is told to ask")]
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }
}

/// How far the clock may step back before new ids follow it. Smaller steps are bridged, so that ids stay in order.
const BRIDGED_MS: u64 = 1_000;

/// Counter values within one millisecond: the 12 bits of `rand_a`.
const COUNTER_LIMIT: u16 = 1 << 12;

/// UUIDv7 (RFC 9562 section 5.7) with a counter in `rand_a` (section 6.2, method 1) and 62 random bits.
///
/// Invariant: ids of one instance grow, unless the clock steps back by more than a second. Ids of a millisecond beyond what the counter
/// holds take the next one.
#[derive(Debug, Default)]
pub struct RandomIds {
    last: Mutex<Tick>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tick {
    millis: u64,
    counter: u16,
}

impl Ids for RandomIds {
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let random = random_bytes::<10>();
        let seed = u16::from_be_bytes([random[8], random[9]]) % (COUNTER_LIMIT / 2);
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        let tick = {
            // A tick is replaced as a whole, so it is good even after a panic elsewhere.
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = last.following(millis, seed);
            *last
        };
        let mut bytes = [0_u8; 10];
        bytes[..2].copy_from_slice(&tick.counter.to_be_bytes());
        bytes[2..].copy_from_slice(&random[..8]);
        Builder::from_unix_timestamp_millis(tick.millis, &bytes).into_uuid()
    }
}

impl Tick {
    /// `seed` leaves half of the counter to count.
    fn following(self, millis: u64, seed: u16) -> Self {
        if millis > self.millis || millis + BRIDGED_MS < self.millis {
            return Self { millis, counter: seed };
        }
        match self.counter + 1 {
            COUNTER_LIMIT => Self { millis: self.millis + 1, counter: seed },
            counter => Self { millis: self.millis, counter },
        }
    }
}

/// Bytes from the operating system's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("invariant: the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lotline_domain::id::CommandId;

    use super::*;

    #[test]
    fn ids_carry_their_time_and_grow() {
        let ids = RandomIds::default();
        let now = Timestamp::from_millis(1_700_000_000_123);
        let made: Vec<_> = (0..3_000).map(|_| ids.uuid_v7(now)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "in order");
        assert!(made.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert_eq!(CommandId(made[0]).time(), Some(now));
        let spread = CommandId(made[2_999]).time().unwrap().millis() - now.millis();
        assert!((0..=1).contains(&spread), "{spread} ms ahead");
    }

    #[test]
    fn a_small_step_back_is_bridged_and_a_large_one_followed() {
        let ids = RandomIds::default();
        let at = |millis| ids.uuid_v7(Timestamp::from_millis(millis));
        let first = at(10_000);
        let bridged = at(9_500);
        assert!(bridged > first);
        assert_eq!(CommandId(at(5_000)).time(), Some(Timestamp::from_millis(5_000)));
        assert_eq!(
            CommandId(RandomIds::default().uuid_v7(Timestamp::from_millis(-1))).time(),
            Some(Timestamp::from_millis(0))
        );
    }

    #[test]
    fn threads_and_instances_never_share_an_id() {
        let (one, other) = (RandomIds::default(), RandomIds::default());
        let now = SystemClock.now();
        let made = std::thread::scope(|scope| {
            let makers: Vec<_> = [&one, &one, &other]
                .map(|ids| scope.spawn(move || (0..1_000).map(|_| ids.uuid_v7(now)).collect::<Vec<_>>()))
                .into();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect::<BTreeSet<_>>()
        });
        assert_eq!(made.len(), 3_000);
    }

    #[test]
    fn the_clock_is_of_this_century() {
        let now = SystemClock.now();
        assert!(now > Timestamp::parse("2025-01-01T00:00:00Z").unwrap());
        assert!(now < Timestamp::parse("2100-01-01T00:00:00Z").unwrap());
    }
}
