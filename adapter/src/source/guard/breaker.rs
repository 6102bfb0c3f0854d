//! A circuit breaker: whether a source is asked at all, by what became of the questions before.
//!
//! It opens when several requests in a row had no answer, whether each sent a question or some waited for the same one.
//! While it is open no question is asked but one after each pause, the probe: an answer closes the breaker.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is known of a source's answers.
#[derive(Debug, Default)]
pub(in crate::source) struct Breaker {
    phase: Phase,
    /// When a question was answered last.
    answered: Option<Instant>,
    /// Probes so far.
    probes: u64,
}

/// Whether questions are asked.
#[derive(Debug, Clone)]
enum Phase {
    /// They are. This many requests in a row had no answer, the first of them asked at a time.
    Closed { silent: usize, since: Option<SystemTime> },
    /// They are not, until a time.
    Open { outage: Outage, until: Instant },
    /// One is, the probe of this number. If it takes longer than until a time, another one is.
    HalfOpen { outage: Outage, probe: u64, until: Instant },
}

/// A time without any answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Outage {
    /// When its first question was asked.
    pub(in crate::source) since: SystemTime,
    /// Why the question that opened the breaker had no answer.
    pub(in crate::source) cause: Arc<str>,
}

/// The state, as metrics and the status name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum State {
    Closed,
    Open,
    HalfOpen,
}

/// A question that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Question {
    asked: Instant,
    probe: Option<u64>,
}

/// Why a question is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Refused {
    pub(in crate::source) outage: Outage,
    /// A probe is under way.
    pub(in crate::source) is_probed: bool,
}

impl Breaker {
    /// Lets a question through. What becomes of it must be told.
    ///
    /// # Errors
    /// The source is not asked now.
    pub(in crate::source) fn ask(&mut self, now: Instant) -> Result<Question, Refused> {
        self.look(now)?;
        let Some(outage) = self.outage().cloned() else {
            return Ok(Question { asked: now, probe: None });
        };
        self.probes += 1;
        self.phase = Phase::HalfOpen { outage, probe: self.probes, until: now + PAUSE };
        Ok(Question { asked: now, probe: Some(self.probes) })
    }

    /// Whether a question would be let through.
    ///
    /// # Errors
    /// The source is not asked now.
    pub(in crate::source) fn look(&self, now: Instant) -> Result<(), Refused> {
        match &self.phase {
            Phase::Open { outage, until } if now < *until => {
                Err(Refused { outage: outage.clone(), is_probed: false })
            }
            Phase::HalfOpen { outage, until, .. } if now < *until => {
                Err(Refused { outage: outage.clone(), is_probed: true })
            }
            _ => Ok(()),
        }
    }

    /// A question had an answer. Says whether that closed the breaker.
    pub(in crate::source) fn answered(&mut self, now: Instant) -> bool {
        self.answered = Some(now);
        let was_open = !matches!(self.phase, Phase::Closed { .. });
        self.phase = Phase::default();
        was_open
    }

    /// A question had no answer, nor had the requests that waited for it, one at least. Says which outage begins, if
    /// that opens a closed breaker.
    pub(in crate::source) fn silent(
        &mut self,
        question: Question,
        requests: usize,
        (now, wall_clock): (Instant, SystemTime),
        cause: &str,
    ) -> Option<Outage> {
        // Others had an answer meanwhile: the question is at fault and not the source.
        if self.answered.is_some_and(|answered| answered > question.asked) {
            return None;
        }
        match &mut self.phase {
            Phase::Closed { silent, since } => {
                *silent += requests.max(1);
                let took = now.saturating_duration_since(question.asked);
                let since = *since.get_or_insert_with(|| wall_clock.checked_sub(took).unwrap_or(wall_clock));
                if *silent < MOST_SILENT {
                    return None;
                }
                let outage = Outage { since, cause: cause.into() };
                self.phase = Phase::Open { outage: outage.clone(), until: now + PAUSE };
                Some(outage)
            }
            Phase::HalfOpen { outage, probe, .. } if Some(*probe) == question.probe => {
                self.phase = Phase::Open { outage: outage.clone(), until: now + PAUSE };
                None
            }
            // Asked before the breaker opened, or a probe that took too long.
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// A question was given up, so that it says nothing. If it was the probe, the next one is.
    pub(in crate::source) fn given_up(&mut self, question: Question, now: Instant) {
        if let Phase::HalfOpen { outage, probe, .. } = &self.phase
            && Some(*probe) == question.probe
        {
            self.phase = Phase::Open { outage: outage.clone(), until: now };
        }
    }

    /// The outage, while the breaker is not closed.
    pub(in crate::source) fn outage(&self) -> Option<&Outage> {
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { outage, .. } | Phase::HalfOpen { outage, .. } => Some(outage),
        }
    }

    pub(in crate::source) fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Closed { silent: 0, since: None }
    }
}

impl State {
    pub(in crate::source) fn label(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// Requests in a row without an answer that open the breaker: fewer than the five workers that kube-controller-manager
/// has for autoscalers, so that it opens before all of them wait twice.
const MOST_SILENT: usize = 3;
/// The time between two probes, and before the first. The one before may be lost, or a listing that takes long.
pub(in crate::source) const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// A breaker by a clock that a test sets.
    struct Clocked {
        breaker: Breaker,
        start: Instant,
        now: f64,
    }

    impl Clocked {
        fn new() -> Clocked {
            Clocked { breaker: Breaker::default(), start: Instant::now(), now: 0.0 }
        }

        fn at(&self, seconds: f64) -> Instant {
            self.start + Duration::from_secs_f64(seconds)
        }

        fn wall_clock(seconds: f64) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_secs_f64(seconds)
        }

        fn ask(&mut self, at: f64) -> Result<Question, Refused> {
            self.now = at;
            let at = self.at(at);
            let (looked, asked) = (self.breaker.look(at), self.breaker.ask(at));
            assert_eq!(looked.err(), asked.clone().err());
            asked
        }

        fn silent(&mut self, question: Question, at: f64) -> Option<Outage> {
            let at = (self.at(at), Clocked::wall_clock(at));
            self.breaker.silent(question, 1, at, "no answer")
        }

        fn answered(&mut self, at: f64) -> bool {
            let at = self.at(at);
            self.breaker.answered(at)
        }

        /// Opened at 14 s by three questions, asked from 0 s on.
        fn opened() -> Clocked {
            let mut clocked = Clocked::new();
            let questions: Vec<Question> =
                (0..3).map(|number| clocked.ask(f64::from(number)).expect("closed")).collect();
            for (number, question) in questions.into_iter().enumerate() {
                let outage = clocked.silent(question, number as f64 + 12.0);
                let expected = Outage { since: Clocked::wall_clock(0.0), cause: "no answer".into() };
                assert_eq!(outage, (number == 2).then_some(expected), "{number}");
            }
            clocked
        }
    }

    #[test]
    fn three_questions_in_a_row_without_an_answer_open_it_for_a_pause() {
        let mut clocked = Clocked::opened();
        assert_eq!(clocked.breaker.state(), State::Open);
        for at in [14.0, 18.9] {
            let refused = clocked.ask(at).expect_err("open");
            assert_eq!(refused.outage.since, Clocked::wall_clock(0.0));
            assert!(!refused.is_probed);
        }
        clocked.ask(19.0).expect("the probe");
        assert_eq!(clocked.breaker.state(), State::HalfOpen);
    }

    #[test]
    fn requests_that_waited_for_the_same_question_count_each() {
        let mut clocked = Clocked::new();
        for (requests, opens) in [(0, false), (1, false), (1, true)] {
            let question = clocked.ask(0.0).expect("closed");
            let at = (clocked.at(10.0), Clocked::wall_clock(10.0));
            let outage = clocked.breaker.silent(question, requests, at, "no answer");
            assert_eq!(outage.is_some(), opens, "{requests}");
        }
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let mut clocked = Clocked::new();
        for second in 0..40 {
            let at = f64::from(second);
            let question = clocked.ask(at).expect("closed");
            if second % 3 == 2 {
                assert!(!clocked.answered(at + 0.5));
            } else {
                assert_eq!(clocked.silent(question, at + 0.5), None);
            }
        }
        assert_eq!(clocked.breaker.state(), State::Closed);
    }

    #[test]
    fn slow_questions_beside_answered_ones_leave_it_closed() {
        let mut clocked = Clocked::new();
        let slow: Vec<Question> = (0..20).map(|_| clocked.ask(0.0).expect("closed")).collect();
        clocked.ask(1.0).expect("closed");
        clocked.answered(1.1);
        for question in slow {
            assert_eq!(clocked.silent(question, 10.0), None);
        }
        assert_eq!(clocked.breaker.state(), State::Closed);
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut clocked = Clocked::opened();
        let probe = clocked.ask(20.0).expect("the probe");
        assert!(clocked.ask(20.1).expect_err("probed").is_probed);
        assert_eq!(clocked.silent(probe, 25.0), None, "it is the same outage");
        let refused = clocked.ask(29.9).expect_err("open again");
        assert_eq!((refused.outage.since, refused.is_probed), (Clocked::wall_clock(0.0), false));
        clocked.ask(30.0).expect("the next probe");
        assert!(clocked.answered(30.1));
        assert_eq!(clocked.breaker.state(), State::Closed);
        let all: Vec<_> = (0..50).map(|_| clocked.ask(30.2)).collect();
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn an_answer_to_any_question_closes_it() {
        let mut clocked = Clocked::opened();
        // Asked before it opened.
        assert!(clocked.answered(15.0));
        clocked.ask(15.1).expect("closed");
        assert!(!clocked.answered(15.2));
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_turn_to_the_next() {
        let mut clocked = Clocked::opened();
        let probe = clocked.ask(20.0).expect("the probe");
        let now = clocked.at(20.5);
        clocked.breaker.given_up(probe, now);
        clocked.ask(20.5).expect("the next probe");
        // What became of the first does not count any more.
        assert_eq!(clocked.silent(probe, 21.0), None);
        assert!(clocked.ask(21.0).expect_err("probed").is_probed);
    }

    #[test]
    fn a_probe_that_takes_long_does_not_keep_others_out() {
        let mut clocked = Clocked::opened();
        let long = clocked.ask(20.0).expect("the probe");
        assert!(clocked.ask(24.9).expect_err("probed").is_probed);
        let second = clocked.ask(25.0).expect("a second probe");
        assert_eq!(clocked.silent(long, 26.0), None);
        assert_eq!(clocked.breaker.state(), State::HalfOpen);
        clocked.silent(second, 27.0);
        assert_eq!(clocked.breaker.state(), State::Open);
    }

    #[test]
    fn questions_of_before_the_outage_do_not_prolong_it() {
        let mut clocked = Clocked::new();
        let late: Vec<Question> = (0..3).map(|_| clocked.ask(0.0).expect("closed")).collect();
        for at in 1..4 {
            let question = clocked.ask(f64::from(at)).expect("closed");
            clocked.silent(question, f64::from(at));
        }
        assert_eq!(clocked.breaker.state(), State::Open);
        for question in late {
            clocked.silent(question, 9.0);
        }
        clocked.ask(10.0).expect("the probe, five seconds after it opened");
    }
}
