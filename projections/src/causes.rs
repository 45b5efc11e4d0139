//! Which traces the newest rows of the read models come from, for whoever tells subscribers of them.
//!
//! A worker puts the contexts of traced events into its announcement; here the last few are kept by place. They are a help to people who look
//! for a cause, and no more than that: a subscriber who is slower than [`KEPT`] events, or woken by the table before the announcement came,
//! is told of a change without its trace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lotline_domain::record::Offset;
use lotline_domain::trace::TraceContext;

use crate::model::Model;

/// Events of all models together.
const KEPT: usize = 2_048;

type Spot = (Model, u32, Offset);

/// The newest traced events.
#[derive(Debug, Default)]
pub(crate) struct Causes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    contexts: HashMap<Spot, TraceContext>,
    /// In the order in which they came.
    spots: VecDeque<Spot>,
}

impl Causes {
    pub(crate) fn note(&self, model: Model, partition: u32, traced: &[(Offset, TraceContext)]) {
        if traced.is_empty() {
            return;
        }
        let mut kept = self.lock();
        for (offset, context) in traced {
            let spot = (model, partition, *offset);
            if kept.contexts.insert(spot, *context).is_none() {
                kept.spots.push_back(spot);
            }
            if kept.spots.len() > KEPT
                && let Some(oldest) = kept.spots.pop_front()
            {
                kept.contexts.remove(&oldest);
            }
        }
    }

    pub(crate) fn of(&self, model: Model, partition: u32, offset: Offset) -> Option<TraceContext> {
        self.lock().contexts.get(&(model, partition, offset)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Losing one by a panic elsewhere costs a link.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let causes = Causes::default();
        let context = |span: u8| TraceContext { trace_id: [1; 16], span_id: [span; 8], flags: 1 };
        let last = KEPT as Offset;
        for offset in 0..=last {
            causes.note(Model::Lots, 3, &[(offset, context(1))]);
        }
        causes.note(Model::Lots, 3, &[(last, context(2))]);
        assert_eq!(causes.of(Model::Lots, 3, 0), None, "the oldest has made room");
        assert_eq!(causes.of(Model::Lots, 3, 1), Some(context(1)));
        assert_eq!(causes.of(Model::Lots, 3, last), Some(context(2)), "what is announced again is kept once");
        assert_eq!((causes.of(Model::Audit, 3, 1), causes.of(Model::Lots, 2, 1)), (None, None));
    }
}
