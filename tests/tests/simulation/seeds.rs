//! Runs worlds by their seeds, on both cores, and says how to run a failing one again.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::check::check;
use crate::mutations::Mutation;
use crate::world::{Remains, Tally, play};

/// Seeds of every run.
const SEEDS: Range<u64> = 11_200..13_000;

/// Seeds that once failed, with what they had found. They run first, and always.
const NAMED: &[(u64, &str)] = &[
    (859, "a later announcement of a node that does not write hid the writer for good"),
    (1_233, "the same, with one partition and all commands waiting for it"),
    (
        10_698,
        "a node whose idle writer of the tenant's partition had been fenced learned nothing more of the tenant, and its recovery waited for it",
    ),
];

/// Seeds named before there were operations on lots keep the worlds in which they failed.
pub(crate) fn has_operations(seed: u64) -> bool {
    ![859, 1_233, 10_698].contains(&seed)
}

/// Reasons to refuse that clients can run into.
const CODES: usize = 38;

/// Lets the world of a seed be and checks what is left of it.
///
/// # Errors
/// What was found.
pub(crate) fn run(seed: u64, mutation: Option<Mutation>) -> Result<Remains, String> {
    let lived = catch_unwind(AssertUnwindSafe(|| live(seed, "dairy".to_owned(), mutation)));
    let remains = lived.unwrap_or_else(|panic| Err(format!("panicked: {}", text(panic.as_ref()))))?;
    // What is wrong in the log tells more than that somebody waits for ever because of it.
    check(&remains)?;
    remains.stuck.clone().map_or(Ok(remains), Err)
}

pub(crate) fn live(seed: u64, tenant: String, mutation: Option<Mutation>) -> Result<Remains, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(play(seed, tenant, mutation))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no reason")
}

/// `LOTLINE_SEEDS=from..to`, or all.
fn seeds() -> Range<u64> {
    let Ok(given) = std::env::var("LOTLINE_SEEDS") else { return SEEDS };
    let (from, to) = given.split_once("..").expect("LOTLINE_SEEDS is from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn run_all(seeds: &[u64]) -> (Vec<(u64, String)>, Vec<Tally>) {
    let (next, failed, tallies) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            match run(*seed, None) {
                Ok(remains) => tallies.lock().expect("nothing panics under this lock").push(remains.tally),
                Err(wrong) => failed.lock().expect("nothing panics under this lock").push((*seed, wrong)),
            }
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(work);
        threads.spawn(work);
    });
    (failed.into_inner().expect("no panic"), tallies.into_inner().expect("no panic"))
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_against_the_rules() {
    let named = NAMED.iter().map(|(seed, _)| *seed);
    let seeds: Vec<u64> = named.chain(seeds()).collect();
    let (failed, tallies) = run_all(&seeds);
    for (seed, wrong) in &failed {
        println!("seed {seed} fails: {wrong}");
        println!("  again: LOTLINE_SEEDS={seed}..{} cargo test --workspace --test simulation -- nothing_ack", seed + 1);
    }
    assert!(failed.is_empty(), "{} of {} seeds fail; they are named above", failed.len(), seeds.len());
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let counts = [
        ("crashes", sum(|tally| tally.crashes)),
        ("pauses", sum(|tally| tally.pauses)),
        ("moves", sum(|tally| tally.moves)),
        ("clock jumps", sum(|tally| tally.jumps)),
        ("takeovers", sum(|tally| tally.takeovers)),
        ("appends of unknown outcome", sum(|tally| tally.unsure)),
        ("doubled commands", sum(|tally| tally.doubled)),
        ("slow reads", sum(|tally| tally.slow_reads)),
        ("snapshots", sum(|tally| tally.snapshots)),
        ("forwarded", sum(|tally| tally.forwarded)),
        ("retries", sum(|tally| tally.retries)),
        ("accepted", sum(|tally| tally.accepted)),
        // Of a few commands in each world, some make lots out of lots.
        ("transformed", sum(|tally| tally.transformed) * 6),
        ("received", sum(|tally| tally.received) * 40),
        ("shipped", sum(|tally| tally.shipped) * 200),
        ("refused", sum(|tally| tally.codes.values().sum())),
        ("answered again", sum(|tally| tally.replayed)),
    ];
    // Each of them is one of four fates of an append.
    let fates =
        [("lost acknowledgements", sum(|tally| tally.lost_answers)), ("late appends", sum(|tally| tally.late_appends))];
    println!("{} seeds: {counts:?}, {fates:?}", seeds.len());
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in tallies.iter().flat_map(|tally| &tally.codes) {
        *codes.entry(code).or_default() += count;
    }
    println!("refused with {codes:?}");
    assert!(codes.len() >= CODES || seeds.len() < 500, "of {CODES} reasons to refuse only {} were met", codes.len());
    for (what, count) in counts.into_iter().chain(fates.map(|(what, count)| (what, count * 4))) {
        assert!(count as usize >= seeds.len() || seeds.len() < 500, "hardly anything happens: {count} {what}");
    }
}

/// Without this a seed would name nothing.
#[test]
fn the_same_seed_gives_the_same_log_to_the_byte() {
    for seed in 0..60 {
        let (one, other) = (run(seed, None), run(seed, None));
        let (one, other) = (one.expect("the seed holds"), other.expect("the seed holds"));
        assert_eq!(one.records, other.records, "seed {seed}");
        assert_eq!(one.book.told, other.book.told, "seed {seed}");
    }
}
