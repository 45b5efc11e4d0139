//! `lotline log tail`: the events of all partitions, one line each, their chain checked on the way.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use lotline_domain::chain::{Chain, ChainHead};
use lotline_domain::envelope::Envelope;
use lotline_domain::id::TenantId;
use lotline_domain::port::{LogRead, LogReader};
use lotline_domain::record::{Offset, StoredRecord};
use tokio_util::sync::CancellationToken;

use crate::output;

const AT_ONCE: usize = 4_096;
const WAIT: Duration = Duration::from_millis(500);
/// Offsets to look back at first for the last events of a partition. Kafka's markers take offsets too, so some more than are wanted.
const LOOK_BACK: Offset = 256;

/// What to print, and how.
pub struct Tail {
    /// Only this stream.
    pub stream: Option<String>,
    /// Only so many of each partition, the last ones.
    pub last: Option<u32>,
    /// Go on as new events arrive.
    pub follow: bool,
    /// Print whole values.
    pub json: bool,
}

impl Tail {
    fn wants(&self, stored: &StoredRecord) -> bool {
        self.stream.as_deref().is_none_or(|wanted| wanted == stored.record.key)
    }
}

/// A partition being printed.
struct Cursor {
    reader: Box<dyn LogReader>,
    chain: Chain,
    /// Whether it begins within streams: then the first event of each is taken as it comes.
    within: bool,
    next: Offset,
    end: Offset,
}

/// Prints the events.
///
/// # Errors
/// A log that can't be read, whose chain is broken, or that has no such stream.
pub async fn tail(
    log: Arc<dyn LogRead>,
    tenant: &TenantId,
    options: &Tail,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let (mut cursors, mut streams) = (Vec::new(), BTreeSet::new());
    for partition in 0..log.partitions() {
        let end = log.end(partition).await?;
        let from = match options.last {
            Some(last) => begin(log.as_ref(), (partition, end), last as usize, options, &mut streams).await?,
            None => 0,
        };
        let reader = log.reader(partition, from).await?;
        cursors.push(Cursor { reader, chain: Chain::default(), within: options.last.is_some(), next: from, end });
    }
    loop {
        if !options.follow {
            cursors.retain(|cursor| cursor.next < cursor.end);
        }
        if cursors.is_empty() || cancel.is_cancelled() {
            break;
        }
        for cursor in &mut cursors {
            let wait = if options.follow { Duration::from_millis(50) } else { WAIT };
            cursor.read(tenant, options, wait, &mut streams).await?;
        }
    }
    match &options.stream {
        Some(wanted) if !options.follow && !cancel.is_cancelled() && !streams.contains(wanted) => {
            let known: Vec<String> = streams.into_iter().collect();
            let known = if known.is_empty() { "no stream at all".to_owned() } else { known.join(", ") };
            bail!("there is no stream '{wanted}' in {}, which has {known}", log.topic())
        }
        Some(_) | None => Ok(()),
    }
}

impl Cursor {
    async fn read(
        &mut self,
        tenant: &TenantId,
        options: &Tail,
        wait: Duration,
        streams: &mut BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let batch = self.reader.read(AT_ONCE, wait).await?;
        let mut text = String::new();
        for stored in &batch.records {
            if self.within {
                enter(&mut self.chain, tenant, stored);
            }
            let envelope = match self.chain.admit(tenant, stored) {
                Ok(envelope) => envelope,
                Err(broken) => {
                    output::print(&text)?;
                    return Err(broken.into());
                }
            };
            // Cheaper than a copy of the name for each event.
            if !streams.contains(&stored.record.key) {
                streams.insert(stored.record.key.clone());
            }
            if options.wants(stored) {
                write(&mut text, &envelope, options.json);
            }
        }
        self.next = batch.next;
        Ok(output::print(&text)?)
    }
}

/// Lets the chain begin at a stream's first event here. A record that is no event is left for the chain to refuse.
fn enter(chain: &mut Chain, tenant: &TenantId, stored: &StoredRecord) {
    if chain.heads().contains_key(&stored.record.key) {
        return;
    }
    if let Ok(envelope) = Envelope::from_record(tenant, &stored.record) {
        let attributes = &envelope.attributes;
        let sequence = attributes.sequence.saturating_sub(1);
        chain.advance(&stored.record.key, ChainHead { sequence, hash: envelope.prev_hash, time: attributes.time });
    }
}

/// Where the last so many wanted events of a partition begin. Looks back further and further until it has seen enough.
async fn begin(
    log: &dyn LogRead,
    (partition, end): (u32, Offset),
    last: usize,
    options: &Tail,
    streams: &mut BTreeSet<String>,
) -> anyhow::Result<Offset> {
    let mut back = LOOK_BACK.max(2 * last as Offset);
    loop {
        let from = (end - back).max(0);
        let mut offsets = Vec::new();
        let mut reader = log.reader(partition, from).await?;
        let mut next = from;
        while next < end {
            let batch = reader.read(AT_ONCE, WAIT).await?;
            streams.extend(batch.records.iter().map(|stored| stored.record.key.clone()));
            let wanted = batch.records.iter().filter(|stored| stored.offset < end && options.wants(stored));
            offsets.extend(wanted.map(|stored| stored.offset));
            next = batch.next;
        }
        if offsets.len() >= last {
            return Ok(offsets[offsets.len() - last]);
        }
        if from == 0 {
            return Ok(offsets.first().copied().unwrap_or(end));
        }
        back = back.saturating_mul(4);
    }
}

fn write(text: &mut String, envelope: &Envelope, json: bool) {
    let attributes = &envelope.attributes;
    let value = if json { String::from_utf8_lossy(&envelope.value) } else { "".into() };
    writeln!(
        text,
        "{} {:<12} {:>8} {:<34} {:<44} {} {value}",
        attributes.time,
        attributes.stream.as_str(),
        attributes.sequence,
        attributes.event_type,
        attributes.subject,
        attributes.actor,
    )
    .expect("invariant: a string takes whatever is written to it");
}
