//! Mass balance, and what a recall of a lot reaches.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Error, ID, InputObject, Object, OneofObject, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::quantity::Dimension;
use lotline_projections::balance::{self, BalanceError, Measure, Period, Scope as Lots, recall};
use lotline_projections::graph;
use lotline_projections::model::Model;
use lotline_projections::runs;
use rust_decimal::Decimal;
use tokio::time::Instant;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input, behind};
use super::global_id::{self, NodeId};
use super::lot::{Lot, Quantity};
use super::run::Run;
use super::scalar::PositionToken;
use super::scope::Scope;
use super::trace::{TraceGap, base_unit};
use crate::guard::cost;

/// Most ids of one balance.
const MOST_IDS: usize = 1_000;

/// Lots of one product at one site.
#[derive(InputObject, Debug)]
pub struct ProductAtSiteInput {
    /// The plant.
    pub site: String,
    /// The product name or GTIN under which the lots were registered.
    pub product: String,
}

/// Of which lots a balance is struck: exactly one of these.
#[derive(OneofObject, Debug)]
pub enum MassBalanceScope {
    /// These lots, at most 1,000, by their global ids.
    Lots(Vec<ID>),
    /// The lots that are linked to a run, by its global id.
    Run(ID),
    /// All lots of a product at a site.
    Product(ProductAtSiteInput),
}

/// The balance of what is measured in one unit. What came and what was there is what went and what is left:
/// opening + registered + broughtIn + convertedIn + gained + increased + surplus
/// = used + convertedOut + lost + decreased + scrapped + sampled + shipped + shortfall + closing.
#[derive(SimpleObject)]
pub struct MassBalanceMeasure {
    /// UNECE Rec 20 code of the unit of all amounts: KGM, LTR, C62 or MTR.
    pub unit: String,
    /// What was in the lots when the period began.
    pub opening: Decimal,
    /// Lots that came from nothing that is known here.
    pub registered: Decimal,
    /// From lots outside of the scope into lots of it.
    pub brought_in: Decimal,
    /// What came of amounts measured otherwise, such as litres of milk that became kilograms of cheese.
    pub converted_in: Decimal,
    /// What transformations state to have come from nowhere, such as absorbed water.
    pub gained: Decimal,
    /// What counts found too much.
    pub increased: Decimal,
    /// What was registered beyond what went in.
    pub surplus: Decimal,
    /// Into lots outside of the scope.
    pub used: Decimal,
    /// What became amounts measured otherwise in lots of the scope.
    pub converted_out: Decimal,
    /// What transformations state as lost.
    pub lost: Decimal,
    /// What counts found missing.
    pub decreased: Decimal,
    /// What was thrown away.
    pub scrapped: Decimal,
    /// What was taken as samples.
    pub sampled: Decimal,
    /// What was shipped to customers.
    pub shipped: Decimal,
    /// What went into registered lots and is not in them.
    pub shortfall: Decimal,
    /// What was in the lots when the period ended.
    pub closing: Decimal,
    /// What nobody has explained: surplus less shortfall.
    pub variance: Decimal,
    /// Whether both sides of the balance are equal. They are, unless the books are broken.
    pub balanced: bool,
}

/// Where the material of some lots came from and what became of it.
#[derive(SimpleObject)]
pub struct MassBalance {
    /// How many lots of the scope there were before the period ended.
    pub lots: usize,
    /// How many lots are linked to the run, but not read yet.
    pub missing: usize,
    /// Everything before this has been seen.
    pub position: PositionToken,
    /// One for each unit in which the lots are measured.
    pub measures: Vec<MassBalanceMeasure>,
}

/// What became of an amount.
#[derive(SimpleObject)]
pub struct Whereabouts {
    /// UNECE Rec 20 code of the unit of all amounts: KGM, LTR, C62 or MTR.
    pub unit: String,
    /// Still there.
    pub on_hand: Decimal,
    /// Thrown away.
    pub scrapped: Decimal,
    /// Taken as samples.
    pub sampled: Decimal,
    /// Shipped to customers.
    pub shipped: Decimal,
    /// Found missing by counts.
    pub decreased: Decimal,
    /// Found too much by counts: part of what is there that nothing came as.
    pub increased: Decimal,
}

/// A lot that a recall reaches.
pub struct RecallLot {
    reached: recall::Reached,
    start: Dimension,
    own: Dimension,
}

/// A lot that a recall reaches.
#[Object]
impl RecallLot {
    /// Global id of the lot.
    async fn id(&self) -> ID {
        NodeId::Lot(self.reached.id).encode()
    }

    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.reached.id).await
    }

    /// Fewest steps from the lot that is recalled, which has 0.
    async fn depth(&self) -> u32 {
        self.reached.depth
    }

    /// What became of the whole lot: all of it contains some of what is recalled.
    async fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.reached.all, self.own)
    }

    /// How much of what is recalled came into it. Null when a quantity on the way is not known.
    async fn attributed(&self) -> Option<Quantity> {
        self.reached.attributed.map(|value| Quantity { value, unit: base_unit(self.start).to_owned() })
    }

    /// What became of that. Null when it is not known.
    async fn attributed_whereabouts(&self) -> Option<Whereabouts> {
        self.reached.of_start.as_ref().map(|part| Whereabouts::of(part, self.start))
    }
}

/// What a recall of a lot reaches: every lot with some of it, and where all of it is.
pub struct RecallScope {
    start: Lot,
    dimension: Dimension,
    found: Arc<recall::Recall>,
}

/// What a recall of a lot reaches: every lot with some of it, and where all of it is.
#[Object]
impl RecallScope {
    /// The lot that is recalled.
    async fn start(&self) -> &Lot {
        &self.start
    }

    /// Everything before this has been seen.
    async fn position(&self) -> PositionToken {
        PositionToken(self.found.trace.position.clone())
    }

    /// Whether nothing is missing.
    async fn complete(&self) -> bool {
        self.found.trace.gaps.is_empty()
    }

    /// What is missing.
    async fn gaps(&self) -> Vec<TraceGap> {
        self.found.trace.gaps.iter().map(TraceGap::from).collect()
    }

    /// How many lots have some of it, with itself.
    async fn lot_count(&self) -> usize {
        self.found.lots.len()
    }

    /// How much of it there was.
    async fn quantity(&self) -> Quantity {
        Quantity { value: self.found.quantity, unit: base_unit(self.dimension).to_owned() }
    }

    /// What became of it, in all lots together.
    async fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.found.total(), self.dimension)
    }

    /// What of it is in none of `whereabouts`. Zero but for roundings below 10^-18 at each step, unless `gaps` says what is missing.
    async fn unaccounted(&self) -> Quantity {
        Quantity { value: self.found.unaccounted(), unit: base_unit(self.dimension).to_owned() }
    }

    /// The lots, each once: the lot itself, then the nearest first, then by id. A lot keeps its place while the graph grows.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn lots(
        &self,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last lot of the page before.")] after: Option<String>,
        #[graphql(desc = "Only lots of which something is still there.", default)] on_hand_only: bool,
    ) -> Result<Connection<Cursor, RecallLot>, Error> {
        let size = connection::size(first)?;
        let after: Option<usize> = connection::after(after.as_deref(), |text| text.parse().ok())?;
        let lots = self.found.lots.iter().enumerate().skip(after.map_or(0, |place| place + 1));
        let wanted = lots.filter(|(_, lot)| !on_hand_only || lot.all.on_hand > Decimal::ZERO).take(size as usize + 1);
        let rows = wanted.collect();
        let shown = |(_, lot): (usize, &recall::Reached)| RecallLot {
            reached: *lot,
            start: self.dimension,
            own: self.found.dimensions.get(&lot.id).copied().unwrap_or(self.dimension),
        };
        Ok(connection::connection(rows, size, after.is_some(), |(place, _)| Cursor::new(place), shown))
    }
}

impl Whereabouts {
    fn of(part: &recall::Whereabouts, dimension: Dimension) -> Self {
        Self {
            unit: base_unit(dimension).to_owned(),
            on_hand: part.on_hand,
            scrapped: part.scrapped,
            sampled: part.sampled,
            shipped: part.shipped,
            decreased: part.decreased,
            increased: part.increased,
        }
    }
}

impl From<&Measure> for MassBalanceMeasure {
    fn from(measure: &Measure) -> Self {
        Self {
            unit: base_unit(measure.dimension).to_owned(),
            opening: measure.opening.normalize(),
            registered: measure.registered.normalize(),
            brought_in: measure.brought_in.normalize(),
            converted_in: measure.converted_in.normalize(),
            gained: measure.gained.normalize(),
            increased: measure.increased.normalize(),
            surplus: measure.surplus.normalize(),
            used: measure.used.normalize(),
            converted_out: measure.converted_out.normalize(),
            lost: measure.lost.normalize(),
            decreased: measure.decreased.normalize(),
            scrapped: measure.scrapped.normalize(),
            sampled: measure.sampled.normalize(),
            shipped: measure.shipped.normalize(),
            shortfall: measure.shortfall.normalize(),
            closing: measure.closing.normalize(),
            variance: measure.variance().normalize(),
            balanced: measure.came() == measure.went(),
        }
    }
}

/// Mass balance and recall.
#[derive(Default)]
pub struct BalanceQuery;

#[Object]
impl BalanceQuery {
    /// Where the material of some lots came from and what became of it. Null when a lot or the run is not there, or the caller may not
    /// validate at its site. At most 200,000 lots.
    async fn mass_balance(
        &self,
        ctx: &Context<'_>,
        scope: MassBalanceScope,
        #[graphql(desc = "From this time in the world on; without it since ever.")] from: Option<DateTime<Utc>>,
        #[graphql(desc = "Before this time in the world; without it up to now.")] until: Option<DateTime<Utc>>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<MassBalance>, Error> {
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err(bad_input("'until' must be later than 'from'"));
        }
        let given = scope;
        let scope = Scope::of(ctx);
        let deadline = Instant::now() + scope.patience(consistency_timeout_ms);
        scope.wait(ctx, &[Model::Lots, Model::Genealogy, Model::Runs], consistent_with, consistency_timeout_ms).await?;
        let Some(lots) = lots_of(scope, given).await? else { return Ok(None) };
        let (period, progress) = (Period { from, until }, &scope.server.state.progress);
        let struck = balance::balance(scope.pool(), progress, scope.tenant(), &lots, period, deadline).await;
        let struck = match struck {
            Ok(struck) => struck,
            Err(BalanceError::Behind(error)) => return Err(behind(&error)),
            Err(error @ BalanceError::TooMany) => return Err(bad_input(format!("{error}: ask for less"))),
            Err(error) => return Err(error).or_fail("strike a balance"),
        };
        let measures = struck.measures.iter().map(MassBalanceMeasure::from).collect();
        Ok(Some(MassBalance {
            lots: struck.lots,
            missing: struck.missing,
            position: PositionToken(struck.position),
            measures,
        }))
    }

    /// Every lot that has some of a lot in it, and where all of that is: what a recall of it would reach. Null when there is no such lot at the
    /// sites where the caller may validate. Nothing is recorded.
    async fn recall_scope(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the lot.")] lot: ID,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<RecallScope>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::lot("lot", &lot)?;
        scope.wait(ctx, &[Model::Lots, Model::Genealogy], consistent_with, consistency_timeout_ms).await?;
        let sight = scope.sight()?;
        let start = Lot::load(scope, id).await?.filter(|lot| sight.may_at(Permission::Validate, &lot.0.site));
        let Some(start) = start else { return Ok(None) };
        let found = recall::recall(scope.pool(), scope.tenant(), id, graph::MOST_LOTS).await;
        let Some(mut found) = found.or_fail("follow what a recall reaches")? else { return Ok(None) };
        found.narrow(|site| sight.may_at(Permission::Validate, site));
        let dimension = found.dimensions.get(&id).copied().ok_or("the lot has no unit").or_fail("read a lot")?;
        Ok(Some(RecallScope { start, dimension, found: Arc::new(found) }))
    }
}

/// The lots of a scope. Nothing when one of them is not there, or the caller may not validate where it is.
async fn lots_of(scope: &Scope, given: MassBalanceScope) -> Result<Option<Lots>, Error> {
    let sight = scope.sight()?;
    match given {
        MassBalanceScope::Lots(ids) if ids.len() > MOST_IDS => {
            Err(bad_input(format!("'lots' has {} ids and may have {MOST_IDS}", ids.len())))
        }
        MassBalanceScope::Lots(ids) => {
            let mut uuids = Vec::with_capacity(ids.len());
            for id in &ids {
                uuids.push(global_id::lot("lots", id)?);
            }
            uuids.sort_unstable();
            uuids.dedup();
            let found = Lot::load_all(scope, &uuids).await?;
            let seen = found.iter().filter(|lot| sight.may_at(Permission::Validate, &lot.0.site)).count();
            Ok((seen == uuids.len()).then_some(Lots::Lots(uuids)))
        }
        MassBalanceScope::Run(id) => {
            let id = global_id::run("run", &id)?;
            let run = Run::load(scope, id).await?;
            if run.is_none_or(|run| !sight.may_at(Permission::Validate, &run.0.site)) {
                return Ok(None);
            }
            let rows = runs::lots_of(scope.pool(), scope.tenant(), &[id]).await.or_fail("read the lots of a run")?;
            let mut lots: Vec<_> = rows.into_iter().map(|row| row.lot_id).collect();
            lots.sort_unstable();
            lots.dedup();
            Ok(Some(Lots::Lots(lots)))
        }
        MassBalanceScope::Product(ProductAtSiteInput { site, product }) => {
            scope.check_site(Some(&site)).await?;
            Ok(sight.may_at(Permission::Validate, &site).then_some(Lots::Product { site, product }))
        }
    }
}
