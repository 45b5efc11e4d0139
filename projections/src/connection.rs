//! A connection for work that may be dropped half-way.
//!
//! A transaction that is dropped while its BEGIN is on the way is open in PostgreSQL without sqlx knowing (its depth is counted after the
//! answer), so nobody rolls it back, and whoever takes the connection from the pool next works in it. A COPY that is dropped may leave the
//! protocol out of step. Closing is the one way that is certain.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

/// Goes back to its pool only when that is asked for, and is closed otherwise.
pub(crate) struct Expendable(Option<PoolConnection<Postgres>>);

impl Expendable {
    pub(crate) async fn acquire(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(crate) fn get(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("invariant: only `keep` and `drop` take the connection")
    }

    pub(crate) fn keep(mut self) {
        self.0.take();
    }
}

impl Drop for Expendable {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}
