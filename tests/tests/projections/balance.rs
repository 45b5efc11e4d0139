//! Balances and recalls on real PostgreSQL: what is on hand by the flows is what the lots say is left, whatever the scope.

use lotline_domain::command::Command;
use lotline_domain::lot::LotRef;
use lotline_domain::lot::command::LotCommand;
use lotline_domain::lot::event::AdjustmentDirection;
use lotline_projections::balance::{self, Period, Scope, recall};
use lotline_projections::graph::MOST_LOTS;
use rust_decimal::Decimal;
use sqlx::Row;
use uuid::Uuid;

use crate::fixture::{FakeLog, Plant, quantity, tenant};
use crate::rig::{Rig, soon};

/// Ids, products and what is left, by the table of lots.
async fn books(rig: &Rig) -> Vec<(Uuid, Decimal)> {
    let rows =
        sqlx::query("SELECT id, remaining_base FROM read.lots ORDER BY changed_offset, id").fetch_all(rig.pool());
    rows.await.unwrap().iter().map(|row| (row.get("id"), row.get("remaining_base"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_hand_by_the_flows_is_what_the_lots_say() {
    let rig = Rig::new("balance").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let _worker = rig.ledger(&plant.log);
    plant.day("north", 120);
    rig.ledger_at(plant.log.0.next()).await;
    let codes: Vec<String> =
        sqlx::query_scalar("SELECT code FROM read.lots ORDER BY code").fetch_all(rig.pool()).await.unwrap();
    for (place, code) in codes.iter().enumerate() {
        let lot = LotRef::Code(code.clone());
        let command = match place % 4 {
            0 => LotCommand::Scrap { lot, quantity: Some(quantity("3")) },
            1 => LotCommand::Adjust { lot, direction: AdjustmentDirection::Increase, quantity: quantity("7") },
            2 => LotCommand::Adjust { lot, direction: AdjustmentDirection::Decrease, quantity: quantity("2.5") },
            _ => LotCommand::Sample { lot, quantity: quantity("0.2"), label: None, purpose: None },
        };
        plant.decide("north", Command::Lot(command));
    }
    rig.ledger_at(plant.log.0.next()).await;

    let books = books(&rig).await;
    assert!(books.len() > 50 && books.len() == codes.len());
    let all: Vec<Uuid> = books.iter().map(|(id, _)| *id).collect();
    let thirds = (0..3).map(|from| all.iter().copied().skip(from).step_by(3).collect());
    let scopes: Vec<Vec<Uuid>> = std::iter::once(all.clone()).chain(thirds).collect();
    for scope in scopes {
        let left: Decimal = books.iter().filter(|(id, _)| scope.contains(id)).map(|(_, left)| left).sum();
        let asked = Scope::Lots(scope.clone());
        let found = balance::balance(rig.pool(), &rig.progress, &tenant(), &asked, Period::default(), soon()).await;
        let found = found.unwrap();
        let [measure] = found.measures[..] else { panic!("all is in kilograms: {found:?}") };
        assert_eq!((found.lots, found.missing, measure.closing), (scope.len(), 0, left));
        assert_eq!(measure.came(), measure.went(), "{measure:?}");
        assert!(measure.scrapped > Decimal::ZERO && measure.sampled > Decimal::ZERO, "{measure:?}");
        assert_eq!(measure.used > Decimal::ZERO, scope.len() < all.len(), "{measure:?}");
    }
    let product = Scope::Product { site: "north".into(), product: "yoghurt, natural".into() };
    let found = balance::balance(rig.pool(), &rig.progress, &tenant(), &product, Period::default(), soon()).await;
    assert_eq!(found.unwrap().lots, all.len());

    let mut gone = Decimal::ZERO;
    for start in all.iter().copied().step_by(5) {
        let found = recall::recall(rig.pool(), &tenant(), start, MOST_LOTS).await.unwrap().expect("the lot is there");
        assert_eq!((found.lots[0].id, found.trace.gaps.len()), (start, 0));
        for reached in &found.lots {
            let left = books.iter().find(|(id, _)| *id == reached.id).unwrap().1;
            assert_eq!(reached.all.on_hand, left, "{reached:?}");
        }
        let most = Decimal::new(1, 12);
        assert!(found.unaccounted() >= Decimal::ZERO && found.unaccounted() < most, "{}", found.unaccounted());
        gone += found.total().scrapped + found.total().sampled + found.total().decreased;
    }
    assert!(gone > Decimal::ZERO);
    assert!(recall::recall(rig.pool(), &tenant(), Uuid::from_u128(1), MOST_LOTS).await.unwrap().is_none());
}
