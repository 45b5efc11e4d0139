//! The story played against the domain itself: every step is answered as the story says.

use std::collections::{BTreeMap, HashMap};

use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, CommandId, CorrelationId, PipelineId, SiteId, StreamKey, TenantId};
use lotline_domain::qc::QcOutcome;
use lotline_domain::refusal::Refusal;
use lotline_domain::state::StreamState;
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use super::*;

fn story(seed: u64) -> Story {
    Story::new(seed, "0321-1405", NaiveDate::from_ymd_opt(2026, 3, 21).unwrap())
}

/// One site and the tenant's own stream, in memory.
struct Plant {
    site: StreamState,
    tenant: StreamState,
    pipelines: HashMap<String, PipelineId>,
    count: u64,
}

impl Plant {
    fn play(&mut self, step: &Step) -> Result<Event, Refusal> {
        self.count += 1;
        let (stream, command) = self.command(&step.action);
        let now = Timestamp::from_millis(1_800_000_000_000 + self.count as i64);
        let request = CommandRequest {
            tenant: TenantId::new("dairy").unwrap(),
            stream: stream.clone(),
            actor: ActorId::new(step.actor).unwrap(),
            command_id: CommandId(uuid::Builder::from_unix_timestamp_millis(now.millis() as u64, &[1; 10]).into_uuid()),
            correlation_id: CorrelationId(Uuid::nil()),
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason: step.reason.clone(),
            command,
        };
        let state = if stream == StreamKey::Tenant { &mut self.tenant } else { &mut self.site };
        let decision = state.decide(&request, now)?;
        for event in &decision.events {
            state.evolve(event, self.count, now);
            if let Event::PipelineDrafted(drafted) = event {
                self.pipelines.insert(drafted.name.clone(), drafted.pipeline_id);
            }
        }
        // What a decision brings to holds and alerts is not what was asked for.
        let brought = |event: &Event| matches!(event, Event::Hold(_) | Event::Alert(_));
        Ok(decision.events.into_iter().find(|event| !brought(event)).expect("what was asked for is an event"))
    }

    fn command(&self, action: &Action) -> (StreamKey, Command) {
        let site = || StreamKey::Site(SiteId::new("north").unwrap());
        match action.clone() {
            Action::RegisterLot(lot) => (site(), Command::RegisterLot(lot)),
            Action::RecordQcDecision(decision) => (site(), Command::RecordQcDecision(decision)),
            Action::DraftPipeline { name, definition } => {
                (StreamKey::Tenant, Command::DraftPipeline { name, definition })
            }
            Action::RevisePipeline { name, definition } => {
                let pipeline_id = self.pipelines[&name];
                (StreamKey::Tenant, Command::RevisePipeline { pipeline_id, name, definition })
            }
            Action::PublishPipeline { name } => {
                (StreamKey::Tenant, Command::PublishPipeline { pipeline_id: self.pipelines[&name] })
            }
        }
    }
}

#[test]
fn every_step_is_answered_as_the_story_says() {
    for seed in 0..10 {
        let mut plant =
            Plant { site: StreamState::default(), tenant: StreamState::default(), pipelines: HashMap::new(), count: 0 };
        let mut refusals: BTreeMap<&str, u32> = BTreeMap::new();
        let mut events: BTreeMap<String, u32> = BTreeMap::new();
        for step in story(seed).batches(60) {
            match (plant.play(&step), step.expected) {
                (Ok(event), Expected::Accepted) => {
                    let kind = match event {
                        Event::QcDecisionRecorded(decision) => decision.outcome.to_string(),
                        event => event.event_type().to_owned(),
                    };
                    *events.entry(kind).or_default() += 1;
                }
                (Err(refusal), Expected::Refused(code)) => {
                    assert_eq!(refusal.code(), code, "seed {seed}: {refusal}");
                    *refusals.entry(code).or_default() += 1;
                }
                (answer, expected) => panic!("seed {seed}: {expected:?}, but {answer:?} to {step:?}"),
            }
        }
        let outcome = |outcome: QcOutcome| events[&outcome.to_string()];
        assert!(outcome(QcOutcome::Pass) > 5 * outcome(QcOutcome::Hold), "mostly PASS: {events:?}");
        assert!(outcome(QcOutcome::Hold) > 0 && outcome(QcOutcome::Fail) > 0, "{events:?}");
        assert!(events["lotline.pipeline.published.v1"] >= 4, "{events:?}");
        assert!(refusals.len() >= 3 && refusals.values().sum::<u32>() < 60, "{refusals:?}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_run_has_other_codes() {
    let steps = |seed, run: &str| {
        let story = Story::new(seed, run, NaiveDate::from_ymd_opt(2026, 3, 21).unwrap());
        story.batches(5).collect::<Vec<_>>()
    };
    assert_eq!(steps(1, "a"), steps(1, "a"));
    assert_ne!(steps(1, "a"), steps(2, "a"));
    let codes = |run: &str| -> Vec<String> {
        let codes = steps(1, run).into_iter().filter_map(|step| match (step.action, step.expected) {
            (Action::RegisterLot(lot), Expected::Accepted) => Some(lot.code),
            _ => None,
        });
        codes.collect()
    };
    assert!(codes("a").iter().all(|code| !codes("b").contains(code)));
    assert!(codes("a").len() > 20);
}
