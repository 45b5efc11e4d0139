//! Reads machines on time and hands every sample to the log, over a disk buffer.
//!
//! ```text
//! device task ─┐                                        ┌─ SignalLog (Kafka or PostgreSQL)
//! device task ─┼→ buffer (disk, one thread) → publisher ┘
//! device task ─┘
//! ```
//!
//! Devices come from the configuration, their signals from the declarations in the ledger; when those change, only the devices whose
//! signals changed are restarted.

pub mod buffer;
pub mod config;
pub mod device;
pub mod publisher;
pub mod report;
pub mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use lotline_domain::id::{DeviceId, TenantId};
use lotline_domain::port::{Clock, Ids, SignalLog};
use lotline_domain::signal::SignalDeclared;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::buffer::{Buffer, BufferError};
use self::config::{CollectorConfig, DeviceConfig, InvalidConfig};
use self::device::{Device, Surroundings};
use self::publisher::Publisher;
use self::report::Origin;
use self::schedule::{Timebase, phase};

/// A collector and all it needs from outside.
pub struct Collector {
    /// Whose topic it publishes to.
    pub tenant: TenantId,
    /// Its settings.
    pub config: CollectorConfig,
    /// All declared signals of its site; those of devices that it does not have are left alone.
    pub signals: watch::Receiver<Vec<SignalDeclared>>,
    /// Where batches go in the end.
    pub log: Arc<dyn SignalLog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where a new buffer's epoch comes from.
    pub ids: Arc<dyn Ids>,
}

/// Why a collector can't run.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// A setting outside its range.
    #[error("the collector's configuration is not usable")]
    Config(#[from] InvalidConfig),
    /// The disk buffer can't be used.
    #[error("the collector's buffer failed")]
    Buffer(#[from] BufferError),
}

impl Collector {
    /// Runs until `stop`, then stops polling, publishes what it can in [`config::PublisherConfig::drain_ms`] and leaves the rest on disk.
    ///
    /// # Errors
    /// [`CollectorError`]; nothing was polled, or the buffer's thread has ended.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CollectorError> {
        self.config.validate()?;
        let epoch = self.ids.uuid_v7(self.clock.now());
        let settings = &self.config.buffer;
        let buffer = Buffer::open(settings.store(), settings.group(), epoch).await?;
        tracing::info!(collector.id = %self.config.id, epoch = %buffer.epoch(), "the collector runs");
        let publisher = Publisher {
            tenant: self.tenant.clone(),
            buffer: buffer.clone(),
            log: Arc::clone(&self.log),
            config: self.config.publisher.clone(),
        };
        let drain = CancellationToken::new();
        let mut publishing = tokio::spawn(publisher.run(drain.clone()));
        let ended_early = tokio::select! {
            () = self.supervise(buffer.clone(), &stop) => None,
            ended = &mut publishing => Some(ended),
        };
        let flushed = buffer.flush().await;
        drain.cancel();
        let published = match ended_early {
            Some(ended) => ended,
            None => publishing.await,
        };
        let closed = buffer.close().await;
        published.unwrap_or(Err(BufferError::Closed))?;
        flushed?;
        Ok(closed?)
    }

    /// Keeps the running devices equal to the declarations until `stop`.
    async fn supervise(&self, buffer: Buffer, stop: &CancellationToken) {
        let tasks = TaskTracker::new();
        let all = stop.child_token();
        let _all_end_with_this = all.clone().drop_guard();
        let mut fleet = Fleet { start: Instant::now(), buffer, all, tasks: tasks.clone(), running: BTreeMap::new() };
        let mut signals = self.signals.clone();
        loop {
            let by_device = by_device(&signals.borrow_and_update());
            self.reconcile(&mut fleet, by_device);
            let changed = tokio::select! {
                changed = signals.changed() => changed.is_ok(),
                () = stop.cancelled() => false,
            };
            if !changed {
                break;
            }
        }
        // Declarations that can't change any more are no reason to stop reading.
        stop.cancelled().await;
        tasks.close();
        tasks.wait().await;
    }

    fn reconcile(&self, fleet: &mut Fleet, mut declared: BTreeMap<DeviceId, Vec<SignalDeclared>>) {
        for device in &self.config.devices {
            let signals = declared.remove(&device.id).unwrap_or_default();
            let same = fleet.running.get(&device.id).is_some_and(|running| running.signals == signals);
            if !same {
                let phase = self.phase_of(device);
                let timebase = Timebase::new(fleet.start + phase, device.poll_interval());
                fleet.restart(device, signals, timebase, self.surroundings(device, fleet.buffer.clone()));
            }
        }
        for (device, signals) in declared {
            let count = signals.len();
            tracing::debug!(device.id = %device, signals = count, "declared signals of a device of another collector");
        }
    }

    fn surroundings(&self, device: &DeviceConfig, buffer: Buffer) -> Surroundings {
        let (site, collector) = (self.config.site.clone(), self.config.id.clone());
        let origin = Origin { site, collector, device: device.id.clone() };
        Surroundings { origin, buffer, clock: Arc::clone(&self.clock) }
    }

    /// Spreads devices of the same interval over it.
    fn phase_of(&self, device: &DeviceConfig) -> std::time::Duration {
        let peers = self.config.devices.iter().filter(|peer| peer.poll_interval_ms == device.poll_interval_ms);
        let place = peers.clone().take_while(|peer| peer.id != device.id).count();
        phase(place, peers.count(), device.poll_interval())
    }
}

/// The devices that run.
struct Fleet {
    start: Instant,
    buffer: Buffer,
    all: CancellationToken,
    tasks: TaskTracker,
    running: BTreeMap<DeviceId, Running>,
}

struct Running {
    signals: Vec<SignalDeclared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fleet {
    /// Stops the device if it runs, and then, so that it never has two connections, starts it with its new signals.
    fn restart(
        &mut self,
        config: &DeviceConfig,
        signals: Vec<SignalDeclared>,
        timebase: Timebase,
        around: Surroundings,
    ) {
        let before = self.running.remove(&config.id);
        if let Some(before) = &before {
            before.stop.cancel();
        }
        let stop = self.all.child_token();
        let device = (!signals.is_empty()).then(|| Device::new(config.clone(), &signals, timebase, around));
        tracing::info!(device.id = %config.id, signals = signals.len(), "the device is configured");
        let token = stop.clone();
        let task = self.tasks.spawn(async move {
            if let Some(before) = before
                && let Err(error) = before.task.await
            {
                tracing::error!(%error, "a device's task ended badly");
            }
            if let Some(device) = device {
                token.run_until_cancelled(device.run()).await;
            }
        });
        self.running.insert(config.id.clone(), Running { signals, stop, task });
    }
}

/// The declarations of each device, in order of their numbers, so that equal sets compare equal.
fn by_device(signals: &[SignalDeclared]) -> BTreeMap<DeviceId, Vec<SignalDeclared>> {
    let mut devices: BTreeMap<DeviceId, Vec<SignalDeclared>> = BTreeMap::new();
    for signal in signals {
        devices.entry(signal.device.clone()).or_default().push(signal.clone());
    }
    for signals in devices.values_mut() {
        signals.sort_by_key(|signal| signal.number);
    }
    devices
}
