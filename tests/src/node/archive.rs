//! Images of one static program in `/bin`, packed as `docker save` writes them.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::Failure;
use crate::process::run;

/// Packs a program as the entry point of an image into `file`.
pub(super) fn pack(reference: &str, name: &str, program: &Path, file: &Path) -> Result<(), Failure> {
    let layer = file.with_extension("layer");
    let mut files = tar::Builder::new(File::create(&layer)?);
    files.append_path_with_name(program, format!("bin/{name}"))?;
    files.finish()?;
    // An image names its layers by their digests. In a program without optimisation they would take minutes.
    let digest = run(Command::new("sha256sum").arg(&layer))?;
    let digest = digest.split_whitespace().next().ok_or("expected a digest of sha256sum, found nothing")?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": [format!("/bin/{name}")]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(File::create(file)?);
    archive.append_path_with_name(&layer, "layer.tar")?;
    append(&mut archive, "config.json", &config.to_string())?;
    append(&mut archive, "manifest.json", &manifest.to_string())?;
    archive.finish()?;
    Ok(std::fs::remove_file(layer)?)
}

fn append(archive: &mut tar::Builder<File>, name: &str, content: &str) -> Result<(), Failure> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    Ok(archive.append_data(&mut header, name, content.as_bytes())?)
}
