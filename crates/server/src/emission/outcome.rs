//! What an answer of a hook's address means: whether the event is dealt with, and when to try again.

use std::time::Duration;
use tercel_store::Progress;

/// Before the second attempt, the third …; before all after them, the last.
const PAUSES: [u64; 8] = [1, 5, 30, 120, 600, 1800, 3600, 7200];
/// Attempts after which an event is given up that its receiver heard and refused.
const MOST: i64 = PAUSES.len() as i64 + 1;
/// Attempts after which somebody is told.
const PATIENCE: i64 = 5;
/// Microseconds without a single success after which a hook is disabled.
const GIVEN_UP: i64 = 5 * 86_400_000_000;

/// How one attempt went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// None when there was no answer.
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `delivered`, `failed`, `given_up` or `gone`.
    pub outcome: &'static str,
    pub progress: Progress,
    /// Why the hook is disabled.
    pub stopped: Option<&'static str>,
    pub tell: Tell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    Nothing,
    /// Somebody should look.
    Trouble,
    /// What was told before is over.
    Over,
}

/// `spread` lies around 1: those that failed together do not all come back together.
pub fn verdict(before: Progress, seq: i64, answer: &Answer, now: i64, spread: f64) -> Verdict {
    let passed = Progress { reached: seq, attempts: 0, failing_since: None, next_at: 0 };
    let since = before.failing_since.unwrap_or(now);
    match answer.status {
        Some(200..300) => {
            let tell = if before.failing_since.is_some() { Tell::Over } else { Tell::Nothing };
            return Verdict { outcome: "delivered", progress: passed, stopped: None, tell };
        }
        Some(410) => {
            let stopped = Some("Its address answered 410: it wants no more");
            let progress = Progress { reached: seq - 1, ..before };
            return Verdict { outcome: "gone", progress, stopped, tell: Tell::Trouble };
        }
        _ => {}
    }
    let attempts = before.attempts + 1;
    if is_heard(answer) && attempts >= MOST {
        let progress = Progress { failing_since: Some(since), ..passed };
        return Verdict { outcome: "given_up", progress, stopped: None, tell: Tell::Trouble };
    }
    let pause = PAUSES[(attempts as usize - 1).min(PAUSES.len() - 1)] as f64 * spread;
    let pause = Duration::from_secs_f64(pause).max(answer.retry_after.unwrap_or_default());
    let next_at = now + pause.as_micros() as i64;
    let progress = Progress { reached: seq - 1, attempts, failing_since: Some(since), next_at };
    let is_over = now - since > GIVEN_UP;
    Verdict {
        outcome: "failed",
        progress,
        stopped: is_over.then_some("Nothing has got through for 5 days"),
        tell: if is_over || attempts == PATIENCE { Tell::Trouble } else { Tell::Nothing },
    }
}

/// Whether the receiver itself said no to this event. One that is away, or busy, says nothing about it.
fn is_heard(answer: &Answer) -> bool {
    answer.status.is_some_and(|status| !matches!(status, 408 | 425 | 429 | 502..=504))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn after(before: Progress, status: Option<u16>, now: i64) -> Verdict {
        verdict(before, 8, &Answer { status, retry_after: None }, now, 1.0)
    }

    #[test]
    fn what_was_taken_is_passed_and_ends_the_trouble() {
        let delivered = after(Progress { reached: 3, ..Progress::default() }, Some(204), 9);
        assert_eq!(delivered.progress, Progress { reached: 8, ..Progress::default() });
        assert_eq!((delivered.outcome, delivered.tell), ("delivered", Tell::Nothing));
        let before = Progress { reached: 7, attempts: 6, failing_since: Some(1), next_at: 5 };
        assert_eq!(after(before, Some(200), 9).tell, Tell::Over);
    }

    #[test]
    fn pauses_grow_and_obey_the_receiver() {
        let (mut progress, mut now, mut pauses) = (Progress::default(), 0, Vec::new());
        for _ in 0..10 {
            let verdict = after(progress, None, now);
            assert_eq!((verdict.outcome, verdict.progress.reached), ("failed", 7));
            assert_eq!(verdict.tell == Tell::Trouble, verdict.progress.attempts == 5);
            pauses.push((verdict.progress.next_at - now) / SECOND);
            (progress, now) = (verdict.progress, verdict.progress.next_at);
        }
        assert_eq!(pauses, [1, 5, 30, 120, 600, 1800, 3600, 7200, 7200, 7200]);
        let asked = Answer { status: Some(429), retry_after: Some(Duration::from_secs(90)) };
        assert_eq!(verdict(Progress::default(), 8, &asked, 0, 1.0).progress.next_at, 90 * SECOND);
    }

    #[test]
    fn an_event_that_is_refused_again_and_again_holds_the_others_up_for_hours_and_not_for_ever() {
        let nearly = |failing_since| Progress { reached: 7, attempts: MOST - 1, failing_since, next_at: 0 };
        for status in [301, 400, 401, 404, 500] {
            let verdict = after(nearly(Some(3)), Some(status), 9);
            assert_eq!((verdict.outcome, verdict.progress.reached), ("given_up", 8), "{status}");
            assert_eq!(verdict.progress.failing_since, Some(3), "the next one shows whether it is over");
        }
        for status in [None, Some(408), Some(429), Some(502), Some(503), Some(504)] {
            assert_eq!(after(nearly(Some(3)), status, 9).outcome, "failed", "{status:?}: nobody refused it");
        }
    }

    #[test]
    fn who_wants_no_more_and_who_is_away_for_days_is_disabled() {
        assert!(after(Progress::default(), Some(410), 9).stopped.is_some());
        let before = Progress { reached: 7, attempts: 60, failing_since: Some(0), next_at: 0 };
        assert_eq!(after(before, None, GIVEN_UP).stopped, None);
        assert_eq!(after(before, None, GIVEN_UP + 1).tell, Tell::Trouble);
        assert!(after(before, None, GIVEN_UP + 1).stopped.is_some());
    }
}
