//! `/livez`, `/readyz`, `/healthz`: named checks that their owners set (`docs/contract.md#health`).
//!
//! Reading them never touches anything else: a probe costs a few loads, whatever the server is busy with.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use crate::query::QueryParameters;

/// The checks of a server.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<Check>>>,
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    /// Whether a failing check takes the server out of service (`readyz`) or ends it (`livez` too).
    scope: Scope,
    state: State,
}

#[derive(Debug)]
enum State {
    /// With what does not keep the server from serving and should be known all the same.
    Passing(Option<String>),
    /// The reason.
    Failing(String),
}

/// Which endpoints show a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All three.
    Alive,
    /// `readyz` only.
    Ready,
}

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/healthz`.
    Healthz,
    /// `/livez`.
    Livez,
    /// `/readyz`.
    Readyz,
}

/// Sets one check. Starts as failed.
#[derive(Debug, Clone)]
pub struct CheckHandle {
    checks: Arc<Mutex<Vec<Check>>>,
    position: usize,
}

/// What an endpoint answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 200 or 500.
    pub healthy: bool,
    /// The text.
    pub body: String,
}

impl Health {
    /// Adds a check, failing with `waiting for NAME` until its handle says otherwise.
    pub fn check(&self, name: &'static str, scope: Scope) -> CheckHandle {
        let mut checks = lock(&self.checks);
        checks.push(Check { name, scope, state: State::Failing(format!("waiting for {name}")) });
        CheckHandle { checks: Arc::clone(&self.checks), position: checks.len() - 1 }
    }

    /// The names of an endpoint's checks.
    pub fn names(&self, endpoint: Endpoint) -> Vec<&'static str> {
        lock(&self.checks)
            .iter()
            .filter(|check| endpoint.shows(check.scope))
            .map(|check| check.name)
            .collect()
    }

    /// Whether every check of an endpoint passes.
    pub fn passes(&self, endpoint: Endpoint) -> bool {
        self.report(endpoint, &QueryParameters::default()).healthy
    }

    /// The whole endpoint: `ok`, or a line for each check when something fails or `?verbose` is given. `?exclude=NAME`
    /// leaves a check out. Reasons are withheld: anybody may ask. Remarks are shown, so they must not hold what
    /// strangers should not know.
    pub fn report(&self, endpoint: Endpoint, query: &QueryParameters) -> Report {
        let checks = lock(&self.checks);
        let mut excluded: Vec<&str> = query.all("exclude").filter(|name| !name.is_empty()).collect();
        let mut healthy = true;
        let mut lines = String::new();
        for check in checks.iter().filter(|check| endpoint.shows(check.scope)) {
            let name = check.name;
            if let Some(position) = excluded.iter().position(|other| *other == name) {
                excluded.remove(position);
                let _ = writeln!(lines, "[+]{name} excluded: ok");
                continue;
            }
            let _ = match &check.state {
                State::Passing(None) => writeln!(lines, "[+]{name} ok"),
                State::Passing(Some(remark)) => writeln!(lines, "[+]{name} ok: {remark}"),
                State::Failing(_) => {
                    healthy = false;
                    writeln!(lines, "[-]{name} failed: reason withheld")
                }
            };
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let _ = writeln!(
                lines,
                "warn: some health checks cannot be excluded: no matches for {}",
                names.join(", ")
            );
        }
        let endpoint = endpoint.name();
        let body = match (healthy, query.first("verbose")) {
            (true, None) => "ok".to_owned(),
            (true, Some(_)) => format!("{lines}{endpoint} check passed\n"),
            (false, _) => format!("{lines}{endpoint} check failed\n"),
        };
        Report { healthy, body }
    }

    /// One check by its name, with its reason; `None` when the endpoint has no such check.
    pub fn report_one(&self, endpoint: Endpoint, name: &str) -> Option<Report> {
        let checks = lock(&self.checks);
        let check = checks.iter().find(|check| check.name == name && endpoint.shows(check.scope))?;
        Some(match &check.state {
            State::Passing(None) => Report { healthy: true, body: "ok".to_owned() },
            State::Passing(Some(remark)) => Report { healthy: true, body: format!("ok: {remark}\n") },
            State::Failing(reason) => {
                Report { healthy: false, body: format!("internal server error: {reason}\n") }
            }
        })
    }
}

impl CheckHandle {
    /// The check passes from now on.
    pub fn pass(&self) {
        self.set(State::Passing(None));
    }

    /// The check passes from now on, and `/readyz?verbose` shows a remark beside it: the server serves, and something
    /// lacks.
    pub fn pass_with(&self, remark: impl Into<String>) {
        self.set(State::Passing(Some(remark.into())));
    }

    /// The check fails from now on.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(State::Failing(reason.into()));
    }

    fn set(&self, state: State) {
        lock(&self.checks)[self.position].state = state;
    }
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 3] = [Endpoint::Healthz, Endpoint::Livez, Endpoint::Readyz];

    /// The path's segment.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Healthz => "healthz",
            Endpoint::Livez => "livez",
            Endpoint::Readyz => "readyz",
        }
    }

    /// The endpoint of a path's first segment.
    pub fn parse(segment: &str) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == segment)
    }

    fn shows(self, scope: Scope) -> bool {
        scope == Scope::Alive || self == Endpoint::Readyz
    }
}

fn lock(checks: &Mutex<Vec<Check>>) -> std::sync::MutexGuard<'_, Vec<Check>> {
    // No code panics while it holds the lock: it only guards reads and writes of plain fields.
    checks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readyz_waits_and_livez_does_not() {
        let health = Health::default();
        health.check("ping", Scope::Alive).pass();
        let relist = health.check("relist", Scope::Ready);
        let none = QueryParameters::default();
        assert_eq!(health.report(Endpoint::Livez, &none), Report { healthy: true, body: "ok".to_owned() });
        let report = health.report(Endpoint::Readyz, &none);
        assert!(!report.healthy);
        assert_eq!(report.body, "[+]ping ok\n[-]relist failed: reason withheld\nreadyz check failed\n");
        let excluded = QueryParameters::parse("exclude=relist&exclude=nope&verbose");
        assert_eq!(
            health.report(Endpoint::Readyz, &excluded).body,
            "[+]ping ok\n[+]relist excluded: ok\nwarn: some health checks cannot be excluded: no matches for \
             \"nope\"\nreadyz check passed\n"
        );
        assert_eq!(
            health.report_one(Endpoint::Readyz, "relist").expect("a check").body,
            "internal server error: waiting for relist\n"
        );
        assert_eq!(health.report_one(Endpoint::Livez, "relist"), None);
        relist.pass();
        assert_eq!(health.report(Endpoint::Readyz, &none).body, "ok");
        relist.fail("gone");
        assert!(!health.passes(Endpoint::Readyz));
    }

    #[test]
    fn a_remark_is_shown_and_does_not_fail_the_check() {
        let health = Health::default();
        let listed = health.check("objects-listed", Scope::Ready);
        listed.pass_with("cannot list pods");
        let report = |query: &str| health.report(Endpoint::Readyz, &QueryParameters::parse(query));
        assert_eq!(report(""), Report { healthy: true, body: "ok".to_owned() });
        assert_eq!(report("verbose").body, "[+]objects-listed ok: cannot list pods\nreadyz check passed\n");
        let one = health.report_one(Endpoint::Readyz, "objects-listed").expect("a check");
        assert_eq!(one, Report { healthy: true, body: "ok: cannot list pods\n".to_owned() });
        listed.pass();
        assert_eq!(report("verbose").body, "[+]objects-listed ok\nreadyz check passed\n");
    }
}
