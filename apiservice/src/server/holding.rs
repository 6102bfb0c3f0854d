//! What answers hold besides their bytes, and room for large bodies that clients have not taken yet.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::{ApiError, Class, Details};

/// What a handler's answer holds until its body is made of it: room in a budget of memory, say.
#[derive(Clone, Default)]
pub struct Holding(Arc<Mutex<Vec<Box<dyn Send>>>>);

impl Holding {
    /// Drops a value when the body is made.
    pub fn hold(&self, value: impl Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(value));
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holding")
    }
}

/// Room for the large bodies that were made for one client each and are on their way. A client that takes its
/// answer slowly holds the body's memory meanwhile.
pub(super) struct Unsent(Arc<Semaphore>);

impl Unsent {
    pub(super) fn new() -> Unsent {
        Unsent(Arc::new(Semaphore::new(MOST_UNSENT)))
    }

    /// The response, whose body has a place in the room until it was sent or given up.
    ///
    /// # Errors
    /// A body that finds no room now. One that is larger than the room takes all of it.
    pub(super) fn admit(&self, mut response: Response<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let size = response.body().len();
        if size <= SMALL {
            return Ok(response);
        }
        let size = size.min(MOST_UNSENT) as u32;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(size).map_err(|_| {
            let details = Details { retry_after_seconds: Some(1), ..Details::default() };
            let message = "no room for a large answer: clients have not taken those before it yet";
            ApiError::new(Class::TooManyRequests, message, Some(details))
        })?;
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Bytes::from_owner(Placed { body, _permit: permit });
        Ok(response)
    }
}

/// A body and its place.
struct Placed {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Autoscalers' answers are smaller. What is small is bounded by the number of connections and streams.
const SMALL: usize = 64 << 10;
/// In bytes: twice the largest answer that the adapter's limits allow by themselves.
const MOST_UNSENT: usize = 24 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_take_their_place_until_they_are_dropped() {
        let unsent = Unsent::new();
        let large = || Response::new(Bytes::from(vec![b'x'; 10 << 20]));
        let first = unsent.admit(large()).expect("room");
        let second = unsent.admit(large()).expect("room");
        let error = unsent.admit(large()).expect_err("no room");
        assert_eq!(error.class(), Class::TooManyRequests);
        let small = Response::new(Bytes::from(vec![b'x'; SMALL]));
        assert_eq!(unsent.admit(small).expect("no room needed").body().len(), SMALL);
        // A part of it holds it as long as the whole.
        let part = first.into_body().split_to(1);
        assert!(unsent.admit(large()).is_err());
        drop(part);
        assert_eq!(unsent.admit(large()).expect("room again").body().len(), 10 << 20);
        drop(second);
        let larger_than_all = Response::new(Bytes::from(vec![b'x'; MOST_UNSENT + 1]));
        assert_eq!(unsent.admit(larger_than_all).expect("room").body().len(), MOST_UNSENT + 1);
    }
}
