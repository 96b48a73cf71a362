//! How a call uses a connection: never longer than its patience, and again when two transactions met each other.
//!
//! In boxes: after a restart thousands ask at once, and who waits for a connection needs no room yet for what comes
//! behind it. Macros, because no bound can say today that a closure's future may move between threads.

/// How often a transaction that gave way to another one is begun again.
pub(super) const TRIES: u32 = 5;

/// `within!(postgres, |db| work)`: awaits `work` on a connection, without a transaction.
macro_rules! within {
    ($postgres:expr, |$db:ident| $work:expr) => {{
        let until = ::tokio::time::Instant::now() + $crate::postgres::pool::PATIENCE;
        let mut connection = $postgres.connection().await?;
        let answered = ::tokio::time::timeout_at(
            until,
            Box::pin(async {
                let $db: &mut ::sqlx::PgConnection = &mut connection;
                $work.await
            }),
        );
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err($crate::postgres::pool::give_up(connection)),
        }
    }};
}

/// `transact!(postgres, |tx| work)`: awaits `work` in a transaction and commits it. An error leaves nothing behind.
macro_rules! transact {
    ($postgres:expr, |$tx:ident| $work:expr) => {{
        let until = ::tokio::time::Instant::now() + $crate::postgres::pool::PATIENCE;
        let mut tries = 0;
        loop {
            let mut connection = $postgres.connection().await?;
            let answered = ::tokio::time::timeout_at(
                until,
                Box::pin(async {
                    let mut tx = ::sqlx::Connection::begin(&mut *connection)
                        .await
                        .map_err($crate::postgres::error::storage)?;
                    let answer = {
                        let $tx: &mut ::sqlx::PgConnection = &mut tx;
                        $work.await?
                    };
                    tx.commit().await.map_err($crate::postgres::error::storage)?;
                    ::beep_core::Result::Ok(answer)
                }),
            );
            tries += 1;
            match answered.await {
                Ok(Err(e))
                    if $crate::postgres::error::gave_way(&e) && tries < $crate::postgres::call::TRIES => {}
                Ok(answer) => break answer,
                Err(_) => break Err($crate::postgres::pool::give_up(connection)),
            }
        }
    }};
}
