//! The question before something is erased: at a terminal only `yes` goes on, and where nobody can be asked nothing is
//! done.

use crate::support::{Installation, Ran, ended};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

const QUESTION: &str = "Type `yes` to go on: ";

/// Runs this at a terminal where somebody waits for the question and types an answer; none hangs up instead.
fn asked(beep: &Installation, args: &[&str], answer: Option<&str>) -> Ran {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
    let mut master = File::from(master);
    let mut command = beep.command(args);
    command.stdin(slave.try_clone().unwrap()).stdout(Stdio::piped()).stderr(slave);
    let child = command.spawn().unwrap();
    drop(command); // our end of the terminal
    let (mut shown, mut bytes, mut typed) = (Vec::new(), [0; 1_024], false);
    loop {
        // An error is the end: nobody has the terminal open any more.
        match master.read(&mut bytes) {
            Ok(n) if n > 0 => shown.extend_from_slice(&bytes[..n]),
            _ => break,
        }
        if !typed && String::from_utf8_lossy(&shown).contains(QUESTION) {
            typed = true;
            // Ctrl-D at the beginning of a line is the end of what is typed.
            master
                .write_all(answer.map_or("\u{4}".to_owned(), |answer| format!("{answer}\n")).as_bytes())
                .unwrap();
        }
    }
    assert!(typed, "nothing was asked: {}", String::from_utf8_lossy(&shown));
    let mut output = child.wait_with_output().unwrap();
    output.stderr = shown;
    ended(output)
}

#[test]
fn only_yes_erases() {
    let beep = Installation::new();
    let (crew, alice) = beep.conversation();
    let erase = ["erase", alice.as_str()];
    let there = || beep.run(["user", "show", &alice]).code == 0;

    // Nobody can be asked: neither without a terminal nor by what stands in a file.
    for refused in [beep.run(erase), beep.feed(erase, b"yes\n"), beep.feed(erase, b"")] {
        let refused = refused.fails(2);
        assert!(refused.err.contains("cannot be undone") && refused.err.contains("--yes"), "{}", refused.err);
        assert!(refused.out.is_empty() && there());
    }
    for answer in [Some("no"), Some(""), Some("y"), Some("YES"), Some("yes please"), Some("ja"), None] {
        let declined = asked(&beep, &erase, answer).fails(1);
        assert!(declined.err.contains(&format!("the account {alice}")), "{}", declined.err);
        assert!(declined.err.contains("nothing was erased"), "{answer:?}: {}", declined.err);
        assert!(declined.out.is_empty() && there(), "{answer:?}");
    }
    let delete = ["conversation", "delete", crew.as_str()];
    asked(&beep, &delete, Some("no")).fails(1);
    beep.run(["conversation", "show", &crew]).ok();
    asked(&beep, &delete, Some("yes")).ok();
    beep.run(["conversation", "show", &crew]).fails(1);

    let erased = asked(&beep, &erase, Some(" yes ")).ok();
    assert!(erased.err.contains(&format!("erased {alice}")), "{}", erased.err);
    assert!(!there());
}
