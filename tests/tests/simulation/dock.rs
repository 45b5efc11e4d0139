//! Deliveries and shipments: what is asked of them and of the partners that they need.

use std::collections::BTreeMap;

use lotline_domain::command::Command;
use lotline_domain::flow::FlowCommand;
use lotline_domain::flow::receipt::{ReceiveLot, ReceiveLots};
use lotline_domain::flow::shipment::{ShipLot, ShipLots};
use lotline_domain::lot::LotType;
use lotline_domain::master::MasterCommand;
use lotline_domain::master::partner::DefinePartner;

use crate::ask::{Amount, LotName};
use crate::client::{draw_amount, draw_lot, draw_portion};
use crate::world::World;

/// What is asked at the dock, and of the tenant about those whom it deals with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dock {
    Define { code: String, supplies: bool, buys: bool },
    Receive { supplier: String, code: String, amount: Amount },
    Ship { customer: String, code: String, lots: Vec<(LotName, Option<Amount>)> },
}

/// A partner as its last definition has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partner {
    pub(crate) code: String,
    pub(crate) supplies: bool,
    pub(crate) buys: bool,
    pub(crate) version: u64,
}

impl Dock {
    pub(crate) fn is_tenants(&self) -> bool {
        matches!(self, Self::Define { .. })
    }

    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Define { code, supplies, buys } => Command::Master(MasterCommand::DefinePartner(DefinePartner {
                code: code.clone(),
                name: "somebody".to_owned(),
                gln: None,
                supplies: *supplies,
                buys: *buys,
                active: true,
            })),
            Self::Receive { supplier, code, amount } => Command::Flow(FlowCommand::Receive(ReceiveLots {
                supplier: supplier.clone(),
                documents: Vec::new(),
                lots: vec![ReceiveLot {
                    code: code.clone(),
                    lot_type: LotType::Raw,
                    product: "milk".to_owned(),
                    quantity: amount.input(),
                    temperature_c: None,
                    supplier_lot: None,
                    traceability_lot_code_source: None,
                    produced_on: None,
                    expires_on: None,
                    exception: None,
                    location: None,
                    attributes: BTreeMap::new(),
                }],
            })),
            Self::Ship { customer, code, lots } => Command::Flow(FlowCommand::Ship(ShipLots {
                code: Some(code.clone()),
                customer: customer.clone(),
                lots: lots
                    .iter()
                    .map(|(lot, amount)| ShipLot { lot: lot.reference(), quantity: amount.as_ref().map(Amount::input) })
                    .collect(),
                documents: Vec::new(),
                carrier_reference: None,
            })),
        }
    }
}

fn draw_partner(world: &World) -> String {
    format!("P{}", world.chance.below(3))
}

/// A partner to define.
pub(crate) fn draw_definition(world: &World) -> Dock {
    let (supplies, buys) = *world.chance.pick(&[(true, false), (false, true), (true, true)]);
    Dock::Define { code: draw_partner(world), supplies, buys }
}

/// Something to come in or go out.
pub(crate) fn draw(world: &World, stream: &str) -> Dock {
    let chance = &world.chance;
    if chance.odds(0.5) {
        let code = if chance.odds(0.02) { " ".to_owned() } else { format!("L{}", chance.below(40)) };
        return Dock::Receive { supplier: draw_partner(world), code, amount: draw_amount(world) };
    }
    let amount = || chance.odds(0.8).then(|| draw_portion(world));
    let lots = (0..*chance.pick(&[0, 1, 1, 1, 2, 2, 3])).map(|_| (draw_lot(world, stream), amount())).collect();
    Dock::Ship { customer: draw_partner(world), code: format!("S{}", chance.below(12)), lots }
}
