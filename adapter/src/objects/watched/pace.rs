//! Long work on a thread that serves.

/// Lets others go on after each piece of long work.
#[derive(Debug, Default)]
pub(super) struct Pace(u32);

impl Pace {
    /// Counts a step of some microseconds. After some steps the task gives its thread to others once.
    pub(super) async fn step(&mut self) {
        self.0 += 1;
        if self.0 >= STEPS {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// About 200 microseconds of objects.
const STEPS: u32 = 32;
