//! Files that are followed: an edit takes effect without a restart, and a broken edit leaves the last valid value in
//! use.
//!
//! Files are polled by content. The kubelet replaces a mounted ConfigMap or Secret by swapping a symbolic link, which
//! inotify on the file does not see. They are read and parsed on threads that may block, never on one that serves.

use std::error::Error;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::error_chain::error_chain;
use crate::stats::add;

/// What metrics and log lines call a followed file, or several that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName {
    /// As the value of a metric's label: `serving-certificate`.
    pub label: &'static str,
    /// After "cannot load" and before "reloaded": `serving certificate`.
    pub file: &'static str,
    /// After "keeping": `the previous certificate`.
    pub kept: &'static str,
}

/// A file, or several that are read together, and which content was last taken from it.
///
/// It holds no value: its owner publishes each one that a look finds.
pub struct FollowedFile<T> {
    name: FileName,
    place: String,
    load: Arc<Load<T>>,
    in_use: ContentId,
    refused: Option<Refused>,
    stats: Arc<FileStats>,
}

/// What became of a followed file since the start.
#[derive(Debug)]
pub struct FileStats {
    /// What metrics call the file.
    pub label: &'static str,
    is_valid: AtomicBool,
    /// Changed contents that were taken.
    pub reloaded: AtomicU64,
    /// Changed contents that were refused, and failures to read one.
    pub refused: AtomicU64,
    last_success: AtomicU64,
}

impl FileStats {
    /// Statistics of a file that has just been read.
    pub fn new(label: &'static str) -> FileStats {
        FileStats {
            label,
            is_valid: AtomicBool::new(true),
            reloaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_success: AtomicU64::new(millis_now()),
        }
    }

    /// Whether the file was valid when it was last read.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Relaxed)
    }

    /// When the file last became valid: at the start, with a change, or by the return to the content in use.
    pub fn last_success(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.last_success.load(Ordering::Relaxed))
    }

    fn succeeded(&self) {
        self.last_success.store(millis_now(), Ordering::Relaxed);
        self.is_valid.store(true, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.is_valid.store(false, Ordering::Relaxed);
    }
}

/// Tells contents apart. A content is parsed once: what is made of it depends on nothing else.
type ContentId = [u8; 32];

/// Reads the file; parses its content unless it is one of those given.
type Load<T> = dyn Fn(&[Option<ContentId>]) -> Found<T> + Send + Sync;

/// What a look finds.
enum Found<T> {
    /// A content that was parsed before: the one in use, or the one that was refused last.
    Known(ContentId),
    Value(ContentId, T),
    Refused(Refused),
}

/// Why the content of a file was not taken.
struct Refused {
    /// `None` when it could not be read.
    content: Option<ContentId>,
    why: String,
}

impl<T: Send + 'static> FollowedFile<T> {
    /// Reads the file for the first time. `read` reads its content and `parse` makes a value of it; `place` is the path
    /// in log lines.
    ///
    /// # Errors
    /// Those of `read` and `parse`.
    pub fn open<R: Hash, E: Into<Box<dyn Error + Send + Sync>>>(
        name: FileName,
        place: impl Into<String>,
        read: impl Fn() -> Result<R, E> + Send + Sync + 'static,
        parse: impl Fn(R) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<(FollowedFile<T>, T), E> {
        let content = read()?;
        let in_use = content_id(&content);
        let value = parse(content)?;
        let load = move |known: &[Option<ContentId>]| {
            let refuse = |content, error: E| {
                let error: Box<dyn Error + Send + Sync> = error.into();
                Found::Refused(Refused { content, why: error_chain(&*error) })
            };
            let content = match read() {
                Ok(content) => content,
                Err(error) => return refuse(None, error),
            };
            let id = content_id(&content);
            if known.contains(&Some(id)) {
                return Found::Known(id);
            }
            match parse(content) {
                Ok(value) => Found::Value(id, value),
                Err(error) => refuse(Some(id), error),
            }
        };
        let stats = Arc::new(FileStats::new(name.label));
        let file =
            FollowedFile { name, place: place.into(), load: Arc::new(load), in_use, refused: None, stats };
        Ok((file, value))
    }

    /// What became of the file.
    pub fn stats(&self) -> Arc<FileStats> {
        Arc::clone(&self.stats)
    }

    /// Reads the file again; the value of a new valid content. Each fault is logged once, and so are a reload and the
    /// return to the content in use.
    pub async fn look(&mut self) -> Option<T> {
        let load = Arc::clone(&self.load);
        let known = [Some(self.in_use), self.refused.as_ref().and_then(|refused| refused.content)];
        let found = match tokio::task::spawn_blocking(move || load(&known)).await {
            Ok(found) => found,
            Err(error) => {
                Found::Refused(Refused { content: None, why: format!("reading it failed: {error}") })
            }
        };
        let FileName { file, kept, .. } = self.name;
        match found {
            Found::Known(content) if content == self.in_use => {
                if self.refused.take().is_some() {
                    self.stats.succeeded();
                    tracing::info!(path = %self.place, "{file} is valid again, with its previous content");
                }
                None
            }
            // The one that was refused last.
            Found::Known(_) => {
                self.stats.failed();
                None
            }
            Found::Value(content, value) => {
                self.in_use = content;
                self.refused = None;
                self.stats.succeeded();
                add(&self.stats.reloaded);
                tracing::info!(path = %self.place, "{file} reloaded");
                Some(value)
            }
            Found::Refused(refused) => {
                self.stats.failed();
                if self.refused.as_ref().is_none_or(|before| before.why != refused.why) {
                    add(&self.stats.refused);
                    // An event is a line.
                    let why = refused.why.replace(":\n", ": ").replace('\n', "; ");
                    tracing::error!("cannot load {file}: {why}; keeping {kept}");
                }
                self.refused = Some(refused);
                None
            }
        }
    }

    /// Polls the file until the program ends and publishes the value of each new valid content.
    pub async fn follow(mut self, every: Duration, mut publish: impl FnMut(T) + Send) {
        loop {
            tokio::time::sleep(every).await;
            if let Some(value) = self.look().await {
                publish(value);
            }
        }
    }
}

fn content_id(content: &impl Hash) -> ContentId {
    let mut hasher = Sha256Hasher(Sha256::new());
    content.hash(&mut hasher);
    hasher.0.finalize().into()
}

/// Feeds whatever can be hashed to SHA-256: two contents must not be taken for one.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(std::array::from_fn(|position| digest[position]))
    }
}

fn millis_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use testkit::rows::each_row_async;

    use super::*;
    use crate::files;

    const NAME: FileName = FileName { label: "number", file: "number file", kept: "the previous number" };

    /// A file that holds a number; its parser counts into `parsed`.
    fn number(
        path: &Path,
        parsed: &Arc<AtomicU64>,
    ) -> Result<(FollowedFile<u64>, u64), Box<dyn Error + Send + Sync>> {
        let (path, parsed) = (path.to_owned(), Arc::clone(parsed));
        FollowedFile::open(
            NAME,
            path.display().to_string(),
            move || files::read_text(&path, 16).map_err(Box::from),
            move |text: String| {
                add(&parsed);
                text.trim().parse().map_err(Box::from)
            },
        )
    }

    #[tokio::test]
    async fn a_content_is_parsed_once_and_a_bad_one_leaves_the_value_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("number");
        let parsed = Arc::new(AtomicU64::new(0));
        let write = |text: &str| std::fs::write(&path, text).expect("writable");
        assert!(number(&path, &parsed).is_err(), "there is no file");
        write("1");
        let (mut file, value) = number(&path, &parsed).expect("a number");
        let stats = file.stats();
        assert_eq!((value, stats.is_valid()), (1, true));
        // The content; the value that a look finds; whether the file is valid then; contents parsed so far.
        let rows = [
            (Some("1"), None, true, 1),
            (Some("2"), Some(2), true, 2),
            (Some("x"), None, false, 3),
            (Some("x"), None, false, 3),
            (Some("2"), None, true, 3),
            (None, None, false, 3),
            (Some("12345678901234567"), None, false, 3),
            (Some("3"), Some(3), true, 4),
        ];
        each_row_async(rows, async |(text, found, is_valid, times)| {
            match text {
                Some(text) => write(text),
                None => std::fs::remove_file(&path).expect("it is there"),
            }
            assert_eq!(file.look().await, found, "{text:?}");
            assert_eq!((stats.is_valid(), parsed.load(Ordering::Relaxed)), (is_valid, times), "{text:?}");
        })
        .await;
        let counts = (stats.reloaded.load(Ordering::Relaxed), stats.refused.load(Ordering::Relaxed));
        assert_eq!(counts, (2, 3));
    }

    #[tokio::test]
    async fn a_parser_that_panics_is_a_fault_of_the_file() {
        let content = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&content);
        let read = move || Ok::<_, String>(read.load(Ordering::Relaxed));
        let (mut file, _) = FollowedFile::open(NAME, "", read, |content| {
            assert_ne!(content, 1, "on purpose");
            Ok(content)
        })
        .expect("a value");
        content.store(1, Ordering::Relaxed);
        assert_eq!((file.look().await, file.stats().is_valid()), (None, false));
        content.store(2, Ordering::Relaxed);
        assert_eq!((file.look().await, file.stats().is_valid()), (Some(2), true));
    }

    #[test]
    fn contents_of_several_files_are_told_apart() {
        let id = |parts: &[&str]| content_id(&parts);
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
        assert_ne!(id(&["ab"]), id(&["ab", ""]));
        assert_eq!(id(&["ab", "c"]), id(&["ab", "c"]));
    }
}
