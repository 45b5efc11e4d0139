//! Whether this node still hears who may do what.
//!
//! It learns that from the log. One that is cut off from the log, while PostgreSQL answers, would go on for ever by the roles that it knew. But the
//! read model of access, which other nodes keep up, tells how far they are: whoever stays behind it lets nobody in until it has caught up.
//!
//! ```text
//! role taken away ─► log ─► read model (other node) ─► its position, heard at once or within 1 s ─► two looks and PATIENCE later nobody comes in
//! ```
//!
//! So a change counts everywhere within five seconds, or the node that has not heard of it answers 503.

use std::time::Duration;

use lotline_commands::access::AccessView;
use lotline_domain::id::StreamKey;
use lotline_domain::partition::partition_of;
use lotline_domain::position::TopicKind;
use lotline_projections::model::Model;
use lotline_projections::progress::Progress;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long this node may be behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// Compares until cancelled.
pub(crate) async fn compare(access: AccessView, progress: Progress, partitions: u32, cancel: CancellationToken) {
    let partition = partition_of(StreamKey::Tenant.as_str(), partitions);
    let others = progress.subscribe(Model::Access);
    let mut behind_since: Option<Instant> = None;
    while cancel.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
        let read_by_others = others.borrow().get(TopicKind::Ledger, partition);
        if read_by_others.is_none_or(|next| next <= access.next()) {
            behind_since = None;
            if access.outdate(false) {
                tracing::info!("who may do what is known again up to now");
            }
        } else if behind_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE && access.outdate(true) {
            tracing::warn!(
                partition,
                here = access.next(),
                others = read_by_others,
                "others have read on in the tenant's partition: nobody is let in here until this node hears the log again"
            );
        }
    }
}
