//! Gateways in front: what one that is trusted says of who asks, and from where, is believed; what others say is not.

use crate::common::{Answer, Person, Server, Setup, wav};
use beep_pipeline::services::login::{Limits, LoginOptions, TestNumber};
use beep_server::Extras;
use ipnet::IpNet;
use serde_json::json;
use std::time::Duration;

const NUMBER: &str = "+15550100001";
const PATH: &str = "/store/bite/c-hers/start/5";

/// A server that trusts these, and sends one code to each address.
async fn trusting(networks: &[&str]) -> Server {
    let limits = Limits {
        pause: Duration::ZERO,
        number_hour: 1_000,
        number_day: 1_000,
        address_hour: 1,
        network_hour: 1_000,
        ..Limits::default()
    };
    let test = TestNumber { number: NUMBER.into(), code: "123456".into(), until: u64::MAX };
    let trusted_proxies = networks.iter().map(|n| n.parse::<IpNet>().unwrap()).collect();
    let login = LoginOptions { limits, test_numbers: vec![test] };
    let extras = Extras { login, trusted_proxies, ..Extras::default() };
    Server::start(Setup { extras, ..Setup::default() }).await
}

/// One that trusts these, with a conversation of alice's, and bob, who is a stranger to it.
async fn alice_and_bob(networks: &[&str]) -> (Server, Person, Person) {
    let server = trusting(networks).await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-hers", &alice, &[]).await;
    server.put(&alice, "c-hers", 5, wav("mine")).await.expect(201);
    (server, alice, bob)
}

fn claim(who: &Person) -> String {
    json!({"userid": who.id(), "clientid": "phone"}).to_string()
}

/// A claim counts from a gateway that is trusted and from nobody else: not from its neighbour either.
#[tokio::test]
async fn claims_are_believed_from_trusted_gateways_only() {
    for (networks, believed) in [
        (&[][..], false),
        (&["10.0.0.0/8", "127.0.0.2/32", "::1/128"], false),
        (&["127.0.0.1/32"], true),
        (&["10.0.0.0/8", "127.0.0.0/8"], true),
    ] {
        let (server, alice, bob) = alice_and_bob(networks).await;
        let by = async |who: &Person| {
            server.call("GET", PATH).header("x-user-claim", &claim(who)).send().await.status
        };
        let (hers, his) = if believed { (200, 403) } else { (401, 401) };
        assert_eq!((by(&alice).await, by(&bob).await), (hers, his), "{networks:?}");
        let put = server.call("PUT", "/publish/conversation/c-hers/start/6");
        let put = put.header("x-user-claim", &claim(&alice)).body(wav("x")).send().await;
        assert_eq!(put.status, if believed { 201 } else { 401 }, "{networks:?}");
        // What is said to be further away does not make the gateway another one.
        let far = server.call("GET", PATH).header("x-user-claim", &claim(&alice));
        assert_eq!(far.header("x-forwarded-for", "127.0.0.1").send().await.status, hers, "{networks:?}");
    }
}

/// A token says who asks, whatever a claim beside it says; a bad one is not made good by it.
#[tokio::test]
async fn a_token_wins_over_a_claim() {
    let (server, alice, bob) = alice_and_bob(&["127.0.0.1/32"]).await;
    let read = || server.call("GET", PATH);
    read().by(&bob).header("x-user-claim", &claim(&alice)).send().await.expect(403);
    read().by(&alice).header("x-user-claim", &claim(&bob)).send().await.expect(200);
    read().bearer("garbage").header("x-user-claim", &claim(&alice)).send().await.expect(401);
    read().header("authorization", "").header("x-user-claim", &claim(&alice)).send().await.expect(401);
    // `/auth` is what a gateway asks: it believes tokens only, or anybody could ask through it.
    server.call("GET", "/auth").header("x-user-claim", &claim(&alice)).send().await.expect(401);
}

/// What cannot be read names nobody, and what a gateway remembers of a deleted user is worth nothing.
#[tokio::test]
async fn wrong_claims_and_claims_of_the_deleted_are_refused() {
    let (server, alice, _) = alice_and_bob(&["127.0.0.1/32"]).await;
    let by = async |claim: &str| server.call("GET", PATH).header("x-user-claim", claim).send().await;
    for wrong in [
        "",
        "null",
        "[]",
        "{}",
        "u-alice",
        r#"["u-alice","phone2"]x"#,
        r#"{"userid":"u-alice"}"#,
        r#"{"clientid":"phone"}"#,
        r#"{"userid":null,"clientid":"phone"}"#,
        r#"{"userid":["u-alice"],"clientid":"phone"}"#,
        r#"{"userid":"","clientid":"phone"}"#,
        r#"{"userid":"u-alice","clientid":""}"#,
        r#"{"userid":"u-alice","clientid":"phone"} x"#,
        r#"{"userid":"u-alice","userid":"u-bob","clientid":"phone"}"#,
        "{\"userid\":\"u-alice\",\"clientid\":\"ph\u{e4}\u{e4}ne\"}",
    ] {
        assert_eq!(by(wrong).await.problem(401), "unauthenticated", "{wrong}");
    }
    by(r#"{"userid":"u-nobody","clientid":"phone"}"#).await.expect(403);
    by(&claim(&alice)).await.expect(200);
    server.call("DELETE", "/core/user").by(&alice).send().await.expect(204);
    assert_eq!(by(&claim(&alice)).await.problem(401), "unauthenticated");
    server.assert_alive().await;
}

async fn ask(server: &Server, hops: &[&str]) -> Answer {
    let body = json!({"phone_number": NUMBER}).to_string();
    let call = server.call("POST", "/login/init").body(body);
    hops.iter().fold(call, |call, hop| call.header("x-forwarded-for", hop)).send().await
}

/// Whoever is not trusted is counted where they are, whatever they say.
#[tokio::test]
async fn forwarded_addresses_of_untrusted_peers_are_ignored() {
    for networks in [&[][..], &["10.0.0.0/8", "203.0.113.0/24"]] {
        let server = trusting(networks).await;
        ask(&server, &["203.0.113.1"]).await.expect(200);
        for hops in [&[][..], &["198.51.100.9"], &["198.51.100.9, 203.0.113.1"], &["127.0.0.1"], &["x"]] {
            assert_eq!(ask(&server, hops).await.problem(429), "rate_limited", "{networks:?} {hops:?}");
        }
    }
}

/// Of the hops that are told, the last one that is not trusted is who asks: what stands before it, they wrote.
#[tokio::test]
async fn the_last_untrusted_hop_is_who_asks() {
    let (client, other, gateway) = ("203.0.113.1", "198.51.100.9", "127.0.0.1");
    for (hops, who) in [
        (&["203.0.113.1"][..], client),
        (&["  203.0.113.1  "], client),
        (&["198.51.100.9, 203.0.113.1"], client),
        (&["127.0.0.1,10.0.0.1,203.0.113.1"], client),
        (&["198.51.100.9, 203.0.113.1, 10.1.2.3"], client),
        (&["198.51.100.9, 203.0.113.1, 10.1.2.3,10.9.9.9, 127.0.0.1"], client),
        (&["198.51.100.9", "203.0.113.1"], client),
        (&["198.51.100.9, 203.0.113.1", "10.1.2.3"], client),
        (&["x, 203.0.113.1"], client),
        (&["::ffff:203.0.113.1"], client),
        (&["2001:db8::1"], "2001:db8:0:0::1"),
        // All of them trusted: the first.
        (&["10.1.2.3, 10.9.9.9"], "10.1.2.3"),
        // What cannot be read ends the chain at whoever wrote it.
        (&["203.0.113.1, x"], gateway),
        (&["203.0.113.1, "], gateway),
        (&["203.0.113.1:80"], gateway),
        (&["203.0.113.1, 10.1.2.300"], gateway),
        (&["203.0.113.1, unknown, 10.1.2.3"], "10.1.2.3"),
        (&[], gateway),
    ] {
        let server = trusting(&["127.0.0.1/32", "10.0.0.0/8"]).await;
        ask(&server, hops).await.expect(200);
        // The one code of that address is sent, and nobody else's.
        let again = if who == gateway { ask(&server, &[]).await } else { ask(&server, &[who]).await };
        assert_eq!(again.status, 429, "{hops:?} is {who}");
        ask(&server, &[other]).await.expect(200);
    }
}
