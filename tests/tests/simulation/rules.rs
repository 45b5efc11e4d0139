//! What is asked of one site without anything that befalls it: long histories, each step judged by the rules and by the model.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lotline_domain::event::Event;
use lotline_domain::id::PartnerId;
use lotline_domain::master::MasterEvent;
use lotline_domain::master::partner::PartnerDefined;
use lotline_domain::state::StreamState;
use uuid::Uuid;

use crate::ask::Ask;
use crate::client;
use crate::dock::Partner;
use crate::model::Stream;
use crate::world::World;

const SITE: &str = "north";
const HISTORIES: u64 = 500;
const STEPS: u64 = 120;

fn partner(place: usize, supplies: bool, buys: bool) -> Event {
    Event::Master(MasterEvent::PartnerDefined(PartnerDefined {
        partner_id: PartnerId(Uuid::from_u128(place as u128)),
        code: format!("P{place}"),
        name: "somebody".to_owned(),
        gln: None,
        supplies,
        buys,
        active: true,
    }))
}

/// Plays one history and counts what became of its steps.
fn play(seed: u64, counts: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let world = World::new(seed, "dairy".to_owned(), None);
    let (mut live, mut replayed, mut model, mut sequence) =
        (StreamState::default(), StreamState::default(), Stream::default(), 0);
    // A site decides on what its tenant says; here it is in the same stream.
    for (place, (supplies, buys)) in [(true, false), (false, true)].into_iter().enumerate() {
        sequence += 1;
        let partner = partner(place, supplies, buys);
        live.evolve(&partner, sequence, world.clocks[0].right());
        replayed.evolve(&partner, sequence, world.clocks[0].right());
        model.partners.push(Partner { code: format!("P{place}"), supplies, buys, version: sequence });
    }
    for _ in 0..STEPS {
        let what = client::draw_site(&world, SITE);
        let ask = Ask { stream: SITE.to_owned(), what, ..client::draw(&world, "ann") };
        let (request, now) = (ask.request("dairy"), world.clocks[0].right());
        let verdict = model.verdict(&ask, now.micros());
        let outcome = match (live.decide(&request, now), verdict) {
            (Err(refusal), Some(code)) if refusal.code() == code => code.to_owned(),
            (Ok(decision), None) => {
                // Before what was asked for stand holds, after it alerts.
                let follows = |event: &Event| matches!(event, Event::Alert(alert) if alert.is_consequence());
                let asked = decision.events.iter().rposition(|event| !follows(event)).unwrap_or_default();
                for (place, event) in decision.events.iter().enumerate() {
                    sequence += 1;
                    let value = event.encode(decision.occurred_at, decision.reason.as_deref());
                    let applied = match place.cmp(&asked) {
                        Ordering::Less => model.begin(&ask, kind(event), &value, sequence),
                        Ordering::Equal => model.apply(&ask, kind(event), &value, sequence).map(drop),
                        Ordering::Greater => model.alerts.apply(kind(event), &value, sequence),
                    };
                    applied.map_err(|wrong| format!("{wrong}: {ask:?}"))?;
                    if place != asked {
                        *counts.entry(kind(event).to_owned()).or_default() += 1;
                    }
                    live.evolve(event, sequence, decision.occurred_at);
                    let fact = Event::decode(event.event_type(), &value).map_err(|error| error.to_string())?;
                    replayed.evolve(&fact.event, sequence, fact.occurred_at);
                }
                model.alerts.settled()?;
                client::know(&world, &ask, &model, &decision.subject_id);
                kind(&decision.events[asked]).to_owned()
            }
            (decided, due) => return Err(format!("{due:?} was due, not {decided:?}, for {ask:?}")),
        };
        *counts.entry(outcome).or_default() += 1;
    }
    if live == replayed { Ok(()) } else { Err("the replay differs".to_owned()) }
}

fn kind(event: &Event) -> &'static str {
    event.event_type().trim_start_matches("lotline.").trim_end_matches(".v1")
}

#[tokio::test(start_paused = true)]
async fn the_rules_are_those_of_the_model() {
    let mut counts = BTreeMap::new();
    for seed in 0..HISTORIES {
        play(seed, &mut counts).unwrap_or_else(|wrong| panic!("history {seed}: {wrong}"));
    }
    println!("{counts:?}");
    for met in [
        "lot.registered",
        "lot.transformed",
        "lot.adjusted",
        "lot.scrapped",
        "lot.sampled",
        "lot.moved",
        "lot.received",
        "shipment.shipped",
        "UNKNOWN_PARTNER",
        "NO_SUPPLIER",
        "NO_CUSTOMER",
        "DUPLICATE_SHIPMENT_CODE",
        "EMPTY",
        "qc_decision.recorded",
        "alert.raised",
        "alert.acknowledged",
        "alert.resolved",
        "ALERT_CAUSE_STANDS",
        "ALERT_ALREADY_RESOLVED",
        "ALERT_ALREADY_ACKNOWLEDGED",
        "UNKNOWN_ALERT",
        "alert.escalated",
        "LOT_BLOCKED",
        "LOT_ON_HOLD",
        "hold.placed",
        "hold.released",
        "hold.lot_released",
        "UNKNOWN_HOLD",
        "HOLD_RELEASED",
        "LOT_NOT_HELD",
        "NOT_ENOUGH_LEFT",
        "NOTHING_LEFT",
        "NO_QUANTITY",
        "UNBALANCED",
        "OTHER_PRODUCT",
        "SHARES_NEEDED",
        "DUPLICATE_OUTPUT_CODE",
        "DUPLICATE_PARENT",
        "UNIT_MISMATCH",
        "WRONG_COUNT",
    ] {
        assert!(counts.contains_key(met), "{met} was not met: {counts:?}");
    }
}
