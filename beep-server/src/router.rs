//! The one table of routes.

use crate::app::App;
use crate::routes::{
    auth, changes, core, login, permissions, publish, server, store, subscribe, transcription,
};
use axum::Router;
use axum::routing::{MethodRouter, any, delete, get, post, put};

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
    "/login/init" => ["POST"] post(login::init),
    "/login/verify" => ["POST"] post(login::verify),
    "/login/register" => ["POST"] post(login::register),
    "/login/register/{code}/{nonce}" => ["POST"] post(login::register_by_path),
    "/login/refresh" => ["POST"] post(login::refresh),
    "/login/logout" => ["POST"] post(login::logout),
    "/login/sessions" => ["GET"] get(login::sessions),
    "/login/sessions/{clientid}" => ["DELETE"] delete(login::end_session),
    "/core/user" => ["POST" "GET" "PATCH" "DELETE"]
        post(core::create_user).get(core::find_user).patch(core::patch_user).delete(core::delete_user),
    "/core/user/id/{user}" => ["GET"] get(core::user),
    "/core/user/username/{username}" => ["GET"] get(core::user_by_username),
    "/core/user/conversation" => ["POST" "GET"] post(core::create_conversation).get(core::conversations),
    "/core/user/conversation/{conversation}" => ["GET" "PATCH" "DELETE"]
        get(core::conversation).patch(core::patch_conversation).delete(core::delete_conversation),
    "/core/user/conversation/{conversation}/pin" => ["POST" "DELETE"] post(core::pin).delete(core::unpin),
    "/core/user/conversation/{conversation}/member" => ["POST" "GET"] post(core::put_member).get(core::members),
    "/core/user/conversation/{conversation}/member/{user}" => ["DELETE"] delete(core::remove_member),
    "/core/user/conversation/{conversation}/lastheard" => ["PUT" "GET"]
        put(core::set_last_heard).get(core::last_heard),
    "/core/user/subscribe" => ["GET"] get(changes::users),
    "/core/user/subscribe/user" => ["GET"] get(changes::users),
    "/core/user/subscribe/contact" => ["GET"] get(changes::contacts),
    "/core/user/subscribe/conversation" => ["GET"] get(changes::conversations),
    "/core/user/subscribe/conversation/{conversation}/member" => ["GET"] get(changes::members),
    "/core/user/contact" => ["POST" "GET"] post(core::add_contact).get(core::contacts),
    "/core/user/contact/{user}" => ["DELETE"] delete(core::remove_contact),
    "/permissions/user/{userid}/conversation/{conversationid}" => ["GET"] get(permissions::check),
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
    finished(
        table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods)),
        app,
    )
}

/// The login routes at the root.
pub(crate) fn login_router(app: App) -> Router {
    let login =
        table().into_iter().filter_map(|(path, methods)| Some((path.strip_prefix("/login")?, methods)));
    finished(login.fold(Router::new(), |router, (path, methods)| router.route(path, methods)), app)
}

fn finished(router: Router<App>, app: App) -> Router {
    router.fallback(server::no_route).method_not_allowed_fallback(server::no_method).with_state(app)
}
