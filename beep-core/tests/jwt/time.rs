//! The clock alone decides when a token is good.

use crate::forge::*;
use beep_core::auth::jwt::{Jwt, JwtConfig};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::{ManualClock, Millis, SeededEntropy};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_clock_decides_to_the_millisecond_also_for_remembered_tokens() {
    let begin = NOW * 1_000;
    let until = (NOW + 600 + LEEWAY) * 1_000;
    for remembered in [false, true] {
        for (now, good_then) in [
            (0, false),
            (begin - LEEWAY * 1_000 - 1, false),
            (begin - LEEWAY * 1_000, true),
            (begin, true),
            (until - 1, true),
            (until, false),
            (until + 1, false),
            (Millis::MAX, false),
        ] {
            let clock = Arc::new(ManualClock::at(begin));
            let jwt = jwt_at(&clock, &[&KEYS.rsa]);
            if remembered {
                assert!(jwt.verify(&good()).is_ok());
            }
            clock.set(now);
            assert_eq!(jwt.verify(&good()).is_ok(), good_then, "at {now}, remembered: {remembered}");
            // A clock that jumps back makes it good again: time alone decides, each time.
            clock.set(begin);
            assert!(jwt.verify(&good()).is_ok(), "back from {now}, remembered: {remembered}");
        }
    }
}

#[test]
fn a_clock_at_either_end_issues_without_panic() {
    for (now, good_then) in [(0, true), (Millis::MAX / 2, true), (Millis::MAX, false)] {
        let jwt = jwt_at(&Arc::new(ManualClock::at(now)), &[&KEYS.ed]);
        let token = jwt.issue(&alice(), Scope::User).unwrap();
        assert_eq!(jwt.verify(&token).is_ok(), good_then, "at {now}: nothing is good at the end of time");
    }
    let clock = Arc::new(ManualClock::at(Millis::MAX));
    let config = JwtConfig { lifetime: Duration::MAX, leeway: Duration::MAX, ..JwtConfig::default() };
    let jwt =
        Jwt::new(vec![KEYS.ed.clone()], config, clock.clone(), Arc::new(SeededEntropy::new(1))).unwrap();
    let token = jwt.issue(&alice(), Scope::User).unwrap();
    clock.set(0);
    assert!(jwt.verify(&token).is_ok());
}
