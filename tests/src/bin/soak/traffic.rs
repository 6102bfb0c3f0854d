//! Requests of every kind at a steady rate, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::Failure;
use e2e::api::Api;
use e2e::world::World;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Load until stopped.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    callers: Callers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is away at the moment.
    away: Option<&'static str>,
    answers: Answers,
}

/// How many answers there were, by question, by what was away meanwhile and by what they were.
pub(crate) type Answers = BTreeMap<(&'static str, &'static str, String), Count>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) answers: u64,
    /// Of those, how many were not as expected, while nothing was away.
    pub(crate) wrong: u64,
}

/// One kind of request.
struct Question {
    name: &'static str,
    who: Who,
    path: &'static str,
    /// The status of a good answer.
    code: u16,
}

#[derive(Clone, Copy)]
enum Who {
    /// May do anything, over one connection.
    Admin,
    /// The same through kube-apiserver.
    Aggregated,
    /// Has a token that is good for one metric.
    Reader,
    /// Has a token that is good for nothing.
    Nobody,
    /// Has a token that is not good.
    Impostor,
    /// Shows nothing: each answer is the last of its connection.
    Stranger,
}

struct Callers {
    admin: Api,
    aggregated: Api,
    bearer: Api,
    stranger: Api,
    reader: String,
    nobody: String,
}

impl Traffic {
    /// Starts it.
    pub(crate) fn start(world: &World, rate: u32) -> Result<Traffic, Failure> {
        let cluster = &world.cluster;
        let callers = Callers {
            admin: cluster.api(world.port, Some(("admin", &["system:masters"])))?,
            aggregated: Api::from_kubeconfig(cluster.kubeconfig())?,
            bearer: cluster.api(world.port, None)?,
            stranger: cluster.api(world.port, None)?,
            reader: format!("Bearer {}", cluster.token("default", "reader")?),
            nobody: format!("Bearer {}", cluster.token("default", "nobody")?),
        };
        let shared = Arc::new(Shared { callers, state: Mutex::default() });
        let (stop, mut stopped) = watch::channel(false);
        let asking = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut requests = JoinSet::new();
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            for question in QUESTIONS.iter().cycle() {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stopped.changed() => break,
                }
                let shared = Arc::clone(&asking);
                requests.spawn(async move { shared.ask(question).await });
                while requests.try_join_next().is_some() {}
            }
            requests.join_all().await;
        });
        Ok(Traffic { shared, stop, task })
    }

    /// How many answers there were.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.state().answers.values().map(|count| count.answers).sum()
    }

    /// From now on something is away, and answers may say so; or nothing is.
    pub(crate) fn away(&self, what: Option<&'static str>) {
        self.shared.state().away = what;
    }

    /// Stops, and waits for answers under way.
    pub(crate) async fn stop(self) -> Answers {
        self.stop.send_replace(true);
        // It never panics: whatever a request comes to is counted.
        let _ = self.task.await;
        std::mem::take(&mut self.shared.state().answers)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, question: &'static Question) {
        let before = self.state().away;
        let became = match self.callers.send(question).await {
            Ok(code) => code.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let mut state = self.state();
        let away = before.or(state.away);
        let wrong = away.is_none() && became != question.code.to_string();
        let count = state.answers.entry((question.name, away.unwrap_or("nothing"), became)).or_default();
        count.answers += 1;
        count.wrong += u64::from(wrong);
    }
}

impl Callers {
    async fn send(&self, question: &Question) -> Result<u16, Failure> {
        let (api, token) = match question.who {
            Who::Admin => (&self.admin, None),
            Who::Aggregated => (&self.aggregated, None),
            Who::Reader => (&self.bearer, Some(self.reader.clone())),
            Who::Nobody => (&self.bearer, Some(self.nobody.clone())),
            Who::Impostor => (&self.stranger, Some("Bearer no-such-token".to_owned())),
            Who::Stranger => (&self.stranger, None),
        };
        let headers: Vec<_> = token.map(|token| ("authorization".to_owned(), token)).into_iter().collect();
        Ok(api.send("GET", question.path, &headers).await?.code)
    }
}

const fn question(name: &'static str, who: Who, path: &'static str, code: u16) -> Question {
    Question { name, who, path, code }
}

/// In turn. Most are what autoscalers ask.
const QUESTIONS: [Question; 20] = [
    question(
        "every pod",
        Who::Aggregated,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth",
        200,
    ),
    question(
        "pods by label",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth?labelSelector=tier%3Dback",
        200,
    ),
    question(
        "one pod",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/model-b/depth",
        200,
    ),
    question(
        "a rate",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/latency_seconds_avg",
        200,
    ),
    question(
        "a metric by its labels",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth?metricLabelSelector=pod%3Dmodel-a",
        200,
    ),
    question(
        "a namespace",
        Who::Aggregated,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/metrics/depth",
        200,
    ),
    question(
        "a deployment",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/deployments.apps/model-c/depth",
        200,
    ),
    question("nodes", Who::Admin, "/apis/custom.metrics.k8s.io/v1beta2/nodes/*/node_power_watts", 200),
    question(
        "an external metric",
        Who::Aggregated,
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue_length?labelSelector=queue%3De",
        200,
    ),
    question("use of pods", Who::Aggregated, "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", 200),
    question("use of nodes", Who::Admin, "/apis/metrics.k8s.io/v1beta1/nodes", 200),
    question("discovery", Who::Admin, "/apis/custom.metrics.k8s.io/v1beta1", 200),
    question("what is documented", Who::Admin, "/openapi/v2", 200),
    question("figures", Who::Admin, "/metrics", 200),
    question(
        "what the reader may",
        Who::Reader,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth",
        200,
    ),
    question(
        "what no caller may",
        Who::Nobody,
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth",
        403,
    ),
    question("a bad token", Who::Impostor, "/apis/custom.metrics.k8s.io/v1beta1", 401),
    question("health", Who::Stranger, "/readyz", 200),
    question(
        "no such metric",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/nosuch",
        404,
    ),
    question(
        "a query at fault",
        Who::Admin,
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/broken",
        500,
    ),
];
