//! What standalone mode leaves on disk, seen from outside: files for kubectl and for other clients, until the program
//! ends.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Certificate, Client, Identity};
use testkit::process::Process;
use testkit::wait::PATIENCE;

// A thread of its own closes the connection while this one waits for the end.
#[tokio::test(flavor = "multi_thread")]
async fn client_files_lie_in_a_temporary_folder_that_is_removed_at_the_end() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outer = tempfile::tempdir().expect("a folder");
    let rules = outer.path().join("rules.yaml");
    std::fs::write(&rules, "rules: []\n").expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_adapter"));
    command
        .args(["--standalone", "--secure-port=0", "--prometheus-url=http://127.0.0.1:1"])
        .arg(format!("--config={}", rules.display()))
        .env("TMPDIR", outer.path());
    let mut program =
        Process::start_command("adapter", command, outer.path()).expect("the program was built");
    let serving = program.wait_for_line("kubeconfig=", PATIENCE).await.expect("where the files are");
    let field = |name: &str| {
        let (_, behind) = serving.split_once(name).unwrap_or_else(|| panic!("no {name} in {serving}"));
        behind.split_whitespace().next().expect("a value").to_owned()
    };
    let kubeconfig = PathBuf::from(field("kubeconfig="));
    let dir = kubeconfig.parent().expect("a folder").to_owned();
    assert!(dir.starts_with(outer.path()), "{}", dir.display());

    for (name, mode) in
        [("kubeconfig", 0o600), ("client.key", 0o600), ("client.crt", 0o644), ("ca.crt", 0o644)]
    {
        let found = std::fs::metadata(dir.join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    assert_eq!(answer(&dir, &format!("https://{}/apis", field("address="))).await, 200);

    program.terminate().expect("it runs");
    assert!(program.wait(PATIENCE).await.expect("it ends").success());
    assert!(!dir.exists(), "{} is left", dir.display());
}

/// What a client with the files of a folder is answered.
async fn answer(dir: &Path, url: &str) -> u16 {
    let read = |name: &str| std::fs::read(dir.join(name)).expect(name);
    let pair = [read("client.crt"), read("client.key")].concat();
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(&read("ca.crt")).expect("PEM")])
        .identity(Identity::from_pem(&pair).expect("PEM"))
        .build()
        .expect("a client");
    client.get(url).send().await.expect("an answer").status().as_u16()
}
