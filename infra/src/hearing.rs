//! Whether this node still hears the log.
//!
//! It learns from the log who may do what. One that is cut off from the log, while PostgreSQL answers, would go on for ever by the roles that it
//! knew. So the nodes of a ledger tell each other through PostgreSQL how far they have heard the tenant's stream: whoever stays behind lets
//! nobody in, and leaves the projections to others, until it has caught up.
//!
//! ```text
//! role taken away ─► log ─► another node hears it ─► says so within 0.5 s ─► two looks and PATIENCE later nobody comes in here
//! ```
//!
//! So a change counts everywhere within five seconds, or the node that has not heard of it answers 503. Where no node hears the log, no node can
//! change anything either, and what was known goes on to count.

use std::time::Duration;

use lotline_adapters::cluster::PostgresHeard;
use lotline_commands::access::AccessView;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long this node may be behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the database may take to answer. Where it does not, the door shuts by itself: nobody knows which sessions have ended.
const ANSWER: Duration = Duration::from_secs(2);

/// Compares until cancelled. `hears` says whether this node hears the log.
pub(crate) async fn compare(
    access: AccessView,
    nodes: PostgresHeard,
    hears: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let (mut behind_since, mut unanswered): (Option<Instant>, bool) = (None, false);
    while cancel.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
        // Before the stream has been read for the first time nobody is let in anyway.
        let Some(here) = access.sequence() else { continue };
        let others = match timeout(ANSWER, nodes.exchange(here)).await {
            Ok(Ok(others)) => others,
            failed => {
                if !std::mem::replace(&mut unanswered, true) {
                    tracing::warn!(?failed, "how far other nodes hear the log can't be compared");
                }
                continue;
            }
        };
        unanswered = false;
        if others <= here {
            behind_since = None;
            if access.outdate(false) {
                hears.send_replace(true);
                tracing::info!("who may do what is known again up to now");
            }
        } else if behind_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE && access.outdate(true) {
            hears.send_replace(false);
            tracing::warn!(
                here,
                others,
                "others have heard more of the tenant's stream: nobody is let in here until this node hears the log again"
            );
        }
    }
}
