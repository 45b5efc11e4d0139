//! `findLots`: lots by what stands on them, on a paper, or in a scanned symbol.

use async_graphql::{Context, Error, Object, OneofObject, SimpleObject};
use lotline_domain::access::role::Permission;
use lotline_domain::gs1::Scan;
use lotline_domain::master::gs1::Gtin;
use lotline_projections::lots::lookup::{self, Key, Lookup};
use lotline_projections::master;
use lotline_projections::model::Model;
use lotline_projections::page::Page;

use super::connection;
use super::failure::{OrFail, bad_input};
use super::lot::Lot;
use super::scalar::PositionToken;
use super::scope::Scope;
use super::sight::Narrowed;
use crate::guard::cost;

/// By what lots are looked up: one of these.
#[derive(OneofObject, Debug)]
pub enum FindLotsInput {
    /// The lot's code.
    Code(String),
    /// GTIN of the product: 8, 12, 13 or 14 digits.
    Gtin(String),
    /// The supplier's own code.
    SupplierLot(String),
    /// What a scanner gave: a GS1 element string (FNC1 as U+001D; with or without a symbology identifier), its bracketed form, or a GS1
    /// Digital Link. A batch number is the lot's code or the supplier's own, and a GTIN narrows it down.
    Scan(String),
}

/// A part of what was scanned.
#[derive(SimpleObject, Debug)]
pub struct ScannedElement {
    /// GS1 application identifier, such as 10.
    pub ai: String,
    /// What it is called, such as BATCH/LOT.
    pub title: String,
    /// As it stands in the symbol.
    pub value: String,
}

/// What was found.
#[derive(SimpleObject)]
pub struct LotsFound {
    /// The newest first.
    pub lots: Vec<Lot>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// What was read, where something was scanned.
    pub scanned: Vec<ScannedElement>,
}

/// Looking lots up.
#[derive(Default)]
pub struct LookupQuery;

#[Object]
impl LookupQuery {
    /// Lots by what stands on them; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn find_lots(
        &self,
        ctx: &Context<'_>,
        by: FindLotsInput,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<LotsFound, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        scope.check_site(site.as_deref()).await?;
        let scan = if let FindLotsInput::Scan(text) = &by { Some(scanned(text)?) } else { None };
        scope.wait(ctx, &[Model::Lots, Model::Master], consistent_with, consistency_timeout_ms).await?;
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let (key, products) = asked(scope, by, scan.as_ref()).await?;
        let lookup = Lookup { key, products, site, sites };
        let page = Page { first: size + 1, after: None };
        let mut ids = lookup::ids(scope.pool(), scope.tenant(), &lookup, &page).await.or_fail("look lots up")?;
        let more = ids.len() > size as usize;
        ids.truncate(size as usize);
        let sight = scope.sight()?;
        let mut lots = Lot::load_all(scope, &ids).await?;
        lots.retain(|lot| sight.may_at(Permission::LookUp, &lot.0.site));
        let scanned = scan.iter().flat_map(Scan::elements).map(|element| ScannedElement {
            ai: element.ai().to_owned(),
            title: element.title().to_owned(),
            value: element.value().to_owned(),
        });
        Ok(LotsFound { lots, more, scanned: scanned.collect() })
    }
}

/// A scanner that is not set up for GS1 gives the digits of an item's bar code alone. They may look like elements too, but of nothing that lots
/// are found by.
fn scanned(text: &str) -> Result<Scan, Error> {
    let scan = match Scan::parse(text) {
        Ok(scan) if scan.gtin().or(scan.batch()).is_some() => return Ok(scan),
        other => other,
    };
    let digits = text.trim();
    let digits = digits.strip_prefix("]E0").or_else(|| digits.strip_prefix("]E4")).unwrap_or(digits);
    let gtin = Gtin::parse("scan", digits).ok();
    let item = gtin.and_then(|gtin| Scan::parse(&format!("(01){}", gtin.in_14_digits())).ok());
    match (item, scan) {
        (Some(item), _) => Ok(item),
        (None, Ok(scan)) => Ok(scan),
        (None, Err(problem)) => Err(bad_input(format!("'scan' is no GS1 element string: {problem}"))),
    }
}

/// By what to look, and of which product.
async fn asked(scope: &Scope, by: FindLotsInput, scan: Option<&Scan>) -> Result<(Key, Option<Vec<String>>), Error> {
    match by {
        FindLotsInput::Code(code) => Ok((Key::Code(code.trim().to_owned()), None)),
        FindLotsInput::SupplierLot(code) => Ok((Key::SupplierLot(code.trim().to_owned()), None)),
        FindLotsInput::Gtin(given) => {
            let gtin = Gtin::parse("gtin", &given).map_err(|problem| bad_input(problem.to_string()))?;
            Ok((Key::Product(names(scope, &gtin).await?), None))
        }
        FindLotsInput::Scan(_) => {
            let gtin = scan.and_then(Scan::gtin).and_then(|gtin| Gtin::parse("scan", gtin).ok());
            let products = match &gtin {
                Some(gtin) => Some(names(scope, gtin).await?),
                None => None,
            };
            match (scan.and_then(Scan::batch), products) {
                (Some(batch), products) => Ok((Key::Batch(batch.to_owned()), products)),
                (None, Some(products)) => Ok((Key::Product(products), None)),
                (None, None) => Err(bad_input("'scan' has neither a batch number (10) nor a GTIN (01 or 02)")),
            }
        }
    }
}

/// What lots of the product are named by: the GTIN in any of its lengths, and the code of the product that has it.
async fn names(scope: &Scope, gtin: &Gtin) -> Result<Vec<String>, Error> {
    let all = gtin.in_14_digits();
    let cut =
        |digits: usize| all[..14 - digits].bytes().all(|byte| byte == b'0').then(|| all[14 - digits..].to_owned());
    let mut names: Vec<String> = [14, 13, 12, 8].into_iter().filter_map(cut).collect();
    let codes = master::codes_with_gtin(scope.pool(), scope.tenant(), gtin).await.or_fail("read products")?;
    names.extend(codes);
    Ok(names)
}
