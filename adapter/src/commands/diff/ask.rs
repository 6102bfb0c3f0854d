//! One question to both servers, and what their answers come to.

use std::collections::BTreeMap;
use std::time::Duration;

use comparison::{Difference, Exchange, Request, Seen, Verdict, View};

use super::question::Question;
use crate::commands::client::{Answer, Client, ClientError};
use crate::config::{Diff, ServerAccess};

/// Why two servers cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiffError {
    /// A server cannot be asked.
    #[error("cannot ask {server}")]
    Server {
        server: String,
        #[source]
        cause: ClientError,
    },
    /// A server does not answer in time.
    #[error("cannot ask {server}: expected an answer to {path} in {ANSWER:?}, found none")]
    Late { server: String, path: String },
    /// A server refuses to say what it serves.
    #[error("cannot ask {server}: expected discovery at {path}, found {code}: {message}")]
    Discovery { server: String, path: String, code: u16, message: String },
    /// Neither server serves a metrics API.
    #[error(
        "expected custom.metrics.k8s.io, external.metrics.k8s.io or metrics.k8s.io at {here} or {there}, found none of them"
    )]
    Nothing { here: String, there: String },
    /// Which namespaces there are is not known.
    #[error("cannot list namespaces; name them with --namespace")]
    Namespaces(#[source] ClientError),
    /// The autoscalers of the cluster cannot be listed.
    #[error("cannot list autoscalers; name a file of them with --hpa")]
    Autoscalers(#[source] ClientError),
    /// A file of autoscalers cannot be read.
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        cause: std::io::Error,
    },
    /// A file holds no autoscalers.
    #[error("cannot read {path}: expected HorizontalPodAutoscalers of autoscaling/v2, found {found}")]
    NotAutoscalers { path: String, found: String },
}

/// Both servers.
pub(super) struct Pair {
    pub(super) here: Server,
    pub(super) there: Server,
}

/// One server and what it is called.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) name: String,
    is_cluster: bool,
}

impl Pair {
    pub(super) async fn new(config: &Diff) -> Result<Pair, DiffError> {
        Ok(Pair { here: Server::new(&config.here).await?, there: Server::new(&config.there).await? })
    }

    /// Both clients, first the one that leads to kube-apiserver.
    pub(super) fn of_cluster(&self) -> [&Client; 2] {
        let Pair { here, there } = self;
        if here.is_cluster || !there.is_cluster {
            [&here.client, &there.client]
        } else {
            [&there.client, &here.client]
        }
    }

    /// Whether one of them leads to kube-apiserver, which knows kinds and what autoscalers scale.
    pub(super) fn knows_kinds(&self) -> bool {
        self.here.is_cluster || self.there.is_cluster
    }

    /// Asks both at the same time.
    pub(super) async fn ask(&self, question: &Question) -> Result<Exchange, DiffError> {
        let path = &question.path;
        let (here, there) = tokio::try_join!(self.here.ask(path), self.there.ask(path))?;
        Ok(exchange(question, there, here))
    }
}

impl Server {
    async fn new(access: &ServerAccess) -> Result<Server, DiffError> {
        let name = name(access);
        let client =
            Client::of(access).await.map_err(|cause| DiffError::Server { server: name.clone(), cause })?;
        Ok(Server { client, name, is_cluster: matches!(access, ServerAccess::Cluster(_)) })
    }

    /// The answer of any status. A connection that breaks, as a port-forward's does at times, is tried once more.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, DiffError> {
        let once = async || tokio::time::timeout(ANSWER, self.client.get(path)).await;
        let answer = match once().await {
            Ok(Err(_)) => {
                tokio::time::sleep(BEFORE_ANOTHER).await;
                once().await
            }
            answer => answer,
        };
        let server = self.name.clone();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(DiffError::Server { server, cause }),
            Err(_) => Err(DiffError::Late { server, path: path.to_owned() }),
        }
    }
}

/// What a server is called in the report: where it is.
fn name(access: &ServerAccess) -> String {
    match access {
        ServerAccess::Url(access) => access.url.to_string().trim_end_matches('/').to_owned(),
        ServerAccess::Cluster(access) => {
            let context = access.context.as_ref().map(|context| format!("the context {context} of "));
            let file = access.kubeconfig.as_ref().map(|path| format!("the kubeconfig {}", path.display()));
            format!(
                "{}{}",
                context.unwrap_or_default(),
                file.unwrap_or_else(|| "kubectl's kubeconfig".to_owned())
            )
        }
    }
}

fn exchange(question: &Question, there: Answer, here: Answer) -> Exchange {
    let seen = |answer: Answer| Seen {
        answer: comparison::Answer {
            code: answer.code,
            headers: BTreeMap::new(),
            body: answer.body.to_vec(),
        },
        queries: Vec::new(),
        samples: Vec::new(),
    };
    Exchange {
        origin: String::new(),
        request: Request {
            method: "GET".to_owned(),
            path: question.path.clone(),
            headers: Vec::new(),
            caller: String::new(),
        },
        upstream: seen(there),
        ours: seen(here),
        upstream_twin: None,
        chance: question.chance,
        growing: Vec::new(),
        view: View::Meaning,
        read: |_, _| None,
    }
}

/// What two answers come to.
#[derive(Debug, PartialEq)]
pub(super) enum Judged {
    /// Equal, or different by these numbers; or by values within the tolerance, too.
    Explained { by: Vec<&'static str>, within: bool },
    /// Different without a reason.
    Differs(Vec<Difference>),
}

pub(super) fn judged(exchange: &Exchange, tolerance: f64) -> Judged {
    match comparison::verdict(exchange) {
        Verdict::Equal => Judged::Explained { by: Vec::new(), within: false },
        Verdict::Deviates(by) => Judged::Explained { by, within: false },
        Verdict::Unexplained { by, differences, .. } => {
            let differences: Vec<Difference> =
                differences.into_iter().filter(|difference| !difference.is_within(tolerance)).collect();
            if differences.is_empty() {
                Judged::Explained { by, within: true }
            } else {
                Judged::Differs(differences)
            }
        }
    }
}

/// As long as kube-apiserver waits for a server behind it, and a little longer.
const ANSWER: Duration = Duration::from_secs(65);
const BEFORE_ANOTHER: Duration = Duration::from_secs(1);
