//! `adapter diff` between two running servers, as somebody runs it who migrates.

use std::path::PathBuf;
use std::process::Command;

use e2e::cluster::Cluster;
use e2e::{Failure, stack};
use serde_json::Value;

/// Runs the command with the token of an account that may do anything.
pub(crate) struct DiffCommand {
    program: PathBuf,
    token: PathBuf,
    authority: PathBuf,
}

impl DiffCommand {
    pub(crate) fn new(cluster: &Cluster) -> Result<DiffCommand, Failure> {
        cluster.kubectl(&["create", "serviceaccount", "migrating", "-n", "monitoring"])?;
        let account = "--serviceaccount=monitoring:migrating";
        cluster.kubectl(&[
            "create",
            "clusterrolebinding",
            "migrating",
            "--clusterrole=cluster-admin",
            account,
        ])?;
        let token = cluster.dir().join("migrating.token");
        std::fs::write(&token, cluster.token("monitoring", "migrating")?)?;
        Ok(DiffCommand {
            program: stack::program("adapter")?,
            token,
            authority: cluster.dir().join("ca.crt"),
        })
    }

    /// The exit status and the report of a comparison of the servers at two ports.
    pub(crate) fn run(&self, here: u16, there: u16) -> Result<(Option<i32>, Value, String), Failure> {
        let run = |format: &str| {
            let (token, authority) = (self.token.display(), self.authority.display());
            Command::new(&self.program)
                .args(["diff", "--pause=1s", "--namespace=default", "--namespace=other", format])
                .args([
                    format!("--server=https://localhost:{here}"),
                    format!("--against=https://localhost:{there}"),
                ])
                .args([format!("--token-file={token}"), format!("--against-token-file={token}")])
                .args([format!("--ca-file={authority}"), format!("--against-ca-file={authority}")])
                .output()
        };
        let (json, text) = (run("--format=json")?, run("--format=text")?);
        let text = String::from_utf8(text.stdout)?;
        let report = serde_json::from_slice(&json.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&json.stderr)))?;
        Ok((json.status.code(), report, text))
    }
}
