//! The buffer's files through crashes, caps and damage.

use proptest::prelude::*;

use super::super::scratch::Scratch;
use super::*;

const EPOCH: Uuid = Uuid::from_u128(0xE90C);

fn options(dir: &Path) -> StoreOptions {
    StoreOptions { dir: dir.to_owned(), max_bytes: 1 << 20, segment_bytes: 200 }
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir), EPOCH).unwrap()
}

fn payload(sequence: u64) -> Vec<u8> {
    (0..=sequence % 40).map(|byte| (sequence + byte) as u8).collect()
}

fn fill(store: &mut Store, count: u64) {
    for _ in 0..count {
        let next = store.next_sequence();
        store.append(&[payload(next)]).unwrap();
    }
}

/// Reads all there is and checks that each payload is the one appended under its sequence.
fn drain(store: &mut Store) -> Vec<u64> {
    let mut sequences = Vec::new();
    loop {
        let entries = store.read(7, 100).unwrap();
        if entries.is_empty() {
            return sequences;
        }
        for entry in entries {
            assert_eq!(entry.payload, payload(entry.sequence));
            sequences.push(entry.sequence);
        }
    }
}

fn newest(dir: &Path) -> PathBuf {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.into_iter().max().unwrap()
}

#[test]
fn entries_survive_in_order_over_many_segments() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 100);
    assert!(store.segments.len() > 5);
    assert_eq!(drain(&mut store), (1..=100).collect::<Vec<_>>());
    drop(store);
    let mut store = Store::open(options(&dir), Uuid::from_u128(1)).unwrap();
    assert_eq!((store.epoch(), store.next_sequence(), store.cursor()), (EPOCH, 101, 1));
    assert_eq!(drain(&mut store), (1..=100).collect::<Vec<_>>());
    fill(&mut store, 3);
    assert_eq!(drain(&mut store), [101, 102, 103]);
}

#[test]
fn a_tail_cut_at_any_byte_loses_only_itself() {
    let dir = Scratch::new();
    let mut store = Store::open(StoreOptions { segment_bytes: 1 << 20, ..options(&dir) }, EPOCH).unwrap();
    fill(&mut store, 5);
    let fsynced = store.active_segment().bytes;
    fill(&mut store, 1);
    let end = store.active_segment().bytes;
    drop(store);
    let path = newest(&dir);
    let whole = fs::read(&path).unwrap();
    for cut in fsynced..end {
        fs::write(&path, &whole[..cut as usize]).unwrap();
        let mut store = open(&dir);
        assert_eq!((store.next_sequence(), drain(&mut store)), (6, vec![1, 2, 3, 4, 5]), "cut at {cut}");
        fill(&mut store, 1);
        assert_eq!(drain(&mut store), [6]);
        drop(store);
        // The same tail, but with the right length and blocks that never reached the disk.
        let mut zeroed = whole.clone();
        zeroed[cut as usize..].fill(0);
        if zeroed != whole {
            fs::write(&path, &zeroed).unwrap();
            let mut store = open(&dir);
            assert_eq!(drain(&mut store), [1, 2, 3, 4, 5], "zeroed from {cut}");
        }
    }
}

#[test]
fn a_segment_cut_within_its_header_begins_anew_with_its_sequence() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    while store.active_segment().base == 1 {
        fill(&mut store, 1);
    }
    let base = store.active_segment().base;
    drop(store);
    for cut in 0..HEADER_BYTES {
        let file = OpenOptions::new().write(true).open(newest(&dir)).unwrap();
        file.set_len(cut as u64).unwrap();
        let mut store = open(&dir);
        assert_eq!((store.next_sequence(), drain(&mut store)), (base, (1..base).collect::<Vec<_>>()));
    }
}

#[test]
fn the_cursor_survives_and_frees_what_lies_before_it() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 100);
    let before = store.bytes();
    store.acknowledge(60).unwrap();
    store.acknowledge(10).unwrap();
    assert!(store.bytes() < before);
    drop(store);
    let mut store = open(&dir);
    assert_eq!((store.cursor(), drain(&mut store)), (60, (60..=100).collect::<Vec<_>>()));
    store.acknowledge(101).unwrap();
    drop(store);
    let mut store = open(&dir);
    assert_eq!((store.next_sequence(), drain(&mut store).len(), store.lost()), (101, 0, 0));
    store.acknowledge(u64::MAX).unwrap();
    assert_eq!(store.cursor(), 101, "what was not appended can't be acknowledged");
}

#[test]
fn what_was_acknowledged_goes_even_when_the_cursor_finds_no_room() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 100);
    let before = store.bytes();
    // The new cursor's name is taken, so it can't be written.
    fs::create_dir(dir.join("cursor.new")).unwrap();
    store.acknowledge(90).unwrap_err();
    assert!(store.bytes() * 4 < before, "{} of {before} bytes are left", store.bytes());
    drop(store);
    let mut store = open(&dir);
    let (cursor, oldest) = (store.cursor(), store.segments[0].base);
    assert_eq!(cursor, oldest, "published again from there");
    assert_eq!(drain(&mut store), (oldest..=100).collect::<Vec<_>>());
}

#[test]
fn a_damaged_cursor_publishes_again_rather_than_never() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 4);
    store.acknowledge(4).unwrap();
    drop(store);
    for damage in ["", "4", "4 00000000\n", "5 zz\n"] {
        fs::write(dir.join("cursor"), damage).unwrap();
        assert_eq!(drain(&mut open(&dir)), [1, 2, 3, 4], "{damage:?}");
    }
}

#[test]
fn sequences_that_were_acknowledged_are_never_used_again() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 4);
    store.acknowledge(5).unwrap();
    drop(store);
    // A file system that loses what it had fsynced.
    fs::remove_file(newest(&dir)).unwrap();
    let mut store = open(&dir);
    assert_eq!(store.next_sequence(), 5);
    drop(store);
    let old = recovery::create_segment(&dir, EPOCH, 1).unwrap();
    fs::remove_file(newest(&dir)).unwrap();
    drop(old);
    store = open(&dir);
    fill(&mut store, 1);
    assert_eq!(drain(&mut store), [5]);
}

#[test]
fn beyond_the_cap_the_oldest_go_and_are_counted() {
    let dir = Scratch::new();
    let mut store = Store::open(StoreOptions { max_bytes: 1_000, ..options(&dir) }, EPOCH).unwrap();
    fill(&mut store, 10);
    assert_eq!(store.read(2, usize::MAX).unwrap().len(), 2);
    fill(&mut store, 190);
    assert!(store.bytes() <= 1_000);
    let kept = drain(&mut store);
    assert_eq!(*kept.last().unwrap(), 200);
    assert_eq!(store.lost() + kept.len() as u64, 200);
    assert_eq!(store.cursor(), kept[0]);
    // Entries that had been acknowledged are not lost when their segment goes.
    let lost = store.lost();
    store.acknowledge(201).unwrap();
    fill(&mut store, 5);
    assert_eq!((store.lost(), drain(&mut store).len()), (lost, 5));
}

#[test]
fn damage_in_the_middle_costs_the_rest_of_its_segment_and_is_counted() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 60);
    let (first, second) = (&store.segments[1], &store.segments[2]);
    let (path, base, end) = (first.path.clone(), first.base, second.base);
    let mut contents = fs::read(&path).unwrap();
    contents[HEADER_BYTES + ENTRY_BYTES] ^= 1;
    fs::write(&path, contents).unwrap();
    let expected: Vec<u64> = (1..base).chain(end..=60).collect();
    assert_eq!(drain(&mut store), expected);
    assert_eq!(store.lost(), end - base);
}

#[test]
fn a_second_process_and_foreign_files_are_refused() {
    let dir = Scratch::new();
    let store = open(&dir);
    assert!(matches!(Store::open(options(&dir), EPOCH), Err(BufferError::InUse(_))));
    drop(store);
    let other = dir.join("00000000000000000900.seg");
    fs::write(&other, segment::header(Uuid::from_u128(9), 900)).unwrap();
    assert!(matches!(Store::open(options(&dir), EPOCH), Err(BufferError::Foreign(path)) if path == other));
    fs::remove_file(other).unwrap();
    fs::write(dir.join("epoch"), "hello").unwrap();
    assert!(matches!(Store::open(options(&dir), EPOCH), Err(BufferError::Foreign(_))));
}

#[test]
fn a_failed_write_is_tried_again_in_a_fresh_segment() {
    let dir = Scratch::new();
    let mut store = open(&dir);
    fill(&mut store, 2);
    // A handle that can't write stands for a disk that won't.
    store.active = File::open(newest(&dir)).unwrap();
    assert!(store.append(&[payload(3)]).is_err());
    assert_eq!((store.next_sequence(), store.read(10, 1_000).unwrap().len()), (3, 2));
    fill(&mut store, 2);
    assert_eq!(drain(&mut store), [3, 4]);
    drop(store);
    assert_eq!(drain(&mut open(&dir)), [1, 2, 3, 4]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Read(usize, usize),
    Acknowledge,
    Crash(usize),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_usize).prop_map(Step::Append),
        4 => (1..9_usize, 1..200_usize).prop_map(|(entries, bytes)| Step::Read(entries, bytes)),
        2 => Just(Step::Acknowledge),
        1 => (0..40_usize).prop_map(Step::Crash),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a plain model: next is what was appended, reading goes on from the cursor after a restart, garbage behind the
    /// last fsync is no entry.
    #[test]
    fn any_life_of_a_buffer_loses_and_invents_nothing(steps in prop::collection::vec(any_step(), 1..60)) {
        let dir = Scratch::new();
        let mut store = open(&dir);
        let (mut next, mut cursor, mut read) = (1, 1, 1);
        for step in steps {
            match step {
                Step::Append(count) => {
                    let payloads: Vec<_> = (next..next + count as u64).map(payload).collect();
                    store.append(&payloads).unwrap();
                    next += count as u64;
                }
                Step::Read(max_entries, max_bytes) => {
                    let entries = store.read(max_entries, max_bytes).unwrap();
                    prop_assert!(entries.len() <= max_entries && (read == next || !entries.is_empty()));
                    for entry in entries {
                        prop_assert_eq!((entry.sequence, entry.payload.to_vec()), (read, payload(read)));
                        read += 1;
                    }
                }
                Step::Acknowledge => {
                    store.acknowledge(read).unwrap();
                    cursor = read;
                }
                Step::Crash(garbage) => {
                    drop(store);
                    let path = newest(&dir);
                    let mut contents = fs::read(&path).unwrap();
                    contents.extend((0..garbage).map(|byte| byte as u8 ^ 0x5A));
                    fs::write(&path, contents).unwrap();
                    store = open(&dir);
                    read = cursor;
                }
                Step::Reopen => {
                    drop(store);
                    store = open(&dir);
                    read = cursor;
                }
            }
            prop_assert_eq!((store.next_sequence(), store.cursor(), store.lost()), (next, cursor, 0));
        }
    }
}
