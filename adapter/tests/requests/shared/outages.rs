//! Requests that share a query which has no answer.

use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn an_outage_is_tried_again_with_the_next_request() {
    let refused = SourceError::new(SourceErrorClass::Unavailable, "connection refused");
    let counted = Arc::new(Counted::answering(Err(refused)));
    let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
    let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
    let settings = SharingSettings { keep: Duration::from_nanos(1), across_namespaces: true };
    let sharing = sharing(&source, settings);
    for _ in 0..3 {
        assert!(ask(&sharing, &matched, "a", &PODS).await.is_none());
    }
    assert_eq!(counted.queries().len(), 3);
}

#[tokio::test]
async fn requests_that_wait_for_an_answer_in_vain_are_not_asked_alone() {
    use SourceErrorClass::{Silent, Timeout, Unreachable};
    for class in [Unreachable, Silent, Timeout] {
        let gone = SourceError::new(class, "no answer");
        let counted = Arc::new(Counted::by({
            let gone = gone.clone();
            move |_| {
                let gone = gone.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(gone)
                }
                .boxed()
            }
        }));
        let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
        let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
        let everything = Selector::everything();
        let query = SharedQuery::of(&matched, &everything).expect("a query to share");
        let settings = SharingSettings { keep: Duration::from_nanos(1), across_namespaces: true };
        let sharing = sharing(&source, settings);
        let wanted = Wanted { scope: "a", names: &PODS };
        let all = (0..50).map(|_| sharing.query(&query, wanted, SystemTime::now(), in_a_minute()));
        for answer in join_all(all).await {
            assert_eq!(answer, Some(Err(gone.clone())));
        }
        assert_eq!(counted.queries(), [r#"depth{namespace="a"}"#]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_little_time_takes_no_answer_from_the_others() {
    let counted = Arc::new(Counted::by(|_| {
        async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(vector(Vec::new()))
        }
        .boxed()
    }));
    let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
    let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
    let everything = Selector::everything();
    let query = SharedQuery::of(&matched, &everything).expect("a query to share");
    let sharing = sharing(&source, SharingSettings { keep: Duration::from_secs(5), across_namespaces: true });
    let wanted = Wanted { scope: "a", names: &PODS };
    let in_a_second = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
    let (hasty, patient) = tokio::join!(
        sharing.query(&query, wanted, SystemTime::now(), in_a_second),
        sharing.query(&query, wanted, SystemTime::now(), in_a_minute()),
    );
    let error = hasty.expect("an error of its own").expect_err("too late");
    assert_eq!(error.class, SourceErrorClass::Silent);
    assert_eq!(patient, Some(Ok(vector(Vec::new()))));
    assert_eq!(counted.queries().len(), 1);
}

/// Each of them is a worker of the autoscaler, so that their number opens the breaker, though there was one query.
#[tokio::test(start_paused = true)]
async fn requests_that_share_a_query_in_vain_open_the_breaker_and_do_not_wait_for_its_probe() {
    use SourceErrorClass::{Silent, Unreachable};
    let counted = Arc::new(Counted::by(|_| {
        async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Err(SourceError::new(SourceErrorClass::Silent, "no answer"))
        }
        .boxed()
    }));
    let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
    let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
    let everything = Selector::everything();
    let query = SharedQuery::of(&matched, &everything).expect("a query to share");
    let sharing = sharing(&source, SharingSettings { keep: Duration::from_secs(5), across_namespaces: true });
    let ask = &|| async {
        let began = tokio::time::Instant::now();
        let wanted = Wanted { scope: "a", names: &PODS };
        let answer = sharing.query(&query, wanted, SystemTime::now(), in_a_minute()).await;
        let error = answer.expect("an error that is shared").expect_err("no answer");
        (began.elapsed().as_secs(), error.class)
    };
    assert_eq!(join_all((0..5).map(|_| ask())).await, [(10, Silent); 5]);
    assert_eq!(join_all((0..5).map(|_| ask())).await, [(0, Unreachable); 5]);
    assert_eq!(counted.queries().len(), 1);
    // A request every 5 s tries it, though the one before still waits. The others do not wait with it.
    let rounds = [5, 10].map(|seconds| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut round = join_all((0..5).map(|_| ask())).await;
        round.sort_unstable_by_key(|(took, _)| *took);
        round
    });
    for round in join_all(rounds).await {
        assert_eq!(round[..4], [(0, Unreachable); 4]);
        assert_eq!(round[4], (10, Silent));
    }
    assert_eq!(counted.queries().len(), 3);
}
