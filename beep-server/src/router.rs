//! The one table of routes.

use crate::app::App;
use crate::routes::{auth, publish, server, store, subscribe, transcription};
use axum::Router;
use axum::routing::{MethodRouter, any, get, post, put};

macro_rules! routes {
    ($($path:literal => [$($method:literal)*] $handler:expr,)*) => {
        /// Every route: path and methods. Tests go through this table, so a route without its rows fails them.
        pub const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$($method),*])),*];

        fn table() -> Vec<(&'static str, MethodRouter<App>)> {
            vec![$(($path, $handler)),*]
        }
    };
}

routes! {
    "/auth" => ["GET" "POST" "PUT" "PATCH" "DELETE" "HEAD"] any(auth::check),
    "/publish/conversation/{key}" => ["POST"] post(publish::post),
    "/publish/conversation/{key}/start/{start}" => ["PUT"] put(publish::put),
    "/publish/conversation/{key}/start/{start}/user" => ["PUT"] put(publish::attach),
    "/store/{label}/{key}/scan" => ["GET"] get(store::scan),
    "/store/{label}/{key}/start/{start}" => ["GET"] get(store::get),
    "/bite/conversation/{key}" => ["GET"] get(store::list),
    "/bite/conversation/{key}/scan" => ["GET"] get(store::scan_bites),
    "/bite/conversation/{key}/start/{start}" => ["GET" "DELETE"] get(store::get_bite).delete(store::delete),
    "/bite/conversation/{key}/start/{start}/user" => ["GET"] get(store::author),
    "/transcription/conversation/{key}/scan" => ["GET"] get(store::scan_transcripts),
    "/transcription/conversation/{key}/start/{start}" => ["GET"] get(transcription::get),
    "/transcription/search" => ["GET"] get(transcription::search),
    "/subscribe" => ["GET"] get(subscribe::events),
    "/healthz" => ["GET"] get(server::healthz),
    "/readyz" => ["GET"] get(server::readyz),
    "/.well-known/jwks.json" => ["GET"] get(server::jwks),
}

pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for (path, methods) in table() {
        router = router.route(path, methods);
    }
    router.fallback(server::no_route).method_not_allowed_fallback(server::no_method).with_state(app)
}
