//! The bus inside one process gives every guarantee, also behind a `Box` or an `Arc`; URLs find their bus.

use beep_core::ErrorKind;
use beep_core::bus::Bus;
use beep_core::conformance::bus::UnderTest;
use beep_pipeline::bus::{MemoryBus, open};
use std::sync::Arc;

fn on(bus: impl Bus + 'static) -> (UnderTest, ()) {
    (UnderTest { bus: Arc::new(bus), sleep: |by| Box::pin(tokio::time::sleep(by)) }, ())
}

async fn plain() -> (UnderTest, ()) {
    on(MemoryBus::default())
}

async fn boxed() -> (UnderTest, ()) {
    on(Box::new(MemoryBus::default()) as Box<dyn Bus>)
}

async fn opened() -> (UnderTest, ()) {
    on(open("memory:").await.unwrap())
}

mod plainly {
    beep_core::bus_suite!(super::plain);
}
mod in_a_box {
    beep_core::bus_suite!(super::boxed);
}
mod in_an_arc {
    beep_core::bus_suite!(super::opened);
}

#[tokio::test]
async fn a_url_that_names_no_bus_is_refused() {
    assert!(open("").await.is_ok());
    let urls = [
        "memory",
        "memory:x",
        "kafka://h",
        "nats",
        "nats:",
        "nats://",
        "nats://h,",
        "nats://h:x",
        "nats://h?stream=a.b",
        "nats://h?prefix=a..b",
        "nats://h?prefix=*",
        "nats://h?stream=",
        "nats://h?replicas=2",
        "nats://h?shards=2",
        "tls://:secret@",
    ];
    for url in urls {
        let e = open(url).await.unwrap_err();
        let ours = url.starts_with("nats:") || url.starts_with("tls:") || url == "nats";
        let kind =
            if ours && !cfg!(feature = "bus-nats") { ErrorKind::Unsupported } else { ErrorKind::Malformed };
        assert_eq!(e.kind(), kind, "{url}: {e}");
        assert!(!e.to_string().contains("secret"), "{e}");
        assert!(kind == ErrorKind::Malformed || e.message().contains("bus-nats"), "{e}");
    }
}
