//! Installs on a node what several tests need.

use std::path::Path;
use std::time::Duration;

use super::Node;
use super::stack::Stack;
use crate::component::required;
use crate::tutorial::{V1, V2};
use crate::{Failure, stack as files, until};

impl Node {
    /// Installs a stack on an empty node, if it is not there, and waits until it is ready.
    ///
    /// # Errors
    /// Something was refused or did not become ready.
    pub async fn install(&mut self, stack: Stack) -> Result<(), Failure> {
        if self.installed == Some(stack) {
            return Ok(());
        }
        self.clear()?;
        match stack {
            Stack::TutorialCpu => {
                self.install_prometheus().await?;
                self.import_images()?;
                self.apply_overlay(&files::repository().join("deploy/overlays/tutorial-cpu")).await?;
            }
        }
        self.installed = Some(stack);
        Ok(())
    }

    /// Has the next test install its stack again, since one that failed may have left it changed.
    pub(super) fn distrust_installed(&mut self) {
        self.installed = None;
    }

    /// Installs the Prometheus Operator and a Prometheus that selects `release: prometheus`.
    ///
    /// # Errors
    /// Something was refused or did not become ready.
    pub async fn install_prometheus(&self) -> Result<(), Failure> {
        if self
            .cluster
            .kubectl(&["-n=kube-system", "get", "deployment", "prometheus-operator", "--ignore-not-found"])?
            .is_empty()
        {
            for name in ["prometheus-operator", "prometheus-config-reloader", "prometheus", "hey"] {
                self.import_program(name)?;
            }
            let definitions = required("prometheus-operator-crds")?;
            self.cluster.kubectl(&["apply", "--server-side", "-f", &definitions.display().to_string()])?;
            self.apply_manifest("operator")?;
            self.wait_rolled_out("kube-system", "deployment/prometheus-operator")?;
        }
        self.apply_manifest("prometheus")?;
        let statefulset = "statefulset/prometheus-prometheus-kube-prometheus-prometheus";
        let exists = || async {
            let found = self.cluster.kubectl(&["-n=monitoring", "get", statefulset, "--ignore-not-found"])?;
            Ok(!found.is_empty())
        };
        until("the operator has made a StatefulSet", MINUTE, exists).await?;
        self.wait_rolled_out("monitoring", statefulset)
    }

    /// Applies a kustomization with the adapter and model servers, and waits until its APIServices are available.
    ///
    /// # Errors
    /// kubectl refused it, or something did not become ready.
    pub async fn apply_overlay(&self, folder: &Path) -> Result<(), Failure> {
        self.cluster.kubectl(&["apply", "-k", &folder.display().to_string()])?;
        self.wait_rolled_out("monitoring", "deployment/adapter")?;
        self.wait_rolled_out("default", "deployment/model-server")?;
        self.cluster.wait_available(V1).await?;
        self.cluster.wait_available(V2).await
    }

    /// Makes the images of the adapter and of the model server for CPUs known to the node, as `scripts/images` packs
    /// them.
    ///
    /// # Errors
    /// They are not made.
    pub fn import_images(&self) -> Result<(), Failure> {
        ["adapter", "model-server-cpu"].into_iter().try_for_each(|name| self.import_image(name))
    }

    /// Makes an image that `scripts/images` packs known to the node.
    ///
    /// # Errors
    /// It is not made.
    pub fn import_image(&self, name: &str) -> Result<(), Failure> {
        let archive = files::repository().join(format!("target/images/{name}.tar"));
        if !archive.exists() {
            let archive = archive.display();
            return Err(format!("{archive} is not there: scripts/images --prebuilt {name} makes it").into());
        }
        self.import_archive(&archive)
    }
}

const MINUTE: Duration = Duration::from_mins(1);
