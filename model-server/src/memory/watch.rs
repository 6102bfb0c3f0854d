//! Looks at the memory of the process while a model is loaded and warmed: nothing tells before how much that takes, and
//! the kernel ends a process that has too much without a word.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A look at the memory every few milliseconds, until it is dropped.
pub struct Watch {
    _watching: Sender<()>,
}

impl Watch {
    /// Calls `exceeded` with the memory that is taken, once, when it is more than `most` bytes.
    ///
    /// # Errors
    /// The operating system gives no thread for it.
    pub fn start(most: u64, exceeded: impl FnOnce(u64) + Send + 'static) -> io::Result<Watch> {
        let (watching, watched) = channel::<()>();
        thread::Builder::new().name("memory".to_owned()).spawn(move || {
            while watched.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                if let Some(taken) = super::anonymous().filter(|taken| *taken > most) {
                    return exceeded(taken);
                }
            }
        })?;
        Ok(Watch { _watching: watching })
    }
}

/// A thread fills some 10 MiB in this time.
const PERIOD: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_there_may_be_is_noticed_once() {
        let taken = super::super::anonymous().expect("Linux");
        let most = taken + (64 << 20);
        let (sender, noticed) = channel();
        let _watch = Watch::start(most, move |taken| sender.send(taken).expect("waited for"));
        let mut large = vec![1_u8; 128 << 20];
        let noticed = noticed.iter().collect::<Vec<u64>>();
        assert!(matches!(noticed[..], [taken] if taken > most), "{noticed:?}, not more than {most}");
        large.fill(2);
    }
}
