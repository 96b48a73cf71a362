//! What to say where a service is missing.

use std::io::Write;

/// Whether `BEEP_REQUIRE` asks for this service, so that its absence fails instead of being skipped.
pub fn required(what: &str) -> bool {
    std::env::var("BEEP_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name.trim() == what))
}

/// Says past the test harness, which would swallow it, that something is not tested; fails where it is required.
pub fn skip(what: &str, why: &str) {
    assert!(!required(what), "BEEP_REQUIRE asks for {what}: {why}");
    writeln!(std::io::stderr().lock(), "SKIPPED, NOT TESTED: {what}: {why}").unwrap();
}
