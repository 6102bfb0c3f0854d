//! Helm, and the charts of this repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::component::component;
use crate::{Failure, stack};

/// Helm with files and repositories of its own.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    dir: PathBuf,
    /// `None`: it renders, and asks no cluster.
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// One without a cluster, whose files are in `dir`; `None` where it is neither there nor can be built.
    pub fn new(dir: &Path) -> Option<Helm> {
        Some(Helm { program: component("helm")?, dir: dir.to_owned(), kubeconfig: None })
    }

    /// One for a cluster, as somebody who may do anything.
    pub fn of(cluster: &Cluster) -> Option<Helm> {
        Some(Helm { kubeconfig: Some(cluster.kubeconfig().to_owned()), ..Helm::new(cluster.dir())? })
    }

    /// Runs it; what it printed.
    ///
    /// # Errors
    /// It failed; what it said is the message.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.output(arguments)?;
        if !output.status.success() {
            return Err(format!("helm {}: {}", arguments.join(" "), said(&output)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs what must fail; what it said.
    ///
    /// # Errors
    /// It succeeded.
    pub fn refusal(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Err(format!("helm {}: expected a failure, found success", arguments.join(" ")).into());
        }
        Ok(said(&output))
    }

    /// The objects that a chart renders to, with arguments of `helm template`.
    ///
    /// # Errors
    /// It does not render.
    pub fn objects(&self, release: &str, chart: &Path, arguments: &[&str]) -> Result<Vec<Value>, Failure> {
        let chart = chart.display().to_string();
        objects(&self.run(&[&["template", release, &chart], arguments].concat())?)
    }

    fn output(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.dir.join("helm").join(folder));
        }
        // Discovery is cached below the home directory.
        command.env("HOME", &self.dir).env_remove("KUBECONFIG");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        Ok(command.output()?)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The chart that is shipped.
pub fn chart() -> PathBuf {
    stack::repository().join("deploy/chart")
}

/// The tutorial's file of values.
pub fn tutorials_values() -> PathBuf {
    stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml")
}

/// What the tutorial's own command says besides release, chart and namespace.
pub fn tutorials_arguments() -> Vec<String> {
    let url = "prometheus.url=http://prometheus-kube-prometheus-prometheus.monitoring.svc";
    let arguments = ["--set", url, "--set", "prometheus.port=9090", "-f"];
    arguments.map(str::to_owned).into_iter().chain([tutorials_values().display().to_string()]).collect()
}

/// The files of values that the chart is rendered with in tests.
///
/// # Errors
/// They cannot be listed.
pub fn files_of_values() -> Result<Vec<PathBuf>, Failure> {
    let files = std::fs::read_dir(chart().join("ci"))?;
    let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>, Failure>>()?;
    files.sort();
    Ok(files)
}

/// The objects of several YAML documents.
///
/// # Errors
/// One is not YAML.
pub fn objects(documents: &str) -> Result<Vec<Value>, Failure> {
    let documents = documents.split("\n---").map(|document| document.trim_start_matches("---"));
    let objects = documents.map(|document| Ok(serde_saphyr::from_str::<Value>(document)?));
    let objects = objects.collect::<Result<Vec<_>, Failure>>()?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}
