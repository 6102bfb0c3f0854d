//! Programs under test: started with a log file, waited for by a condition, ended by process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// Runs a program to its end and gives what it wrote.
///
/// # Errors
/// It did not start, or failed; what it said of that is the message.
pub fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .output()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts a program; both its outputs go to `DIR/NAME.log`.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn start(name: &str, program: &Path, arguments: &[String], dir: &Path) -> Result<Process, Failure> {
        let mut command = Command::new(program);
        command.args(arguments);
        Process::start_command(name, command, dir)
    }

    /// As [`Process::start`], for a command that needs more than arguments.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn start_command(name: &str, mut command: Command, dir: &Path) -> Result<Process, Failure> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        Ok(Process { name: name.to_owned(), child, log, started })
    }

    /// Waits for a log line that holds `marker` and returns the word after it.
    ///
    /// # Errors
    /// The program ended, or the time ran out; the end of its log is part of the message.
    pub async fn wait_for_log(&mut self, marker: &str, limit: Duration) -> Result<String, Failure> {
        let line = self.wait_for_line(marker, limit).await?;
        let after = line.split_once(marker).map_or("", |(_, after)| after);
        Ok(after.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Waits for a log line that holds a text, and returns it.
    ///
    /// # Errors
    /// As [`Process::wait_for_log`].
    pub async fn wait_for_line(&mut self, text: &str, limit: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait()?;
            let log = self.log();
            // The last line may be half written.
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if let Some(status) = ended {
                return Err(format!("{} ended with {status}:\n{}", self.name, self.tail()).into());
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{} did not log {text:?} within {limit:?}:\n{}", self.name, self.tail()).into()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Resident memory in bytes, of the processes that it started too; `None` once it ended.
    pub fn resident_bytes(&self) -> Option<u64> {
        let own = resident_bytes(self.child.id())?;
        Some(own + descendants(self.child.id()).into_iter().filter_map(resident_bytes).sum::<u64>())
    }

    /// The most resident memory that it had since it began or [`Process::forget_peak`], in bytes; `None` once it ended.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        status_bytes(self.child.id(), "VmHWM:")
    }

    /// Has [`Process::peak_resident_bytes`] begin again with what is resident now.
    ///
    /// # Errors
    /// The kernel does not let this account do so.
    pub fn forget_peak(&self) -> Result<(), Failure> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// How many files, sockets among them, it has open; `None` once it ended.
    pub fn open_files(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?.count())
    }

    /// Asks it to end: SIGTERM.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn terminate(&self) -> Result<(), Failure> {
        self.signal("TERM")
    }

    /// Sends it a signal by its name, such as INT.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn signal(&self, name: &str) -> Result<(), Failure> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(format!("cannot send {name} to {}", self.name).into()) }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("{} did not end within {limit:?}:\n{}", self.name, self.tail()).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// CPU time that it has used; `None` once it ended.
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        // Linux shows 100 ticks a second to every program.
        Some(Duration::from_millis(ticks * 10))
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Process {
    /// Kills it alone: what it started goes on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let others = descendants(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !others.is_empty() {
            // Those that have ended by themselves since are none of our concern.
            let ids = others.iter().map(u32::to_string);
            let _ = Command::new("kill").arg("-KILL").args(ids).stderr(Stdio::null()).status();
        }
    }
}

/// Resident memory of a process in bytes; `None` once it ended.
pub fn resident_bytes(process: u32) -> Option<u64> {
    status_bytes(process, "VmRSS:")
}

fn status_bytes(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// What a process started, and what those started.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for thread in threads {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

const POLL: Duration = Duration::from_millis(10);
