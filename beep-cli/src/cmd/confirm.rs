//! The question before something is gone for good.

use crate::failure::{Failure, Result};
use std::io::{self, IsTerminal, Write};

/// Goes on only if that was said before (`--yes`) or is said now. Where nobody can be asked, nothing is done.
pub async fn agreed(yes: bool, loss: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!("this erases {loss}, which cannot be undone"))
            .hint("if that is meant, say --yes"));
    }
    let question = format!("This erases {loss}, which cannot be undone. Type `yes` to go on: ");
    // Away from the main task, which would not hear Ctrl-C while it waits for a line.
    let asked = tokio::task::spawn_blocking(move || {
        let mut err = io::stderr();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let failed = || Failure::new("io", "cannot ask whether to go on");
    let answer = asked.await.map_err(|e| failed().because(&e))?.map_err(|e| failed().because(&e))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("declined", "nothing was erased")) }
}
