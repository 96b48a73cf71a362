//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod cli_remote;
mod common;
mod deploy;
mod forge;
mod forward_auth_caddy;
mod forward_auth_nginx;
mod gateway;
mod ground;
mod http_auth;
mod http_bad_input;
mod http_changes;
mod http_changes_lost;
mod http_core_contacts;
mod http_core_conversations;
mod http_core_members;
mod http_core_users;
mod http_cors;
mod http_edge;
mod http_limits;
mod http_login;
mod http_permissions;
mod http_proxies;
mod http_publish;
mod http_reads;
mod http_ready;
mod http_routes;
mod http_subscribe;
mod idor_matrix;
mod key_rotation;
mod process;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod token_vectors;
