//! The open connections, and which of them is closed to accept one more.
//!
//! The server never stops accepting: a probe of the kubelet has a second, and must not wait for clients that have
//! nothing to say. So one more connection than there are places ends another one, in this order:
//!
//! 1. of an address of which strangers hold their share, if the new one is from there: such an address only ever
//!    displaces its own; else of any address of which strangers hold more than that;
//! 2. of strangers before callers with a token, and of those before callers with a verified certificate;
//! 3. in the handshake, before without a request, before receiving the head of one, before one under way;
//! 4. the one that has been so for the longest time.
//!
//! A busy one goes only where strangers hold all places with requests under way, and then the one whose oldest request
//! is oldest: a probe and a usual request take milliseconds, a client that takes no answer takes as long as it may.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::activity::{Activity, Standing};
use crate::limits::Limits;
use crate::stats::{Stats, add};
use crate::trust::Trust;

/// All connections.
pub(crate) struct Places {
    limits: Limits,
    stats: Arc<Stats>,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    /// In the order in which they were accepted.
    places: BTreeMap<u64, Place>,
    handshakes: BTreeSet<u64>,
    certified: usize,
    sources: HashMap<IpAddr, Held>,
    /// What the last look at all connections found, in the order in which they go. To look at all for each that goes
    /// would take longer than to accept one.
    candidates: Vec<Candidate>,
    looked: Option<Instant>,
    warned: Option<Instant>,
}

struct Place {
    source: IpAddr,
    activity: Arc<Activity>,
    task: Option<AbortHandle>,
}

/// What strangers of an address hold.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    places: usize,
    handshakes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    trust: Trust,
    standing: Standing,
    since: Instant,
    number: u64,
    source: IpAddr,
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Ticket {
    places: Arc<Places>,
    number: u64,
    activity: Arc<Activity>,
}

impl Places {
    pub(crate) fn new(limits: Limits, stats: Arc<Stats>) -> Arc<Places> {
        Arc::new(Places { limits, stats, list: Mutex::default() })
    }

    /// Takes a place for a connection that was accepted; ends others if there is none.
    pub(crate) fn enter(self: &Arc<Self>, address: SocketAddr, activity: Arc<Activity>) -> Ticket {
        let source = source(address.ip());
        let mut list = self.list();
        while list.handshakes.len() >= self.limits.handshakes {
            let Some(number) = list.handshake_to_end(source, self.limits.handshake_share()) else { break };
            self.end(&mut list, number, Standing::Handshake);
        }
        while list.places.len() >= self.limits.connections
            || list.places.len() - list.certified >= self.limits.unreserved()
        {
            if !self.end_one(&mut list, source) {
                break;
            }
        }
        let number = list.next;
        list.next += 1;
        list.places.insert(number, Place { source, activity: Arc::clone(&activity), task: None });
        list.handshakes.insert(number);
        let held = list.sources.entry(source).or_default();
        held.places += 1;
        held.handshakes += 1;
        drop(list);
        add(&self.stats.accepted);
        add(&self.stats.open);
        Ticket { places: Arc::clone(self), number, activity }
    }

    /// Ends the connection that is least worth keeping, for a reason that the limits do not know, such as too many open
    /// files.
    pub(crate) fn end_any(&self) -> bool {
        self.end_one(&mut self.list(), Ipv6Addr::UNSPECIFIED.into())
    }

    /// The task that serves a connection, so that it can be ended.
    pub(crate) fn served_by(&self, number: u64, task: AbortHandle) {
        if let Some(place) = self.list().places.get_mut(&number) {
            place.task = Some(task);
        }
    }

    /// Tells all clients to leave.
    pub(crate) fn leave(&self) {
        for place in self.list().places.values() {
            place.activity.leave();
        }
    }

    fn end_one(&self, list: &mut List, newcomer: IpAddr) -> bool {
        let Some(candidate) = list.candidate(newcomer, self.limits.share()) else { return false };
        self.end(list, candidate.number, candidate.standing);
        if list.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            list.warned = Some(Instant::now());
            tracing::warn!(
                connections = self.limits.connections,
                reserved_for_certificates = self.limits.reserved,
                standing = ?candidate.standing,
                "connection limit reached; closing other connections to accept new ones"
            );
        }
        true
    }

    fn end(&self, list: &mut List, number: u64, standing: Standing) {
        let Some(place) = list.remove(number) else { return };
        if let Some(task) = place.task {
            task.abort();
        }
        let counter = match standing {
            Standing::Handshake => &self.stats.evicted_handshakes,
            Standing::Idle => &self.stats.evicted_idle,
            Standing::Head | Standing::Busy => &self.stats.evicted_busy,
        };
        add(counter);
        tracing::debug!(source = %place.source, ?standing, "closed a connection to accept another");
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // What it guards is changed by code that does not panic.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// The handshake that goes for one from `newcomer`.
    fn handshake_to_end(&self, newcomer: IpAddr, share: usize) -> Option<u64> {
        let held = |source: &IpAddr| self.held(source).handshakes;
        let source_of = |number: &u64| self.places.get(number).map(|place| place.source);
        let oldest = |chosen: &dyn Fn(&IpAddr) -> bool| {
            self.handshakes
                .iter()
                .find(|number| source_of(number).is_some_and(|source| chosen(&source)))
                .copied()
        };
        let own = || (held(&newcomer) >= share).then(|| oldest(&|source| *source == newcomer)).flatten();
        own().or_else(|| oldest(&|source| held(source) > share)).or_else(|| oldest(&|_| true))
    }

    /// The connection that goes for one from `newcomer`.
    fn candidate(&mut self, newcomer: IpAddr, share: usize) -> Option<Candidate> {
        let wanted = if self.held(&newcomer).places >= share {
            Wanted::Of(newcomer)
        } else if self.sources.values().any(|held| held.places > share) {
            Wanted::OfCrowds(share)
        } else {
            Wanted::Any
        };
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY)
            // Strangers may have come since, who go before callers that are known.
            && let Some(found) = self.take_candidate(wanted, Trust::Stranger)
        {
            return Some(found);
        }
        self.look();
        self.take_candidate(wanted, Trust::Certificate)
    }

    fn take_candidate(&mut self, wanted: Wanted, at_most: Trust) -> Option<Candidate> {
        let mut found = None;
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|candidate| {
            if found.is_some() || candidate.trust > at_most || !self.is_wanted(wanted, candidate) {
                return true;
            }
            // It may be over, or do something else by now.
            if self.places.get(&candidate.number).is_some_and(|place| candidate.is_still(place)) {
                found = Some(*candidate);
            }
            false
        });
        self.candidates = candidates;
        found
    }

    fn is_wanted(&self, wanted: Wanted, candidate: &Candidate) -> bool {
        match wanted {
            Wanted::Any => true,
            Wanted::Of(source) => candidate.trust == Trust::Stranger && candidate.source == source,
            Wanted::OfCrowds(share) => {
                candidate.trust == Trust::Stranger && self.held(&candidate.source).places > share
            }
        }
    }

    /// Looks at all connections.
    fn look(&mut self) {
        self.looked = Some(Instant::now());
        self.candidates.clear();
        self.candidates.extend(self.places.iter().map(|(&number, place)| {
            let (standing, since) = place.activity.standing();
            Candidate { trust: place.activity.trust(), standing, since, number, source: place.source }
        }));
        self.candidates.sort_unstable();
    }

    fn held(&self, source: &IpAddr) -> Held {
        self.sources.get(source).copied().unwrap_or_default()
    }

    fn handshake_is_over(&mut self, number: u64) {
        if self.handshakes.remove(&number)
            && let Some(place) = self.places.get(&number)
            && let Some(held) = self.sources.get_mut(&place.source)
        {
            held.handshakes -= 1;
        }
    }

    fn is_no_stranger(&mut self, source: IpAddr) {
        if let Some(held) = self.sources.get_mut(&source) {
            held.places -= 1;
            if held.places == 0 {
                self.sources.remove(&source);
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        self.handshake_is_over(number);
        let place = self.places.remove(&number)?;
        match place.activity.trust() {
            Trust::Stranger => self.is_no_stranger(place.source),
            Trust::Token => {}
            Trust::Certificate => self.certified -= 1,
        }
        Some(place)
    }
}

impl Candidate {
    fn is_still(&self, place: &Place) -> bool {
        place.activity.trust() == self.trust && place.activity.standing() == (self.standing, self.since)
    }
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(crate) fn handshake_is_over(&self) {
        self.places.list().handshake_is_over(self.number);
    }

    /// The caller is known, by what was verified. It never becomes less known.
    pub(crate) fn verified(&self, trust: Trust) {
        // Asked for every request.
        if trust <= self.activity.trust() {
            return;
        }
        let mut list = self.places.list();
        let Some(source) = list.places.get(&self.number).map(|place| place.source) else { return };
        let before = self.activity.trust();
        self.activity.set_trust(trust.max(before));
        if before == Trust::Stranger {
            list.is_no_stranger(source);
        }
        if trust == Trust::Certificate && before < trust {
            list.certified += 1;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.places.list().remove(self.number);
        self.places.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The holder of an IPv6 address has the other addresses of its network too.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Which connections may go.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Any,
    /// Those of strangers from there.
    Of(IpAddr),
    /// Those of strangers from addresses that hold more than their share.
    OfCrowds(usize),
}

/// How long what a look at all connections found is used.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const WARN_EVERY: Duration = Duration::from_secs(10);
