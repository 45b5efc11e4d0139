//! Follows a halted stream again after somebody has decided so.
//!
//! The log is read a second time from the event at fault, this stream only. The halt's own row is the offset: it moves with the rows, and goes
//! in the transaction in which the stream has reached the model. That transaction also moves the model's fence, so every worker reads again
//! which streams are halted before its next step; no event of the stream is left out or applied twice.

use lotline_domain::chain::{Chain, ChainHead};
use lotline_domain::envelope::Envelope;
use lotline_domain::record::{Offset, ReadBatch};
use sqlx::Connection;

use super::ledger::LedgerWorker;
use super::pace::READ_WAIT;
use super::{Interrupt, meter};
use crate::batch::{LedgerBatch, LedgerEvent, Slice};
use crate::connection::Expendable;
use crate::decisions::{self, Skipped};
use crate::failure::{ApplyError, full_text};
use crate::halts::{self, Due};

const RECORDS: usize = 2_000;

/// What became of one step of a stream.
enum Step {
    /// The model has these events; there are more before it is where the model is.
    Moved,
    /// The stream is where the model is.
    Healed,
    /// Somebody else has moved the halt, or it is gone.
    Stale,
}

impl LedgerWorker {
    /// Tries all halted streams that are due. Gives whether there were any; the worker must then read anew where it stands.
    pub(super) async fn heal(&self) -> Result<bool, Interrupt> {
        let pool = &self.context.pool;
        let due = halts::due(pool, &self.target.place).await.map_err(|error| Interrupt::database(&error))?;
        for halt in &due {
            self.heal_stream(halt).await?;
        }
        Ok(!due.is_empty())
    }

    async fn heal_stream(&self, halt: &Due) -> Result<(), Interrupt> {
        let place = &self.target.place;
        let skipped = decisions::skipped(&self.context.pool, &place.tenant).await;
        let skipped = skipped.map_err(|error| Interrupt::database(&error))?.remove(&halt.model).unwrap_or_default();
        let opened = self.context.log.reader(place.partition, halt.offset).await;
        let mut reader = opened.map_err(|error| Interrupt::log(place.partition, error))?;
        let mut chain = None;
        let mut at = halt.offset;
        loop {
            let read = reader.read(RECORDS, READ_WAIT).await.map_err(|error| Interrupt::log(place.partition, error))?;
            let batch = self.stream_only(&halt.stream, &mut chain, read).await?;
            // Ranges still to do, the next one on top. A range that fails is halved until a single event is at fault.
            let mut open = vec![(0, batch.events.len())];
            while let Some((from, to)) = open.pop() {
                let events = &batch.events[from..to];
                let step = match unreadable(events, &skipped) {
                    Some(error) if events.len() == 1 => Err(Some(error.to_owned())),
                    Some(_) => Err(None),
                    None => match self.step(halt, at, (events, batch.next_after(to)), &skipped).await {
                        Ok(step) => Ok(step),
                        Err(error) if error.is_poison() && events.len() == 1 => Err(Some(error.full_text())),
                        Err(error) if error.is_poison() && !events.is_empty() => Err(None),
                        Err(error) => {
                            return Err(Interrupt::Outage {
                                doing: "following a stream again",
                                error: error.full_text(),
                            });
                        }
                    },
                };
                match step {
                    Ok(Step::Moved) => at = batch.next_after(to),
                    Ok(Step::Healed) => {
                        self.say_healed(halt);
                        return Ok(());
                    }
                    Ok(Step::Stale) => return Ok(()),
                    Err(Some(error)) => return self.halt_again(halt, at, &events[0], &error).await,
                    Err(None) => {
                        let middle = from + events.len() / 2;
                        open.push((middle, to));
                        open.push((from, middle));
                    }
                }
            }
        }
    }

    /// The events of one stream in a read. The chain goes on from what the first of them says was before it.
    async fn stream_only(
        &self,
        stream: &str,
        chain: &mut Option<Chain>,
        mut read: ReadBatch,
    ) -> Result<LedgerBatch, Interrupt> {
        let place = &self.target.place;
        read.records.retain(|stored| stored.record.key == stream);
        if chain.is_none()
            && let Some(Ok(first)) =
                read.records.first().map(|stored| Envelope::from_record(&place.tenant, &stored.record))
        {
            let attributes = &first.attributes;
            let head = ChainHead { sequence: attributes.sequence - 1, hash: first.prev_hash, time: attributes.time };
            *chain = Some(Chain::resume([(stream.to_owned(), head)].into()));
        }
        let mut fresh = Chain::default();
        let chain = chain.as_mut().unwrap_or(&mut fresh);
        let (batch, broken) = LedgerBatch::admit(&place.tenant, place.partition, chain, read).await;
        match broken {
            None => Ok(batch),
            Some(broken) => Err(Interrupt::Outage { doing: "following a stream again", error: full_text(&broken) }),
        }
    }

    /// One transaction: the model's offset is held, so that it does not move meanwhile; then the rows and the halt.
    async fn step(
        &self,
        halt: &Due,
        at: Offset,
        (events, next): (&[LedgerEvent], Offset),
        skipped: &Skipped,
    ) -> Result<Step, ApplyError> {
        let place = &self.target.place;
        let mut connection = Expendable::acquire(&self.context.pool).await?;
        let mut tx = connection.get().begin().await?;
        let Some(stand) = halts::hold(&mut tx, place, halt, at).await? else { return Ok(Step::Stale) };
        let reached = events.partition_point(|event| event.offset < stand.next);
        let (tenant, partition) = (place.tenant.as_str(), place.partition as i32);
        let halted = std::collections::HashSet::new();
        let events = &events[..reached];
        let slice = Slice { tenant, partition, generation: stand.generation, events, halted: &halted, skipped };
        halt.model.apply(&mut tx, slice).await?;
        let healed = next >= stand.next;
        if healed {
            halts::lift(&mut tx, place, halt).await?;
        } else {
            halts::advance(&mut tx, place, halt, next).await?;
        }
        tx.commit().await?;
        connection.keep();
        Ok(if healed { Step::Healed } else { Step::Moved })
    }

    async fn halt_again(&self, halt: &Due, at: Offset, event: &LedgerEvent, error: &str) -> Result<(), Interrupt> {
        let place = &self.target.place;
        halts::again(&self.context.pool, place, halt, at, (event.offset, event.sequence(), error))
            .await
            .map_err(|error| Interrupt::database(&error))?;
        tracing::error!(
            projection.model = halt.model.name(),
            stream = halt.stream,
            log.partition = place.partition,
            log.offset = event.offset,
            event.sequence = event.sequence(),
            error,
            "a read model was to follow a stream again and still can't"
        );
        Ok(())
    }

    fn say_healed(&self, halt: &Due) {
        tracing::warn!(
            projection.model = halt.model.name(),
            stream = halt.stream,
            log.partition = self.target.place.partition,
            "a read model follows a stream again"
        );
        meter::healed(&self.target.place, halt.model);
    }
}

fn unreadable<'a>(events: &'a [LedgerEvent], skipped: &Skipped) -> Option<&'a str> {
    events.iter().find_map(|event| match &event.fact {
        Err(error) if !event.is_in(skipped) => Some(error.as_str()),
        Err(_) | Ok(_) => None,
    })
}
