//! Whether a client that brings nothing has nothing to bring.

use std::time::Duration;

use lotline_domain::record::Offset;

/// How long nothing comes before the end of the log is asked for, and between two such questions.
pub(super) const LISTEN: Duration = Duration::from_secs(10);

/// Questions without an answer before the client itself is held to be the reason. Brokers that are away take as long, and a new client costs little.
const UNANSWERED: u32 = 6;

/// What the answers so far have told. Forgotten whenever something comes.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// There was more to read when it was asked last.
    behind: bool,
    unanswered: u32,
}

/// What to do about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Replace,
}

impl Doubt {
    /// The log ends at `end`, or nobody could say, while the client stands at `next` and has brought nothing since the last time. What is there
    /// at one question may be on its way; what has not come until the next one does not come.
    pub(super) fn told(&mut self, next: Offset, end: Option<Offset>) -> Verdict {
        let replace = if let Some(end) = end {
            self.unanswered = 0;
            let was_behind = std::mem::replace(&mut self.behind, end > next);
            was_behind && self.behind
        } else {
            self.unanswered += 1;
            self.unanswered >= UNANSWERED
        };
        if replace { Verdict::Replace } else { Verdict::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_all_is_kept_however_long_it_is_quiet() {
        let mut doubt = Doubt::default();
        assert!((0..100).all(|_| doubt.told(7, Some(7)) == Verdict::Keep));
    }

    #[test]
    fn who_is_behind_twice_is_replaced() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.told(7, Some(9)), Verdict::Keep, "it may be on its way");
        assert_eq!(doubt.told(7, Some(9)), Verdict::Replace);
    }

    #[test]
    fn questions_that_nobody_answers_say_little_and_many_of_them_enough() {
        let mut doubt = Doubt::default();
        assert!((1..UNANSWERED).all(|_| doubt.told(7, None) == Verdict::Keep));
        assert_eq!(doubt.told(7, Some(7)), Verdict::Keep);
        assert!((1..UNANSWERED).all(|_| doubt.told(7, None) == Verdict::Keep), "counted anew");
        assert_eq!(doubt.told(7, None), Verdict::Replace);
    }
}
