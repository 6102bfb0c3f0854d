//! The audit log: who asked for what, and how it ended, in Kubernetes' form (`audit.k8s.io/v1`), a JSON object a line.

mod event;
mod log;
mod policy;

pub use log::{AuditLog, AuditStats, Rotation, Target};
pub use policy::{Level, Policy, PolicyError, RuleFault, Stage};

use std::time::SystemTime;

use crate::authn::User;
use crate::authz::Decision;
use crate::server::IncomingRequest;
pub(crate) use event::Outcome;
use event::{Event, Known};
use policy::Verdict;

/// Records requests as a policy says.
pub struct Audit {
    policy: Policy,
    log: AuditLog,
}

impl Audit {
    /// Records into a log.
    pub fn new(policy: Policy, log: AuditLog) -> Audit {
        Audit { policy, log }
    }

    fn write(&self, event: &Event<'_>) {
        match serde_json::to_vec(event) {
            Ok(mut line) => {
                line.push(b'\n');
                self.log.write(line);
            }
            // Events hold only strings, numbers and lists of them: serde_json writes those without fail.
            Err(error) => tracing::error!(%error, "cannot encode an audit event; dropping it"),
        }
    }
}

/// A request on its way through the gate, and what is recorded of it. One that its client gives up on is recorded when
/// it is dropped.
pub(crate) struct AuditTrail<'a> {
    received: &'a IncomingRequest,
    audit: Option<&'a Audit>,
    verdict: Option<Verdict>,
    /// Who is asking, once that is known.
    pub(crate) user: Option<User>,
    /// What access control decided, once it did.
    pub(crate) decision: Option<Decision>,
    /// Whether the request ended in a panic.
    pub(crate) panicked: bool,
}

impl<'a> AuditTrail<'a> {
    pub(crate) fn new(received: &'a IncomingRequest, audit: Option<&'a Audit>) -> AuditTrail<'a> {
        AuditTrail { received, audit, verdict: None, user: None, decision: None, panicked: false }
    }

    /// It is known who is asking.
    pub(crate) fn authenticated(&mut self, user: User) {
        self.user = Some(user);
        if let Some(audit) = self.audit {
            self.verdict = Some(audit.policy.decide(self.user.as_ref(), &self.received.attributes));
            self.stage(Stage::RequestReceived, None);
        }
    }

    /// The request is over.
    pub(crate) fn finish(&mut self, outcome: Outcome<'_>) {
        let stage = match (&self.user, self.panicked) {
            (_, true) => Stage::Panic,
            (Some(_), false) => Stage::ResponseComplete,
            (None, false) => {
                // Refused before it was known who is asking. Not every such request shows a credential: one with a
                // broken timeout is not looked at any further, and Kubernetes does not record it either.
                if outcome.code != 401 {
                    return;
                }
                self.verdict = self.audit.map(|audit| audit.policy.decide(None, &self.received.attributes));
                Stage::ResponseStarted
            }
        };
        self.stage(stage, Some(outcome));
        self.verdict = None;
    }

    fn stage(&self, stage: Stage, outcome: Option<Outcome<'_>>) {
        let (Some(audit), Some(verdict)) = (self.audit, &self.verdict) else { return };
        if verdict.level == Level::None || verdict.omitted.contains(&stage) {
            return;
        }
        let known =
            Known { received: self.received, user: self.user.as_ref(), decision: self.decision.as_ref() };
        audit.write(&Event::new(known, verdict.level, stage, outcome, SystemTime::now()));
    }
}

impl Drop for AuditTrail<'_> {
    fn drop(&mut self) {
        if self.verdict.is_some() {
            self.stage(Stage::ResponseComplete, None);
        }
    }
}
