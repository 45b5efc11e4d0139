//! The fuzz targets, run for a bounded time on every change: mutations of good inputs, by a seed that is printed with what it finds.
//!
//! Half of the rounds are the same each time, half are new. What is found becomes a test of its own in `fuzzing/kept.rs`. More of it:
//! `LOTLINE_FUZZ_ROUNDS=2000000 cargo test --workspace --test fuzzing`, and with `LOTLINE_FUZZ_SEED` the same again.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use lotline_domain::position::Position;
use lotline_tests::fuzz::{self, TARGETS, Target};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[path = "fuzzing/kept.rs"]
mod kept;
#[path = "fuzzing/mutate.rs"]
mod mutate;
#[path = "fuzzing/seeds.rs"]
mod seeds;

use seeds::Form;

/// Rounds of each target unless said otherwise: a few seconds in all.
const ROUNDS: u64 = 6_000;

/// An input at which a target broke its promise.
#[derive(Debug)]
struct Finding {
    seed: u64,
    input: Vec<u8>,
    said: String,
}

fn survives(target: impl Fn(&[u8]), input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default()
    })
}

/// Mutates the seeds, sometimes as they are written and sometimes what is within them.
fn hunt(target: impl Fn(&[u8]), forms: &[Form], seed: u64, rounds: u64) -> Result<(), Finding> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let found = |input: &[u8]| survives(&target, input).map_err(|said| Finding { seed, input: input.to_vec(), said });
    for form in forms {
        found(&form.written(&form.inner))?;
    }
    for _ in 0..rounds {
        let form = &forms[rng.random_range(0..forms.len())];
        let other = &forms[rng.random_range(0..forms.len())];
        let mut inner = form.inner.clone();
        if rng.random_bool(0.7) {
            mutate::several(&mut inner, &other.inner, &mut rng);
        }
        let mut input = form.written(&inner);
        if rng.random_bool(0.4) {
            mutate::several(&mut input, &other.written(&other.inner), &mut rng);
        }
        found(&input)?;
    }
    Ok(())
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn run(name: &str, target: Target) {
    let rounds = setting("LOTLINE_FUZZ_ROUNDS").unwrap_or(ROUNDS);
    let chosen = setting("LOTLINE_FUZZ_SEED").map(|seed| vec![seed]);
    for seed in chosen.unwrap_or_else(|| vec![1, rand::random()]) {
        if let Err(Finding { seed, input, said }) = hunt(target, &seeds::of(name), seed, rounds / 2) {
            panic!(
                "{name} breaks at {} bytes, seed {seed}: {said}\nkeep it in fuzzing/kept.rs: {}",
                input.len(),
                hex::encode(&input)
            );
        }
    }
}

#[test]
fn what_comes_from_outside_is_read_or_refused() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, move || run(name, target)).unwrap();
        }
    });
}

/// Else nothing behind the first look at an input is reached by any mutation of it.
#[test]
fn every_seed_is_taken() {
    for (name, _) in TARGETS {
        let forms = seeds::of(name);
        assert!(forms.len() > 1, "{name} has too few seeds");
        for form in forms {
            let input = form.written(&form.inner);
            assert!(seeds::is_taken(name, &input), "{name} refuses its seed {}", String::from_utf8_lossy(&input));
        }
    }
}

/// A decoder with a fault that few inputs reach is found out, with an input that shows it again.
#[test]
fn a_planted_fault_is_found() {
    let faulty = |data: &[u8]| {
        fuzz::position(data);
        let position = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Position>().ok());
        let last = position.and_then(|position| position.iter().last());
        assert!(last.is_none_or(|(_, partition, next)| partition < 1_000 || next == 0), "planted");
    };
    let found = (0..20).find_map(|seed| hunt(faulty, &seeds::of("position"), seed, ROUNDS).err());
    let found = found.expect("120,000 rounds find it");
    assert_eq!((found.said.as_str(), survives(faulty, &found.input).unwrap_err().as_str()), ("planted", "planted"));
    assert!(survives(fuzz::position, &found.input).is_ok(), "the fault is the planted one: {found:?}");
}
