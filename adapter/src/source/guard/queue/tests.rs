use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::*;

const A: Flow<'_> = Flow::Namespace("a");
const B: Flow<'_> = Flow::Namespace("b");
const C: Flow<'_> = Flow::Namespace("c");

fn queue(limit: usize, most_waiting: usize) -> Arc<FairQueue> {
    Arc::new(FairQueue::new(limit, most_waiting))
}

/// By tokio's clock, which stands still in these tests until all tasks wait.
fn after(seconds: u64) -> Instant {
    (tokio::time::Instant::now() + Duration::from_secs(seconds)).into_std()
}

fn at_once(queue: &Arc<FairQueue>, flow: Flow<'_>) -> Option<Result<Place, NoPlace>> {
    queue.place(flow, after(60)).now_or_never()
}

fn holds(queue: &Arc<FairQueue>, flow: Flow<'_>, count: usize) -> Vec<Place> {
    (0..count).map(|_| at_once(queue, flow).expect("no wait").expect("a place")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_single_query_passes_a_burst_of_another_namespace() {
    let queue = queue(4, 1_000);
    // All places are held, each for a second.
    let busy: Vec<Place> =
        [A, B, C, Flow::Objects].map(|flow| holds(&queue, flow, 1)).into_iter().flatten().collect();
    let order = Mutex::new(Vec::new());
    let query = |flow| {
        let (queue, order) = (&queue, &order);
        async move {
            let place = queue.place(flow, after(60)).await.expect("a place");
            order.lock().expect("not poisoned").push(flow);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
        }
    };
    let burst = join_all((0..100).map(|_| query(A)));
    let single = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        query(B).await;
    };
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(busy);
    };
    tokio::join!(burst, single, release);
    let order = order.into_inner().expect("not poisoned");
    let position = order.iter().position(|flow| *flow == B);
    assert!(position <= Some(2), "{position:?}");
    assert_eq!(order.len(), 101);
    assert_eq!(queue.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn slow_queries_of_one_namespace_leave_a_quarter_of_the_places() {
    let queue = queue(20, 1_000);
    let slow = holds(&queue, A, 15);
    assert!(at_once(&queue, A).is_none(), "the next one waits");
    let names: Vec<String> = (0..5).map(|number| format!("other-{number}")).collect();
    let others: Vec<Place> = names.iter().flat_map(|name| holds(&queue, Flow::Namespace(name), 1)).collect();
    assert!(at_once(&queue, B).is_none(), "all places are held");
    drop((slow, others));
    assert_eq!(queue.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_free_place_goes_to_the_flow_with_the_fewest_queries_in_flight() {
    let queue = queue(8, 1_000);
    let mut of_a = holds(&queue, A, 5);
    let _of_b = holds(&queue, B, 1);
    let (mut next_of_a, mut next_of_b) =
        (Box::pin(queue.place(A, after(60))), Box::pin(queue.place(B, after(60))));
    assert!(next_of_a.as_mut().now_or_never().is_none() && next_of_b.as_mut().now_or_never().is_none());
    drop(of_a.pop());
    assert!(next_of_a.as_mut().now_or_never().is_none());
    assert!(matches!(next_of_b.now_or_never(), Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn listings_and_requests_leave_places_to_each_other() {
    let queue = queue(8, 1_000);
    let listings = holds(&queue, Flow::Listing, 4);
    assert!(at_once(&queue, Flow::Listing).is_none(), "listings hold half");
    let requests = holds(&queue, A, 2);
    drop(listings);
    let more = holds(&queue, A, 4);
    assert!(at_once(&queue, A).is_none());
    assert!(at_once(&queue, Flow::Listing).expect("no wait").is_ok());
    drop((requests, more));
    // Where there is but one place, both get it.
    let narrow = self::queue(1, 1_000);
    let listing = holds(&narrow, Flow::Listing, 1);
    let mut waits = Box::pin(narrow.place(A, after(60)));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(listing);
    assert!(matches!(waits.now_or_never(), Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_query_waits_until_its_deadline_at_most() {
    let queue = queue(1, 1_000);
    let _held = holds(&queue, A, 1);
    let began = tokio::time::Instant::now();
    assert_eq!(queue.place(B, after(3)).await.err(), Some(NoPlace::Late));
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(queue.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sends_away_the_last_of_the_longest_flow() {
    let queue = queue(1, 3);
    let _held = holds(&queue, C, 1);
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(queue.place(A, after(60)))).collect();
    for waits in &mut waiting {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    assert!(matches!(at_once(&queue, A), Some(Err(NoPlace::Full))), "its own flow is the longest");
    let mut other = Box::pin(queue.place(B, after(60)));
    assert!(other.as_mut().now_or_never().is_none(), "another flow has room");
    let last = waiting.pop().expect("three");
    assert!(matches!(last.now_or_never(), Some(Err(NoPlace::Full))));
    assert_eq!(queue.counts(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_given_up_holds_no_place() {
    let queue = queue(1, 1_000);
    let held = holds(&queue, A, 1);
    let (mut first, mut second) = (Box::pin(queue.place(B, after(60))), Box::pin(queue.place(B, after(60))));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(queue.counts(), (1, 1));
    drop(held);
    // It has its place by now and was not looked at since.
    drop(second);
    assert_eq!(queue.counts(), (0, 0));
    assert!(queue.lock().flows.is_empty());
    holds(&queue, B, 1);
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_can_be_sent_away() {
    let queue = queue(1, 1_000);
    let held = holds(&queue, A, 1);
    let mut waiting: Vec<_> = [A, B].map(|flow| Box::pin(queue.place(flow, after(60)))).into();
    for waits in &mut waiting {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    queue.empty();
    for waits in waiting {
        assert!(matches!(waits.now_or_never(), Some(Err(NoPlace::Emptied))));
    }
    assert_eq!(queue.counts(), (1, 0));
    drop(held);
    assert_eq!(queue.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn places_are_never_more_than_the_limit_and_none_is_lost() {
    let queue = queue(7, 1_000);
    let tasks = (0..400_u32).map(|number| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let name = (number % 13).to_string();
            let flow = if number % 10 == 0 { Flow::Listing } else { Flow::Namespace(&name) };
            // Some give up while they wait.
            let patience = Duration::from_micros(u64::from(number % 50) * 40);
            let place = tokio::time::timeout(patience, queue.place(flow, after(60))).await;
            let most = queue.counts().0;
            tokio::task::yield_now().await;
            drop(place);
            most
        })
    });
    for most in join_all(tasks.collect::<Vec<_>>()).await {
        assert!(most.expect("no panic") <= 7);
    }
    assert_eq!(queue.counts(), (0, 0));
    assert!(queue.lock().flows.is_empty());
}
