//! The projector role: the workers of this node's partitions.

use std::sync::Arc;

use lotline_adapters::clock::SystemClock;
use lotline_domain::ownership::Membership;
use lotline_domain::port::LogRead;
use lotline_domain::trace::Traces;
use lotline_projections::worker::{LedgerWorker, SignalsWorker, WorkerContext, WorkerError};
use tokio::sync::watch;

use crate::cluster::Node;
use crate::config::Config;
use crate::lifecycle::{Lifecycle, Watch};
use crate::shares::share;
use crate::stores::{Databases, Logs};

/// Starts this node's part of the projections, which others have while it does not hear the log. The watch tells whether all of it runs.
pub(crate) fn start(
    config: &Config,
    (node, hears): (&Node, watch::Receiver<bool>),
    logs: &Logs,
    databases: &Databases,
    traces: &Traces,
    lifecycle: &mut Lifecycle,
) -> Watch {
    let watch = Watch::default();
    let context = |log: Arc<dyn LogRead>| WorkerContext {
        pool: databases.owner.clone(),
        log,
        clock: Arc::new(SystemClock),
        tenant: config.tenant.id.clone(),
        traces: traces.clone(),
    };
    let leases = |log: &dyn LogRead| -> Box<dyn Membership> {
        Box::new(node.leases("projections", log.topic(), log.partitions()).only_while(hears.clone()))
    };
    let (ledger, signals) = (context(logs.ledger.clone()), context(logs.signals.clone()));
    let (ledger_watch, signals_watch) = (watch.clone(), watch.clone());
    let on_ledger = share(leases(&*logs.ledger), lifecycle.token(), move |partition, cancel| {
        let (worker, watch) = (LedgerWorker::new(ledger.clone(), partition), ledger_watch.clone());
        async move { report(&watch, "ledger", partition, worker.run(cancel).await) }
    });
    let on_signals = share(leases(&*logs.signals), lifecycle.token(), move |partition, cancel| {
        let (worker, watch) = (SignalsWorker::new(signals.clone(), partition), signals_watch.clone());
        async move { report(&watch, "signals", partition, worker.run(cancel).await) }
    });
    lifecycle.spawn("the projections of the ledger", ended(on_ledger));
    lifecycle.spawn("the projections of the signals", ended(on_signals));
    watch
}

async fn ended(sharing: impl Future<Output = ()>) -> anyhow::Result<()> {
    sharing.await;
    Ok(())
}

/// A partition that can't be followed stops alone; the health check tells.
fn report(watch: &Watch, topic: &str, partition: u32, result: Result<(), WorkerError>) {
    if let Err(error) = result {
        let error = format!("{:#}", anyhow::Error::from(error));
        tracing::error!(error, "the projection of {topic} partition {partition} has stopped; everything else goes on");
        watch.note(format!("the projection of {topic} partition {partition} has ended: {error}"));
    }
}
