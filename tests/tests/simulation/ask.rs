//! What clients ask for, in plain words of their own: the model decides on these without knowing a type of the product's.

use std::collections::BTreeMap;

use lotline_domain::alert::command::AlertCommand;
use lotline_domain::command::{
    Command, CommandRequest, DeclareSignal, ParentInput, QuantityInput, RecordQcDecision, RegisterLot,
};
use lotline_domain::hold::command::{HoldCommand, HoldRef};
use lotline_domain::id::{ActorId, AlertId, CommandId, CorrelationId, PipelineId, StreamKey, TenantId};
use lotline_domain::lot::command::{LotCommand, TransformInput, TransformLots, TransformOutput};
use lotline_domain::lot::event::{AdjustmentDirection, TransformationKind};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::pipeline::{Definition, Edge, Task};
use lotline_domain::qc::QcOutcome;
use lotline_domain::signal::{Address, DataType, ModbusTable, WordOrder};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use crate::dock::Dock;
use crate::process::Process;

/// A quantity as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) value: &'static str,
    pub(crate) unit: &'static str,
}

/// A lot by its code, or by the id that somebody was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LotName {
    Code(String),
    Id(Uuid),
}

/// A graph of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) tasks: Vec<&'static str>,
    pub(crate) edges: Vec<(&'static str, &'static str)>,
}

/// Lots out of lots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transform {
    pub(crate) kind: &'static str,
    pub(crate) inputs: Vec<(LotName, Option<Amount>)>,
    pub(crate) outputs: Vec<(String, Amount)>,
    /// Of what is neither split nor merged.
    pub(crate) product: &'static str,
    pub(crate) loss: Option<Amount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Register {
        code: String,
        amount: Amount,
        parents: Vec<(LotName, Amount)>,
    },
    Judge {
        lot: LotName,
        outcome: &'static str,
    },
    Transform(Transform),
    /// `increase`, `decrease`, `scrap`, `sample` or `move`.
    Take {
        lot: LotName,
        how: &'static str,
        amount: Option<Amount>,
    },
    Draft {
        name: String,
        graph: Graph,
    },
    Revise {
        pipeline: Uuid,
        name: String,
        graph: Graph,
    },
    Publish {
        pipeline: Uuid,
    },
    Archive {
        pipeline: Uuid,
    },
    Declare {
        name: String,
    },
    /// `acknowledge` or `resolve`.
    SeeTo {
        alert: Uuid,
        how: &'static str,
    },
    Process(Process),
    Dock(Dock),
    Hold(Holding),
}

/// A hold by its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holding {
    Place { lots: Vec<LotName> },
    Release { hold: String },
    ReleaseLots { hold: String, lots: Vec<LotName> },
}

/// One command of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) stream: String,
    pub(crate) actor: String,
    pub(crate) id: Uuid,
    pub(crate) expected: Option<u64>,
    /// Microseconds since 1970.
    pub(crate) occurred_at: Option<i64>,
    pub(crate) what: What,
}

impl Ask {
    pub(crate) fn request(&self, tenant: &str) -> CommandRequest {
        CommandRequest {
            tenant: TenantId::new(tenant).expect("a valid tenant"),
            stream: StreamKey::parse(&self.stream).expect("a valid stream"),
            actor: ActorId::new(self.actor.as_str()).expect("a valid actor"),
            command_id: CommandId(self.id),
            correlation_id: CorrelationId(self.id),
            traceparent: None,
            expected_version: self.expected,
            occurred_at: self.occurred_at.map(Timestamp::from_micros),
            reason: self.what.reason(),
            command: self.what.command(),
        }
    }
}

impl What {
    fn reason(&self) -> Option<String> {
        match self {
            Self::Transform(_) | Self::Take { .. } | Self::SeeTo { .. } | Self::Hold(_) => {
                Some("as planned".to_owned())
            }
            Self::Process(process) => process.reason(),
            Self::Register { .. }
            | Self::Judge { .. }
            | Self::Draft { .. }
            | Self::Revise { .. }
            | Self::Publish { .. }
            | Self::Archive { .. }
            | Self::Declare { .. }
            | Self::Dock(_) => None,
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Register { code, amount, parents } => Command::RegisterLot(RegisterLot {
                code: code.clone(),
                lot_type: LotType::Raw,
                product: "milk".to_owned(),
                quantity: amount.input(),
                temperature_c: None,
                supplier_lot: None,
                expires_on: None,
                location: None,
                attributes: BTreeMap::new(),
                parents: parents
                    .iter()
                    .map(|(lot, amount)| ParentInput { lot: lot.reference(), quantity: amount.input() })
                    .collect(),
            }),
            Self::Judge { lot, outcome } => Command::RecordQcDecision(RecordQcDecision {
                lot: lot.reference(),
                gate: "intake".to_owned(),
                outcome: match *outcome {
                    "PASS" => QcOutcome::Pass,
                    "HOLD" => QcOutcome::Hold,
                    _ => QcOutcome::Fail,
                },
                measurements: Vec::new(),
                checklist: Vec::new(),
                notes: None,
            }),
            Self::Transform(asked) => Command::Lot(LotCommand::Transform(asked.command())),
            Self::Take { lot, how, amount } => Command::Lot(take(lot.reference(), how, amount.as_ref())),
            Self::Process(process) => process.command(),
            Self::Dock(asked) => asked.command(),
            Self::Hold(asked) => Command::Hold(asked.command()),
            Self::Draft { name, graph } => {
                Command::DraftPipeline { name: name.clone(), definition: graph.definition() }
            }
            Self::Revise { pipeline, name, graph } => Command::RevisePipeline {
                pipeline_id: PipelineId(*pipeline),
                name: name.clone(),
                definition: graph.definition(),
            },
            Self::Publish { pipeline } => Command::PublishPipeline { pipeline_id: PipelineId(*pipeline) },
            Self::Archive { pipeline } => Command::ArchivePipeline { pipeline_id: PipelineId(*pipeline) },
            Self::SeeTo { alert, how } => Command::Alert(see_to(AlertId(*alert), how)),
            Self::Declare { name } => Command::DeclareSignal(DeclareSignal {
                name: name.clone(),
                description: None,
                unit: "Cel".to_owned(),
                data_type: DataType::F32,
                device: "press".to_owned(),
                address: Address::Modbus {
                    unit: 1,
                    table: ModbusTable::HoldingRegisters,
                    address: 7,
                    word_order: WordOrder::default(),
                },
                scale: None,
                offset: None,
            }),
        }
    }
}

fn see_to(alert_id: AlertId, how: &str) -> AlertCommand {
    match how {
        "resolve" => AlertCommand::ResolveAlert { alert_id },
        _ => AlertCommand::AcknowledgeAlert { alert_id, note: None },
    }
}

impl Holding {
    fn command(&self) -> HoldCommand {
        let named = |lots: &[LotName]| lots.iter().map(LotName::reference).collect();
        let code = |hold: &String| HoldRef::Code(hold.clone());
        match self {
            Self::Place { lots } => HoldCommand::Place { lots: named(lots) },
            Self::Release { hold } => HoldCommand::Release { hold: code(hold) },
            Self::ReleaseLots { hold, lots } => HoldCommand::ReleaseLots { hold: code(hold), lots: named(lots) },
        }
    }
}

impl Transform {
    fn command(&self) -> TransformLots {
        let conserves = self.kind == "split" || self.kind == "merge";
        let input = |(lot, amount): &(LotName, Option<Amount>)| TransformInput {
            lot: lot.reference(),
            quantity: amount.as_ref().map(Amount::input),
            exception: None,
        };
        let output = |(code, amount): &(String, Amount)| TransformOutput {
            code: code.clone(),
            lot_type: (!conserves).then_some(LotType::Intermediate),
            product: (!conserves).then(|| self.product.to_owned()),
            quantity: amount.input(),
            share: None,
            temperature_c: None,
            expires_on: None,
            location: None,
            attributes: BTreeMap::new(),
        };
        TransformLots {
            kind: match self.kind {
                "split" => TransformationKind::Split,
                "merge" => TransformationKind::Merge,
                "rework" => TransformationKind::Rework,
                _ => TransformationKind::Transform,
            },
            inputs: self.inputs.iter().map(input).collect(),
            outputs: self.outputs.iter().map(output).collect(),
            loss: self.loss.as_ref().map(Amount::input),
            gain: None,
            step: None,
            location: None,
            documents: Vec::new(),
        }
    }
}

fn take(lot: LotRef, how: &str, amount: Option<&Amount>) -> LotCommand {
    let given = || amount.map(Amount::input).expect("what is counted or sampled has an amount");
    match how {
        "increase" => LotCommand::Adjust { lot, direction: AdjustmentDirection::Increase, quantity: given() },
        "decrease" => LotCommand::Adjust { lot, direction: AdjustmentDirection::Decrease, quantity: given() },
        "scrap" => LotCommand::Scrap { lot, quantity: amount.map(Amount::input) },
        "sample" => LotCommand::Sample { lot, quantity: given(), label: None, purpose: None },
        _ => LotCommand::Move { lot, location: "the dock".to_owned() },
    }
}

impl Amount {
    pub(crate) fn input(&self) -> QuantityInput {
        QuantityInput { value: self.value.to_owned(), unit: self.unit.to_owned() }
    }
}

impl LotName {
    pub(crate) fn reference(&self) -> LotRef {
        match self {
            Self::Code(code) => LotRef::Code(code.clone()),
            Self::Id(id) => LotRef::Id(lotline_domain::id::LotId(*id)),
        }
    }
}

impl Graph {
    fn definition(&self) -> Definition {
        let task =
            |id: &&str| Task { id: (*id).to_owned(), kind: "extract.csv".to_owned(), config: serde_json::Value::Null };
        let edge = |(from, to): &(&str, &str)| Edge { from: (*from).to_owned(), to: (*to).to_owned() };
        Definition { tasks: self.tasks.iter().map(task).collect(), edges: self.edges.iter().map(edge).collect() }
    }
}
