//! Which questions both servers are asked: discovery, what autoscalers ask, and every metric that both list.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::ask::{DiffError, Pair, Server};
use super::question::Question;
use super::report::{LeftOut, Report};
use crate::commands::asked::path;
use crate::commands::client::{ClientError, escaped};
use crate::config::{AskedMetric, Autoscalers, Diff};

mod autoscalers;

/// All questions, as many as may be asked, and a report that says what is not asked.
pub(super) async fn all(pair: &Pair, config: &Diff) -> Result<(Vec<Question>, Report), DiffError> {
    let mut report = Report::new(&pair.here.name, &pair.there.name);
    let mut questions = Vec::new();
    let mut metrics = Vec::new();
    for group in GROUPS {
        let path = format!("/apis/{group}");
        let (here, there) = tokio::try_join!(listed(&pair.here, &path), listed(&pair.there, &path))?;
        if here.is_none() && there.is_none() {
            report.notes.push(format!("neither server serves {group}"));
            continue;
        }
        questions.push(Question::new(path));
        let (here, there) = (here.unwrap_or_default(), there.unwrap_or_default());
        let of_one = here.keys().filter(|name| !there.contains_key(*name)).count()
            + there.keys().filter(|name| !here.contains_key(*name)).count();
        if of_one > 0 {
            report
                .notes
                .push(format!("not asked for: {of_one} resources of {group} that one server alone lists"));
        }
        metrics.push((group, here, there));
    }
    if questions.is_empty() {
        let (here, there) = (pair.here.name.clone(), pair.there.name.clone());
        return Err(DiffError::Nothing { here, there });
    }
    let asked_first = match &config.autoscalers {
        Autoscalers::None => Vec::new(),
        Autoscalers::Cluster => autoscalers::of_cluster(pair, &config.namespaces, &mut report).await?,
        Autoscalers::Files(files) => {
            autoscalers::of_files(pair, files, &config.namespaces, &mut report).await?
        }
    };
    questions.extend(asked_first.into_iter().map(Question::new));
    let namespaces = match config.namespaces.as_slice() {
        [] => namespaces(pair).await?,
        given => given.to_vec(),
    };
    questions.extend(of_metrics(&metrics, &namespaces, !config.namespaces.is_empty()));
    let mut seen = HashSet::new();
    questions.retain(|question| seen.insert(question.path.clone()));
    if let Some(first) = questions.get(config.most_questions) {
        let (most, first) = (config.most_questions, first.path.clone());
        report.left_out = Some(LeftOut { questions: questions.len() - most, most, first });
        questions.truncate(most);
    }
    Ok((questions, report))
}

/// What a server lists: names of metrics, and whether they are in namespaces; `None` where the API is not served.
async fn listed(server: &Server, path: &str) -> Result<Option<BTreeMap<String, bool>>, DiffError> {
    let answer = server.ask(path).await?;
    match answer.code {
        // As kube-apiserver says it, and as a server that another group is asked of.
        404 => return Ok(None),
        200 => {}
        code => {
            let (server, path, message) = (server.name.clone(), path.to_owned(), answer.message());
            return Err(DiffError::Discovery { server, path, code, message });
        }
    }
    let read: ResourceList = serde_json::from_slice(&answer.body).map_err(|cause| DiffError::Server {
        server: server.name.clone(),
        cause: ClientError::Form { path: path.to_owned(), cause },
    })?;
    Ok(Some(read.resources.into_iter().map(|resource| (resource.name, resource.namespaced)).collect()))
}

#[derive(Deserialize)]
struct ResourceList {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    #[serde(default)]
    namespaced: bool,
}

type Listed = (&'static str, BTreeMap<String, bool>, BTreeMap<String, bool>);

/// Every metric that both list, of each namespace in turn: a bound leaves out namespaces rather than metrics.
fn of_metrics(listed: &[Listed], namespaces: &[String], only_these: bool) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut of_no_namespace = BTreeSet::new();
    for namespace in namespaces {
        for (group, here, there) in listed {
            for (name, &namespaced) in here.iter().filter(|(name, _)| there.contains_key(*name)) {
                let question = |path: String| Question {
                    path,
                    chance: (there.get(name) != Some(&namespaced)).then_some("D32"),
                };
                match (*group, name.split_once('/')) {
                    (CUSTOM, Some(("namespaces", metric))) => {
                        questions.push(question(metric_path(namespace, metric, Some("namespaces"))));
                    }
                    (CUSTOM, Some((resource, metric))) if namespaced => {
                        questions.push(question(metric_path(namespace, metric, Some(resource))));
                    }
                    (CUSTOM, Some((resource, metric))) => {
                        let (resource, metric) = (escaped(resource), escaped(metric));
                        of_no_namespace.insert(format!("/apis/{CUSTOM}/{resource}/*/{metric}"));
                    }
                    (EXTERNAL, _) => questions.push(question(metric_path(namespace, name, None))),
                    (USAGE, _) if namespaced && only_these => {
                        questions.push(question(format!(
                            "/apis/{USAGE}/namespaces/{}/{name}",
                            escaped(namespace)
                        )));
                    }
                    (USAGE, _) => {
                        of_no_namespace.insert(format!("/apis/{USAGE}/{name}"));
                    }
                    // The second version of custom metrics has the metrics of the first.
                    _ => {}
                }
            }
        }
    }
    questions.splice(0..0, of_no_namespace.into_iter().map(Question::new));
    questions
}

fn metric_path(namespace: &str, metric: &str, resource: Option<&str>) -> String {
    let metric = AskedMetric {
        name: metric.to_owned(),
        objects: resource.map(|resource| (resource.to_owned(), "*".to_owned())),
        selector: None,
        metric_selector: None,
    };
    path(namespace, &metric)
}

/// The namespaces of the cluster.
async fn namespaces(pair: &Pair) -> Result<Vec<String>, DiffError> {
    let [first, second] = pair.of_cluster();
    let list: Value = match first.object(NAMESPACES).await {
        Ok(list) => list,
        Err(first) => second.object(NAMESPACES).await.map_err(|_| DiffError::Namespaces(first))?,
    };
    let names = list["items"].as_array().into_iter().flatten();
    let mut names: Vec<String> =
        names.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect();
    names.sort_unstable();
    Ok(names)
}

const CUSTOM: &str = "custom.metrics.k8s.io/v1beta1";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";
const USAGE: &str = "metrics.k8s.io/v1beta1";
const GROUPS: [&str; 4] = [CUSTOM, "custom.metrics.k8s.io/v1beta2", EXTERNAL, USAGE];
const NAMESPACES: &str = "/api/v1/namespaces";
