//! # What happens to a bite
//!
//! [`Beep`] is the running pipeline: it records what is said, announces it, has it transcribed and indexed, tells
//! whoever may hear it and answers questions about it. Every call that touches a conversation takes a
//! [`Grant`](beep_core::permission::Grant), which only the gate mints.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use beep_core::permission::{Action, Gate};
//! use beep_core::store::Start;
//! use beep_pipeline::{Beep, Utterance};
//!
//! let stores = beep_storage::open(&beep_storage::StorageConfig::memory(), std::sync::Arc::new(beep_core::clock::System)).await?;
//! let beep = Beep::builder(stores).start().await?;
//! let grant = Gate::operator(&"crew".parse()?, Gate::operator_identity()?, Action::Speak);
//! let wav = include_bytes!("../speech/clips/yes.wav");
//! let recorded = beep.record(&grant, Utterance::new(&wav[..], Start::At(1_000))).await?;
//! assert_eq!(recorded.key.start, 1_000);
//! beep.shutdown().await;
//! # Ok::<(), beep_core::Error>(()) })?;
//! # Ok::<(), beep_core::Error>(())
//! ```
//!
//! | feature | adds |
//! |---|---|
//! | `transcribe-vosk` (default) | speech recognition by Vosk; libvosk is found at run time |
//! | `sms-webhook` | text messages by a web hook of the operator's own |
//! | `sms-twilio` | text messages by Twilio |

pub mod audio;
mod builder;
pub mod bus;
mod grants;
pub mod import;
pub mod inbound;
pub mod outbound;
mod runtime;
pub mod samples;
pub mod services;
pub mod transcriber;
mod watch;
pub mod workers;

pub use builder::Builder;
pub use inbound::{Recorded, Utterance};
pub use runtime::Beep;
