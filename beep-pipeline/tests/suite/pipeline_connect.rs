//! Who connects while others speak misses nothing and hears nothing twice, at whichever moment that is.

use crate::pipeline_support::{bob, say, stores};
use beep_core::event::Seq;
use beep_core::store::Stores;
use beep_pipeline::Beep;
use beep_pipeline::outbound::{Delivery, Reader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: u64 = 2_000;

/// What a reader hears until it has heard `last`.
async fn heard_until(reader: &mut Reader, last: Seq) -> Vec<Seq> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|seq| *seq < last) {
        let next = timeout(PATIENCE, reader.next()).await.unwrap_or_else(|_| panic!("{last} is never told"));
        for delivery in next.unwrap().expect("a reader that reads is not cut off") {
            let Delivery::Notice(notice) = delivery else { panic!("{delivery:?}") };
            heard.push(notice.seq);
        }
    }
    heard
}

/// Bites are recorded without a pause while readers come, each at another moment: some want what is new, some come back
/// with the last that they have heard.
async fn connects_while_others_speak(stores: Stores, rounds: u64) {
    let beep = Beep::builder(stores).start().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let said = Arc::new(AtomicU64::new(0));
    let speaking = {
        let (beep, stop, said) = (beep.clone(), stop.clone(), said.clone());
        tokio::spawn(async move {
            for start in 1.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                say(&beep, start, "x").await.unwrap();
                said.store(start, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        })
    };
    let user = bob().identity().user.clone();
    for round in 0..rounds {
        // Nothing but bites by one author is recorded: the n-th of them is entry n.
        let now = said.load(Ordering::SeqCst);
        let back = (round % 2 == 1).then(|| now.saturating_sub(round % 7));
        let mut reader = beep.subscribe(&user, None, back);
        let from = back.or(reader.position()).unwrap();
        let last = said.load(Ordering::SeqCst).max(from) + 5;
        let heard = heard_until(&mut reader, last).await;
        let all = from + 1..=*heard.last().unwrap();
        assert!(heard.iter().copied().eq(all.clone()), "round {round}: {heard:?} instead of {all:?}");
    }
    stop.store(true, Ordering::SeqCst);
    speaking.await.unwrap();
    beep.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_connects_while_others_speak_misses_nothing_and_hears_nothing_twice() {
    connects_while_others_speak(stores().await, ROUNDS).await;
}
