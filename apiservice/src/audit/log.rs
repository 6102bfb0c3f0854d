//! Where events go: a file that is rotated, or standard output. A thread of its own writes; a request hands its event
//! over or, when the queue is full, leaves it out and counts it. No request ever waits for a disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, SystemTime};

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, made if it is missing.
    File {
        /// Its path.
        path: PathBuf,
        /// When another file is begun.
        rotation: Rotation,
    },
}

/// When another file is begun, and which old ones are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file.
    pub bytes: u64,
    /// Old files kept; 0 keeps all.
    pub backups: usize,
    /// Old files kept for this long; `None` keeps them whatever their age.
    pub max_age: Option<Duration>,
}

/// What became of events since the start.
#[derive(Debug, Default)]
pub struct AuditStats {
    /// Events that were handed over to be written.
    pub events: AtomicU64,
    /// Events left out because too many waited to be written.
    pub dropped: AtomicU64,
    /// Events that could not be written.
    pub failed: AtomicU64,
}

/// The audit log. Dropping it writes what waits, within a limit.
pub struct AuditLog {
    /// `None` while being dropped.
    queue: Option<SyncSender<Vec<u8>>>,
    waiting_bytes: Arc<AtomicUsize>,
    stats: Arc<AuditStats>,
    finished: std::sync::Mutex<Receiver<()>>,
}

impl AuditLog {
    /// Opens the log.
    ///
    /// # Errors
    /// A file that cannot be opened, a thread that cannot be started.
    pub fn open(target: Target) -> io::Result<AuditLog> {
        let output: Box<dyn Output> = match target {
            Target::Stdout => Box::new(io::stdout()),
            Target::File { path, rotation } => Box::new(RotatedFile::open(path, rotation)?),
        };
        AuditLog::over(output, QUEUED_EVENTS)
    }

    fn over(mut output: Box<dyn Output>, events: usize) -> io::Result<AuditLog> {
        let (queue, waiting) = sync_channel::<Vec<u8>>(events);
        let (finish, finished) = channel();
        let (waiting_bytes, stats) = (Arc::new(AtomicUsize::new(0)), Arc::new(AuditStats::default()));
        let (bytes, counted) = (Arc::clone(&waiting_bytes), Arc::clone(&stats));
        std::thread::Builder::new().name("audit-log".to_owned()).spawn(move || {
            let mut healthy = true;
            while let Ok(line) = waiting.recv() {
                let written = output.line(&line);
                bytes.fetch_sub(line.len(), Ordering::Relaxed);
                if let Err(error) = &written {
                    counted.failed.fetch_add(1, Ordering::Relaxed);
                    // Said once, until it works again.
                    if healthy {
                        tracing::error!(%error, "cannot write the audit log; dropping events until it can be written");
                    }
                }
                healthy = written.is_ok();
            }
            let _ = finish.send(());
        })?;
        let finished = std::sync::Mutex::new(finished);
        Ok(AuditLog { queue: Some(queue), waiting_bytes, stats, finished })
    }

    /// Hands a line over.
    pub(super) fn write(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        let room = before + length <= QUEUED_BYTES;
        let sent = match &self.queue {
            Some(queue) if room => queue.try_send(line),
            _ => Err(TrySendError::Full(line)),
        };
        if sent.is_ok() {
            self.stats.events.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        let dropped = self.stats.dropped.fetch_add(1, Ordering::Relaxed);
        if dropped.is_multiple_of(SAID_EVERY) {
            tracing::error!(dropped = dropped + 1, "audit queue full; dropping events");
        }
    }

    /// What became of events.
    pub fn stats(&self) -> Arc<AuditStats> {
        Arc::clone(&self.stats)
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue = None;
        let finished = self.finished.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if finished.recv_timeout(LONGEST_END).is_err() {
            tracing::error!("cannot finish writing the audit log in time; its last events are lost");
        }
    }
}

trait Output: Send + 'static {
    /// Writes a line, whole.
    fn line(&mut self, line: &[u8]) -> io::Result<()>;
}

impl Output for io::Stdout {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let mut locked = self.lock();
        locked.write_all(line)?;
        locked.flush()
    }
}

/// A file that is put aside when it is full. Old ones are named after the moment they were put aside, as Kubernetes'
/// own are: `audit-2026-11-24T22-15-30.123.log` for `audit.log`.
struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    /// `None` after a failure; the next line tries again.
    file: Option<BufWriter<File>>,
    written: u64,
}

impl RotatedFile {
    fn open(path: PathBuf, rotation: Rotation) -> io::Result<RotatedFile> {
        let mut rotated = RotatedFile { path, rotation, file: None, written: 0 };
        rotated.file()?;
        Ok(rotated)
    }

    fn file(&mut self) -> io::Result<&mut BufWriter<File>> {
        if self.file.is_none() {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir)?;
            }
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            self.written = file.metadata()?.len();
            self.file = Some(BufWriter::new(file));
        }
        // It was just put there.
        self.file.as_mut().ok_or_else(|| io::Error::other("no file"))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let (stem, extension) = self.name_parts();
        let mut moment = SystemTime::now();
        let aside = loop {
            let aside = self.path.with_file_name(format!("{stem}-{}{extension}", stamp(moment)));
            if !aside.exists() {
                break aside;
            }
            // Another one of the same millisecond: it must not be written over.
            moment += Duration::from_millis(1);
        };
        fs::rename(&self.path, aside)?;
        self.forget_old()
    }

    fn forget_old(&self) -> io::Result<()> {
        let mut old = self.aside()?;
        // Their names sort as their moments do.
        old.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let Rotation { backups, max_age, .. } = self.rotation;
        let oldest = max_age.and_then(|age| SystemTime::now().checked_sub(age)).map(stamp);
        for (position, (moment, path)) in old.iter().enumerate() {
            let too_many = backups > 0 && position >= backups;
            let too_old = oldest.as_ref().is_some_and(|oldest| moment < oldest);
            if too_many || too_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Files put aside, each with its moment.
    fn aside(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let (stem, extension) = self.name_parts();
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let moment = name
                .strip_prefix(&stem)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(&extension));
            if let Some(moment) = moment.filter(|moment| is_stamp(moment)) {
                found.push((moment.to_owned(), path));
            }
        }
        Ok(found)
    }

    /// `audit` and `.log`.
    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let stem = text(self.path.file_stem()).unwrap_or_default();
        (stem, text(self.path.extension()).map_or_else(String::new, |extension| format!(".{extension}")))
    }
}

impl Output for RotatedFile {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.file()?;
        if self.written > 0 && self.written + line.len() as u64 > self.rotation.bytes {
            self.rotate()?;
        }
        let file = self.file()?;
        let written = file.write_all(line).and_then(|()| file.flush());
        match written {
            Ok(()) => self.written += line.len() as u64,
            // Half a line may be in the buffer: it must not come before the next one.
            Err(_) => drop(self.file.take().map(BufWriter::into_parts)),
        }
        written
    }
}

fn stamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string()
}

fn is_stamp(text: &str) -> bool {
    text.len() == "2026-11-24T22-15-30.123".len()
        && text.bytes().zip("0000-00-00T00-00-00.000".bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

/// As many as Kubernetes buffers.
const QUEUED_EVENTS: usize = 10_000;
/// A path and query may be long.
const QUEUED_BYTES: usize = 16 << 20;
const SAID_EVERY: u64 = 1000;
const LONGEST_END: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Rotation = Rotation { bytes: 25, backups: 2, max_age: None };

    #[test]
    fn a_full_file_is_put_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("logs/audit.log");
        let mut file = RotatedFile::open(path.clone(), ROTATION).expect("a file");
        fs::write(dir.path().join("logs/audit-notes.log"), "not ours").expect("writable");
        // Older than anything put aside here, so it goes first.
        fs::write(dir.path().join("logs/audit-2020-01-01T00-00-00.000.log"), "old").expect("writable");
        file.line(b"one one one\n").expect("written");
        file.line(b"two two two\n").expect("written");
        assert_eq!(file.aside().expect("a folder").len(), 1);
        file.line(b"three\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "three\n");
        let mut aside = file.aside().expect("a folder");
        aside.sort();
        assert_eq!(aside.len(), 2);
        assert_eq!(fs::read_to_string(&aside[1].1).expect("a file"), "one one one\ntwo two two\n");
        // One more: the oldest is one too many.
        file.rotate().expect("put aside");
        let left = file.aside().expect("a folder");
        assert!(left.len() <= 2 && left.iter().all(|(moment, _)| !moment.starts_with("2020")), "{left:?}");
        assert!(dir.path().join("logs/audit-notes.log").exists());
        // An existing file is continued.
        let mut again = RotatedFile::open(path.clone(), ROTATION).expect("a file");
        again.line(b"four\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "four\n");
    }

    #[test]
    fn old_files_go_by_age() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit.log");
        let aged = Rotation { backups: 0, max_age: Some(Duration::from_hours(24)), ..ROTATION };
        let mut file = RotatedFile::open(path, aged).expect("a file");
        fs::write(dir.path().join("audit-2020-01-01T00-00-00.000.log"), "old").expect("writable");
        let recent = format!("audit-{}.log", stamp(SystemTime::now() - Duration::from_hours(1)));
        fs::write(dir.path().join(&recent), "recent").expect("writable");
        file.line(b"x\n").expect("written");
        file.rotate().expect("put aside");
        let left = file.aside().expect("a folder");
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(dir.path().join(recent).exists());
    }

    /// Writes nothing until it may.
    struct Stuck(Receiver<()>, Arc<std::sync::Mutex<Vec<u8>>>);

    impl Output for Stuck {
        fn line(&mut self, line: &[u8]) -> io::Result<()> {
            let _ = self.0.recv();
            self.1.lock().expect("no code panics while it holds the lock").extend_from_slice(line);
            if line == b"bad\n" { Err(io::Error::other("as the test asked")) } else { Ok(()) }
        }
    }

    #[test]
    fn a_stuck_disk_blocks_no_request_and_dropped_events_are_counted() {
        let (go, may_go) = channel();
        let written = Arc::default();
        let log = AuditLog::over(Box::new(Stuck(may_go, Arc::clone(&written))), 4).expect("a thread");
        for _ in 0..100 {
            log.write(b"line\n".to_vec());
        }
        let stats = log.stats();
        let events = stats.events.load(Ordering::Relaxed);
        // Four wait, and one may be with the thread.
        assert!((4..=5).contains(&events), "{events}");
        assert_eq!(stats.dropped.load(Ordering::Relaxed), 100 - events);
        // More bytes than may wait do not, however few lines they are.
        log.write(vec![b'x'; QUEUED_BYTES + 1]);
        assert_eq!(stats.dropped.load(Ordering::Relaxed), 101 - events);
        drop(go);
        drop(log);
        assert_eq!(
            written.lock().expect("no code panics while it holds the lock").len(),
            events as usize * 5
        );
    }

    #[test]
    fn failures_are_counted() {
        let (go, may_go) = channel();
        drop(go);
        let log = AuditLog::over(Box::new(Stuck(may_go, Arc::default())), 4).expect("a thread");
        let stats = log.stats();
        log.write(b"bad\n".to_vec());
        log.write(b"good\n".to_vec());
        drop(log);
        assert_eq!(stats.failed.load(Ordering::Relaxed), 1);
    }
}
