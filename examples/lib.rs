//! Runnable uses of the Beep libraries: the files beside this one. `cargo run -p beep-examples --example embed`
