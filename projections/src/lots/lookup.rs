//! Lots by what stands on them, on a paper, or in a scanned symbol.

use lotline_domain::id::TenantId;
use sqlx::PgPool;
use uuid::Uuid;

use crate::page::Page;

/// By what lots are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The code in the site.
    Code(String),
    /// The supplier's own code.
    SupplierLot(String),
    /// Either of these: a batch number does not say whose it is.
    Batch(String),
    /// Names of one product, any of them.
    Product(Vec<String>),
}

/// What is looked up, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// By what.
    pub key: Key,
    /// Of one product, by any of its names.
    pub products: Option<Vec<String>>,
    /// In one site.
    pub site: Option<String>,
    /// In any of these sites.
    pub sites: Option<Vec<String>>,
}

/// The ids of the lots that match, the newest id first. Each key is found by an index of its own.
pub async fn ids(
    pool: &PgPool,
    tenant: &TenantId,
    lookup: &Lookup,
    page: &Page<Uuid>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    macro_rules! select {
        ($key:tt, $given:expr) => {
            sqlx::query_scalar!(
                "SELECT id FROM read.lots WHERE tenant = $1 AND generation = (SELECT live.generation
                    FROM read.projection_generation AS live WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
                    AND ($3::TEXT[] IS NULL OR product = ANY($3)) AND ($4::TEXT IS NULL OR site = $4)
                    AND ($5::TEXT[] IS NULL OR site = ANY($5)) AND ($6::UUID IS NULL OR id < $6) AND "
                    + $key
                    + " ORDER BY id DESC LIMIT $7",
                tenant.as_str(),
                $given,
                lookup.products.as_deref(),
                lookup.site.as_deref(),
                lookup.sites.as_deref(),
                page.after,
                page.limit()
            )
            .fetch_all(pool)
            .await
        };
    }
    match &lookup.key {
        Key::Code(code) => select!("code = $2", code),
        Key::SupplierLot(code) => select!("supplier_lot = $2", code),
        Key::Batch(code) => select!("(code = $2 OR supplier_lot = $2)", code),
        Key::Product(names) => select!("product = ANY($2)", names),
    }
}
