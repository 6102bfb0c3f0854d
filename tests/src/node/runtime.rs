//! containerd with the images that pods run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::archive;
use super::network::POD_RANGE;
use crate::component::required;
use crate::process::{Process, run};
use crate::{Failure, until};

/// A running containerd.
pub(super) struct Runtime {
    process: Process,
    dir: PathBuf,
    /// Debian's programs and libraries.
    programs: PathBuf,
}

impl Runtime {
    /// Starts it with all its files below `dir`.
    pub(super) async fn start(dir: &Path) -> Result<Runtime, Failure> {
        let programs = required("container-runtime")?;
        let dir = dir.join("containerd");
        std::fs::create_dir_all(dir.join("cni"))?;
        std::fs::write(dir.join("config.toml"), config(&dir, &programs))?;
        std::fs::write(dir.join("cni/pods.conflist"), network(&dir))?;
        let process = start(&dir, &programs)?;
        let runtime = Runtime { process, dir, programs };
        runtime.wait_ready().await?;
        Ok(runtime)
    }

    /// Kills it and starts it again; the containers go on.
    pub(super) async fn restart(&mut self) -> Result<(), Failure> {
        self.process.kill();
        self.process = start(&self.dir, &self.programs)?;
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> Result<(), Failure> {
        let answers = until("containerd answers", Duration::from_secs(30), || async {
            Ok(self.ctr().arg("version").output()?.status.success())
        });
        answers.await.map_err(|error| format!("{error}\n{}", self.process.tail()).into())
    }

    /// Where kubelet asks it.
    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A program of Debian's.
    pub(super) fn command(&self, program: &str) -> Command {
        with_libraries(&self.programs.join(program), &self.programs)
    }

    /// The folders of its programs, for those who look for them.
    pub(super) fn search_path(&self) -> String {
        search_path(&self.programs)
    }

    /// The folder of the libraries that its programs need.
    pub(super) fn libraries(&self) -> PathBuf {
        libraries(&self.programs)
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn folder(&self) -> &Path {
        &self.dir
    }

    /// Packs a component and imports it as `e2e/NAME:1`.
    pub(super) fn import_program(&self, name: &str) -> Result<(), Failure> {
        let file = self.dir.join(format!("{name}.tar"));
        archive::pack(&format!("e2e/{name}:1"), name, &required(name)?, &file)?;
        self.import_archive(&file)?;
        Ok(std::fs::remove_file(file)?)
    }

    pub(super) fn import_archive(&self, file: &Path) -> Result<(), Failure> {
        run(self.ctr().args(["--namespace=k8s.io", "images", "import"]).arg(file)).map(drop)
    }

    fn ctr(&self) -> Command {
        let mut command = self.command("usr/bin/ctr");
        command.arg("--address").arg(self.socket());
        command
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }
}

fn start(dir: &Path, programs: &Path) -> Result<Process, Failure> {
    let mut command = with_libraries(&programs.join("usr/bin/containerd"), programs);
    command.arg("--config").arg(dir.join("config.toml"));
    Process::start_command("containerd", command, dir)
}

fn with_libraries(program: &Path, programs: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries(programs)).env("PATH", search_path(programs));
    command
}

fn libraries(programs: &Path) -> PathBuf {
    programs.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

fn search_path(programs: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    ["usr/bin", "usr/sbin"].map(|folder| programs.join(folder).display().to_string()).join(":") + ":" + &path
}

fn config(dir: &Path, programs: &Path) -> String {
    let (dir, plugins) = (dir.display(), programs.join("usr/lib/cni").display().to_string());
    // restrict_oom_score_adj: runc ends without a word where the machine does not allow to lower the score of a
    // process.
    format!(
        r#"
version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "docker.io/e2e/pause:1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{dir}/cni"
"#
    )
}

/// Every pod has an interface of its own whose other end is the node: no bridge, past which kube-proxy would not see
/// answers.
fn network(dir: &Path) -> String {
    let ipam = serde_json::json!({
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": dir.join("addresses"),
    });
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipMasq": false, "ipam": ipam}],
    })
    .to_string()
}
