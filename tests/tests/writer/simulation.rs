//! Random commands, faults and restarts by seed: what was acknowledged stands in the log exactly once, whatever happens.

use std::collections::BTreeMap;

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_commands::bus::{Receipt, SubmitError};
use lotline_domain::command::CommandRequest;
use lotline_domain::event::Event;
use lotline_domain::id::CommandId;
use lotline_domain::qc::QcOutcome;
use lotline_domain::state::Subject;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::stand::{MINUTE, Process, Stand, answer, draft, judge, register, site};

const PARTITIONS: u32 = 2;

/// What a client was told.
#[derive(Default)]
struct Told {
    accepted: BTreeMap<CommandId, (Subject, u64)>,
    refused: BTreeMap<CommandId, String>,
}

fn random_request(stand: &Stand, rng: &mut SmallRng) -> CommandRequest {
    let code = format!("L{}", rng.random_range(0..12));
    let command = match rng.random_range(0..6) {
        0..3 => register(&code),
        3 => judge(&code, QcOutcome::Hold),
        4 => judge(&code, QcOutcome::Pass),
        _ => draft(&code),
    };
    let mut request = stand.request(command);
    if request.stream == site("north") && rng.random_bool(0.3) {
        request.stream = site("south");
    }
    request
}

fn random_faults(stand: &Stand, rng: &mut SmallRng) {
    for _ in 0..rng.random_range(0..3) {
        let fault = match rng.random_range(0..3) {
            0 => Fault::Lost,
            1 => Fault::Unacknowledged,
            _ => Fault::Gap(rng.random_range(1..4)),
        };
        stand.log.faults().push(fault);
    }
}

fn note(told: &mut Told, request: &CommandRequest, answer: Result<Receipt, SubmitError>) {
    match answer {
        Ok(receipt) => {
            let fact = (receipt.subject, receipt.version);
            let before = told.accepted.insert(request.command_id, fact.clone());
            assert!(before.is_none_or(|before| before == fact), "a retry is told the same");
        }
        Err(SubmitError::Refused { code, .. }) => {
            told.refused.insert(request.command_id, code);
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Submits some commands at once, some of them twice.
async fn burst(stand: &Stand, process: &Process, rng: &mut SmallRng, told: &mut Told) {
    let mut requests = Vec::new();
    for _ in 0..rng.random_range(1..8) {
        let request = random_request(stand, rng);
        if rng.random_bool(0.2) {
            requests.push(request.clone());
        }
        requests.push(request);
    }
    let mut waiting = Vec::new();
    for request in &requests {
        waiting.push(process.begin(request.clone()).await);
    }
    for (request, waiting) in requests.iter().zip(waiting) {
        note(told, request, answer(waiting).await);
    }
}

/// The log against what was told: each acceptance once, each refusal, and nothing that nobody was told of.
async fn compare(stand: &Stand, told: &Told) {
    let mut accepted = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for (envelope, event) in stand.events(partition).await {
            let attributes = envelope.attributes;
            if let Event::CommandRefused(data) = &event {
                refused.insert(attributes.causation_id, data.code.clone());
                continue;
            }
            let subject = Subject::of(&event).expect("every other event has a subject");
            let twice = accepted.insert(attributes.causation_id, (subject, attributes.sequence));
            assert!(twice.is_none(), "no command is decided twice");
        }
    }
    assert_eq!(accepted, told.accepted);
    assert_eq!(refused, told.refused);
}

#[tokio::test]
async fn what_was_acknowledged_stands_in_the_log_once() {
    for seed in 0..40_u64 {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let stand = Stand::on(MemoryLog::new("lotline.dairy.ledger.v1", PARTITIONS));
        let mut process = stand.serve().await;
        let mut told = Told::default();
        for _ in 0..15 {
            random_faults(&stand, &mut rng);
            burst(&stand, &process, &mut rng, &mut told).await;
            stand.clock.forward(rng.random_range(-MINUTE..2 * MINUTE));
            if rng.random_bool(0.2) {
                let successor = stand.serve().await;
                process = successor;
            }
        }
        compare(&stand, &told).await;
        process.stop().await;
    }
}
