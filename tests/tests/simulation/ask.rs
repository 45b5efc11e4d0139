//! What clients ask for, in plain words of their own: the model decides on these without knowing a type of the product's.

use std::collections::BTreeMap;

use lotline_domain::command::{
    Command, CommandRequest, DeclareSignal, ParentInput, QuantityInput, RecordQcDecision, RegisterLot,
};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, PipelineId, StreamKey, TenantId};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::pipeline::{Definition, Edge, Task};
use lotline_domain::qc::QcOutcome;
use lotline_domain::signal::{Address, DataType, ModbusTable, WordOrder};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Register { code: String, amount: Amount, parents: Vec<(LotName, Amount)> },
    Judge { lot: LotName, outcome: &'static str },
    Draft { name: String, graph: Graph },
    Revise { pipeline: Uuid, name: String, graph: Graph },
    Publish { pipeline: Uuid },
    Archive { pipeline: Uuid },
    Declare { name: String },
    Process(Process),
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
            reason: if let What::Process(process) = &self.what { process.reason() } else { None },
            command: self.what.command(),
        }
    }
}

impl What {
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
            Self::Process(process) => process.command(),
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

impl Amount {
    fn input(&self) -> QuantityInput {
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
