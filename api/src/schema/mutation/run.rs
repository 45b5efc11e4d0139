//! `startRun`, `advanceRun`, `holdRun`, `resumeRun`, `completeRun`, `abortRun`, `linkLotToRun`, `unlinkLotFromRun`, `decideGate`.

use async_graphql::{Context, Error, ID, InputObject, Object, OneofObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::Command;
use lotline_domain::id::{QcDecisionId, RunId, ScenarioId};
use lotline_domain::qc::QcOutcome as DomainOutcome;
use lotline_domain::run::command::{DecideGate, RunCommand, RunRef};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::LotReferenceInput;
use super::qc::{ChecklistAnswerInput, MeasurementInput, check_notes, seal};
use crate::schema::global_id::{self, NodeId};
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::qc::QcOutcome;
use crate::schema::run::Run;
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// Names a run.
#[derive(OneofObject, Debug)]
pub enum RunReferenceInput {
    /// By global id.
    Id(ID),
    /// By code, within the site of the command.
    Code(String),
}

impl RunReferenceInput {
    fn resolve(self) -> Result<RunRef, UserError> {
        match self {
            Self::Id(id) => {
                global_id::run("run", &id).map(|id| RunRef::Id(RunId(id))).map_err(|error| UserError::id("run", &error))
            }
            Self::Code(code) => Ok(RunRef::Code(code)),
        }
    }
}

/// Declares an input of a command about runs: the fields that all of them have, then its own.
macro_rules! run_input {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[doc = $doc])*
        #[derive(InputObject, Debug)]
        pub struct $name {
            /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
            pub idempotency_key: Uuid,
            /// Refuse unless this is the run's version; 0 for one that is new.
            pub expected_version: Option<Version>,
            /// When it happened in the world; now when absent.
            pub occurred_at: Option<DateTime<Utc>>,
            /// Why.
            pub reason: Option<String>,
            /// The plant.
            pub site: String,
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl $name {
            fn given(&mut self) -> Given {
                Given {
                    key: self.idempotency_key,
                    expected_version: self.expected_version,
                    occurred_at: self.occurred_at,
                    reason: self.reason.take(),
                }
            }
        }
    };
}

run_input! {
    /// A run to start, of the newest version of a scenario.
    StartRunInput {
        /// Global id of the scenario.
        scenario_id: ID,
        /// The version that was seen; refused when there is a newer one.
        version: Option<u32>,
        /// Unique in the site, at most 48 characters. When absent: R-, the day in UTC on which the run starts, and a number, such as R-20261121-01.
        code: Option<String>,
    }
}
run_input! {
    /// A run to let into its next phase.
    AdvanceRunInput {
        /// The run.
        run: RunReferenceInput,
        /// The phase that was seen. Of two who advance from the same one, the second is refused.
        from_phase: u32,
    }
}
run_input! {
    /// A run to stop for a while, with a reason.
    HoldRunInput {
        /// The run.
        run: RunReferenceInput,
    }
}
run_input! {
    /// A run to go on.
    ResumeRunInput {
        /// The run.
        run: RunReferenceInput,
    }
}
run_input! {
    /// A run that is done, after its last phase.
    CompleteRunInput {
        /// The run.
        run: RunReferenceInput,
    }
}
run_input! {
    /// A run to give up, with a reason.
    AbortRunInput {
        /// The run.
        run: RunReferenceInput,
    }
}
run_input! {
    /// A lot to belong to the phase in which a run is.
    LinkLotToRunInput {
        /// The run.
        run: RunReferenceInput,
        /// The lot, of the same site.
        lot: LotReferenceInput,
    }
}
run_input! {
    /// A lot to belong to a run no more, with a reason.
    UnlinkLotFromRunInput {
        /// The run.
        run: RunReferenceInput,
        /// The lot, of the same site.
        lot: LotReferenceInput,
    }
}
run_input! {
    /// A decision at a gate of a run.
    DecideGateInput {
        /// The run.
        run: RunReferenceInput,
        /// Key of the gate.
        gate: String,
        /// The lot, where the gate judges lots.
        lot: Option<LotReferenceInput>,
        /// The verdict.
        outcome: QcOutcome,
        /// UUID of the decision in force, where there is one.
        replaces: Option<Uuid>,
        /// What was measured, by the names of the gate's limits; at most 200.
        #[graphql(default)]
        measurements: Vec<MeasurementInput>,
        /// What was answered, by the keys of the gate's checklist; at most 200.
        #[graphql(default)]
        checklist: Vec<ChecklistAnswerInput>,
        /// Free text about people and things, at most 4,000 characters. Kept encrypted under the actor's key, and erased with it.
        notes: Option<String>,
    }
}

payload! {
    /// What became of a change of a run.
    RunPayload {
        /// Global id of the run; null when refused.
        async fn run_id(&self) -> Option<ID> {
            let id = subject(&self.0.receipt()?.subject)?;
            Some(NodeId::Run(id.0).encode())
        }

        /// The run, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Runs]).await? else { return Ok(None) };
            let Some(id) = subject(&receipt.subject) else { return Ok(None) };
            let (run, sight) = (Run::load(scope, id.0).await?, scope.sight()?);
            Ok(run.filter(|run| sight.may_at(Permission::LookUp, &run.0.site)))
        }
    }
}

payload! {
    /// What became of a decision at a gate.
    DecideGatePayload {
        /// UUID of the decision: what a later one has to name to replace it. Null when refused.
        async fn decision_id(&self) -> Option<Uuid> {
            if let Subject::QcDecision(id) = &self.0.receipt()?.subject { Some(id.0) } else { None }
        }
    }
}

fn subject(subject: &Subject) -> Option<RunId> {
    if let Subject::Run(id) = subject { Some(*id) } else { None }
}

async fn send(
    ctx: &Context<'_>,
    site: &str,
    given: Given,
    command: Result<RunCommand, UserError>,
) -> Result<RunPayload, Error> {
    match site_stream(site).and_then(|stream| Ok((stream, command?))) {
        Ok((stream, command)) => submit(Scope::of(ctx), stream, given, Command::Run(command)).await.map(RunPayload),
        Err(error) => Ok(RunPayload(Outcome::Refused(error, None))),
    }
}

/// Runs.
#[derive(Default)]
pub struct RunMutation;

#[Object]
impl RunMutation {
    /// Starts a run in phase 0. It keeps the version of the scenario that is the newest then.
    async fn start_run(&self, ctx: &Context<'_>, mut input: StartRunInput) -> Result<RunPayload, Error> {
        let (given, version, code) = (input.given(), input.version, input.code);
        let id = global_id::scenario("scenarioId", &input.scenario_id).map(ScenarioId);
        let id = id.map_err(|error| UserError::id("scenarioId", &error));
        let command = id.map(|scenario_id| RunCommand::StartRun { scenario_id, version, code });
        send(ctx, &input.site, given, command).await
    }

    /// Lets a run into its next phase. Refused while a blocking gate at or before its phase has no PASS.
    async fn advance_run(&self, ctx: &Context<'_>, mut input: AdvanceRunInput) -> Result<RunPayload, Error> {
        let (given, from_phase) = (input.given(), input.from_phase);
        let command = input.run.resolve().map(|run| RunCommand::AdvancePhase { run, from_phase });
        send(ctx, &input.site, given, command).await
    }

    /// Stops a run for a while.
    async fn hold_run(&self, ctx: &Context<'_>, mut input: HoldRunInput) -> Result<RunPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, input.run.resolve().map(|run| RunCommand::HoldRun { run })).await
    }

    /// Lets a run go on.
    async fn resume_run(&self, ctx: &Context<'_>, mut input: ResumeRunInput) -> Result<RunPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, input.run.resolve().map(|run| RunCommand::ResumeRun { run })).await
    }

    /// Completes a run in its last phase, with a summary. Refused while a blocking gate has no PASS.
    async fn complete_run(&self, ctx: &Context<'_>, mut input: CompleteRunInput) -> Result<RunPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, input.run.resolve().map(|run| RunCommand::CompleteRun { run })).await
    }

    /// Gives a run up.
    async fn abort_run(&self, ctx: &Context<'_>, mut input: AbortRunInput) -> Result<RunPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, input.run.resolve().map(|run| RunCommand::AbortRun { run })).await
    }

    /// Has a lot belong to the phase in which a run is. A lot belongs to one run that goes on at most.
    async fn link_lot_to_run(&self, ctx: &Context<'_>, mut input: LinkLotToRunInput) -> Result<RunPayload, Error> {
        let given = input.given();
        let names = input.run.resolve().and_then(|run| Ok((run, input.lot.resolve("lot")?)));
        send(ctx, &input.site, given, names.map(|(run, lot)| RunCommand::LinkLot { run, lot })).await
    }

    /// Has a lot belong to a run no more.
    async fn unlink_lot_from_run(
        &self,
        ctx: &Context<'_>,
        mut input: UnlinkLotFromRunInput,
    ) -> Result<RunPayload, Error> {
        let given = input.given();
        let names = input.run.resolve().and_then(|run| Ok((run, input.lot.resolve("lot")?)));
        send(ctx, &input.site, given, names.map(|(run, lot)| RunCommand::UnlinkLot { run, lot })).await
    }

    /// Decides a gate of a run, for the run or for one of its lots. A PASS needs all required answers and a value within each limit.
    async fn decide_gate(&self, ctx: &Context<'_>, mut input: DecideGateInput) -> Result<DecideGatePayload, Error> {
        let (scope, given) = (Scope::of(ctx), input.given());
        let notes = input.notes.take().filter(|text| !text.trim().is_empty());
        let prepared = site_stream(&input.site).and_then(|stream| {
            check_notes(notes.as_deref())?;
            Ok((stream, decision(input)?))
        });
        let (stream, mut command) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(DecideGatePayload(Outcome::Refused(error, None))),
        };
        if let Some(notes) = notes {
            command.notes = Some(seal(scope, &stream, given.key, &notes).await?);
        }
        let command = Command::Run(RunCommand::DecideGate(command));
        submit(scope, stream, given, command).await.map(DecideGatePayload)
    }
}

fn decision(input: DecideGateInput) -> Result<DecideGate, UserError> {
    Ok(DecideGate {
        run: input.run.resolve()?,
        gate: input.gate,
        lot: input.lot.map(|lot| lot.resolve("lot")).transpose()?,
        outcome: DomainOutcome::from(input.outcome),
        replaces: input.replaces.map(QcDecisionId),
        measurements: input.measurements.into_iter().map(Into::into).collect(),
        checklist: input.checklist.into_iter().map(Into::into).collect(),
        notes: None,
    })
}
