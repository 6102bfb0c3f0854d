//! Real servers and clients, found or built by `scripts/components`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::{Failure, stack};

/// Tests of one binary that need the same component wait for one build of it.
static BUILDING: Mutex<()> = Mutex::new(());

/// A real server or client; `None` where it is neither there nor can be built.
pub fn component(name: &str) -> Option<PathBuf> {
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(stack::repository().join("scripts/components")).arg(name).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && path.exists()).then_some(path)
}

/// A real server or client without which a test fails.
///
/// # Errors
/// It is neither there nor can be built.
pub fn required(name: &str) -> Result<PathBuf, Failure> {
    component(name).ok_or_else(|| {
        format!("{name} is not here and could not be built: scripts/components {name} says why").into()
    })
}

/// Ends a test that cannot run here: said in one line, and a failure with `CI` set.
///
/// # Errors
/// With `CI` set.
pub fn left_out(name: &str) -> Result<(), Failure> {
    let message = format!("{name} is not here and could not be built: scripts/components {name} says why");
    if std::env::var_os("CI").is_some() {
        return Err(message.into());
    }
    eprintln!("not run: {message}");
    Ok(())
}
