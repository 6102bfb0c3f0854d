//! Images as `scripts/images` packs them, and containers of them as a kubelet would start them: by runc, without any
//! file that the image does not bring.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::component::component;
use crate::process::Process;
use crate::{Failure, stack};

/// An image, unpacked.
#[derive(Debug)]
pub struct Image {
    /// The part of its configuration that says how it is started.
    pub config: Value,
    /// Bytes of all its files.
    pub bytes: u64,
    dir: TempDir,
}

/// What a container gets that its image does not hold.
#[derive(Debug, Default)]
pub struct Settings {
    /// What follows the entry point.
    pub arguments: Vec<String>,
    /// Files and folders of this machine, and where the container sees them.
    pub mounts: Vec<(PathBuf, &'static str)>,
    /// The share of one core, in thousandths; all of it if not given.
    pub millicores: Option<u32>,
}

/// A running container. Dropping it ends it.
#[derive(Debug)]
pub struct Container {
    /// The runtime, which ends as the program does and passes on its output.
    pub process: Process,
    runtime: Runtime,
    name: String,
}

/// runc, which starts containers, and where it keeps their state.
#[derive(Debug, Clone)]
struct Runtime {
    programs: PathBuf,
    state: PathBuf,
}

impl Image {
    /// Unpacks `target/images/NAME.tar`; `None` where it is not made.
    ///
    /// # Errors
    /// An archive that is not one of an image.
    pub fn open(name: &str) -> Result<Option<Image>, Failure> {
        let archive = stack::repository().join(format!("target/images/{name}.tar"));
        if !archive.exists() {
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let parts = dir.path().join("parts");
        unpack(&archive, &parts)?;
        let manifest: Value = read(&parts.join("manifest.json"))?;
        let part = |pointer: &str| {
            let name = manifest.pointer(pointer).and_then(Value::as_str);
            name.map(|name| parts.join(name)).ok_or_else(|| format!("no {pointer} in {manifest}"))
        };
        let mut config: Value = read(&part("/0/Config")?)?;
        let root = dir.path().join("rootfs");
        for layer in 0..manifest[0]["Layers"].as_array().map_or(0, Vec::len) {
            unpack(&part(&format!("/0/Layers/{layer}"))?, &root)?;
        }
        std::fs::remove_dir_all(&parts)?;
        Ok(Some(Image { config: config["config"].take(), bytes: bytes(&root)?, dir }))
    }

    /// Where its files are.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// Starts it as the user that it names, with a root that cannot be written, no capability, and this machine's
    /// network.
    ///
    /// # Errors
    /// There is no runc, or it refused.
    pub fn start(&self, name: &str, settings: &Settings) -> Result<Container, Failure> {
        let programs =
            component("container-runtime").ok_or("scripts/components container-runtime found none")?;
        let bundle = self.dir.path();
        std::fs::write(bundle.join("config.json"), self.specification(name, settings)?.to_string())?;
        let runtime = Runtime { programs, state: bundle.join("state") };
        let mut command = runtime.command();
        command.args(["run", "--bundle"]).arg(bundle).arg(name);
        let process = Process::start_command(name, command, bundle)?;
        Ok(Container { process, runtime, name: name.to_owned() })
    }

    /// What the Open Container Initiative's runtimes read.
    fn specification(&self, name: &str, settings: &Settings) -> Result<Value, Failure> {
        let user = self.config["User"].as_str().and_then(|user| user.split_once(':'));
        let (user, group) =
            user.ok_or_else(|| format!("expected USER:GROUP, found {}", self.config["User"]))?;
        let mut arguments = texts(&self.config["Entrypoint"]);
        arguments.extend(settings.arguments.iter().cloned());
        let mut mounts = vec![json!({"destination": "/proc", "type": "proc", "source": "proc"})];
        for (source, destination) in &settings.mounts {
            let options = ["rbind", if source.is_dir() { "rw" } else { "ro" }];
            mounts.push(
                json!({"destination": destination, "type": "bind", "source": source, "options": options}),
            );
        }
        let unique = Path::new(self.dir.path().file_name().unwrap_or_default());
        let cpu = settings.millicores.map(|cores| json!({"quota": cores * 100, "period": 100_000}));
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user.parse::<u32>()?, "gid": group.parse::<u32>()?},
                "args": arguments,
                "env": texts(&self.config["Env"]),
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs", "readonly": true},
            "mounts": mounts,
            "linux": {
                "cgroupsPath": format!("/{}-{name}", unique.display()),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
                "resources": {"cpu": cpu},
            },
        }))
    }
}

impl Runtime {
    fn command(&self) -> Command {
        let libraries = self.programs.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let mut command = Command::new(self.programs.join("usr/sbin/runc"));
        command.env("LD_LIBRARY_PATH", libraries).arg("--root").arg(&self.state);
        command
    }
}

impl Container {
    /// Waits for the end of its program.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn status(&mut self, limit: Duration) -> Result<Option<i32>, Failure> {
        Ok(self.process.wait(limit).await?.code())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It is gone if its program ended by itself.
        let _ = self.runtime.command().args(["delete", "--force", &self.name]).output();
    }
}

fn unpack(archive: &Path, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let output = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("cannot unpack {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr)).into())
}

fn read(file: &Path) -> Result<Value, Failure> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

fn bytes(folder: &Path) -> Result<u64, Failure> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        total += if about.is_dir() { bytes(&entry.path())? } else { about.len() };
    }
    Ok(total)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
