//! What is done for people besides bites: who they are, what they share, how they sign in.

pub mod changes;
pub mod login;
pub mod people;
pub mod phone;
pub mod sms_console;
mod sms_limits;
#[cfg(any(feature = "sms-webhook", feature = "sms-twilio"))]
mod sms_retry;
#[cfg(feature = "sms-twilio")]
pub mod sms_twilio;
#[cfg(feature = "sms-webhook")]
pub mod sms_webhook;
