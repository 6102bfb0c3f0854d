//! What the end-to-end tests and the demo share: processes that are always ended, the API as a kubeconfig opens it,
//! load, and the autoscaler's formula.

pub mod api;
pub mod backend;
pub mod cgroup;
pub mod cluster;
pub mod comparison;
pub mod component;
pub mod helm;
pub mod hpa;
pub mod image;
pub mod kubelet;
pub mod load;
pub mod node;
pub mod picture;
pub mod prometheus;
pub mod proxy;
pub mod service;
pub mod signals;
pub mod stack;
pub mod tutorial;
pub mod world;

pub use testkit::{Failure, process};

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs a program, and prints why it failed.
pub async fn run(what: &str, program: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    match program.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the {what} failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a program until it is interrupted: then it is dropped, and with it the processes that it started.
///
/// # Errors
/// The program's own, or the interruption.
pub async fn interruptible<T>(program: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        outcome = program => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

/// A port of loopback that is free at the moment.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a condition holds.
///
/// # Errors
/// The condition itself failed, or the time ran out.
pub async fn until(
    what: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while !check().await? {
        if Instant::now() > deadline {
            return Err(format!("not within {limit:?}: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The middle one of some figures; NaN for none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time within which a share of some times lies; `None` of none.
pub fn quantile(times: &[Duration], share: f64) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let position = (times.len().checked_sub(1)? as f64 * share) as usize;
    Some(times[position])
}

/// A number of seconds as a program's argument.
///
/// # Errors
/// It is none.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
