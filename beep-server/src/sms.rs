//! Who sends codes, and the rest of what the configuration says about signing in.

use crate::config::Login;
use beep_core::auth::SmsSender;
use beep_core::clock::{Clock, Millis};
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::services::login::{Limits, LoginOptions, TestNumber};
use beep_pipeline::services::phone;
use beep_pipeline::services::sms_console::ConsoleSms;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The sender that the configuration names; none when it names none.
pub(crate) fn sender(login: &Login, clock: Arc<dyn Clock>) -> Result<Option<Arc<dyn SmsSender>>> {
    match login.sms.as_str() {
        "" => Ok(None),
        "console" => Ok(Some(Arc::new(ConsoleSms))),
        "webhook" => webhook(login, clock).map(Some),
        "twilio" => twilio(login).map(Some),
        other => Err(invalid(format!("login.sms must be `twilio`, `webhook` or `console`, not `{other}`"))),
    }
}

/// Codes on a console are for whoever sits before it: nobody else may ask for them.
pub(crate) fn check_listener(login: &Login, address: SocketAddr) -> Result<()> {
    if login.sms == "console" && !address.ip().is_loopback() {
        let sentence = "login.sms = \"console\" prints codes for development and works on a loopback address only: \
                        listen on 127.0.0.1, or choose `twilio` or `webhook`";
        return Err(invalid(sentence.into()));
    }
    Ok(())
}

/// Limits and test numbers.
pub(crate) fn options(login: &Login) -> Result<LoginOptions> {
    let limits = Limits {
        pause: Duration::from_secs(login.pause_s),
        number_hour: login.max_per_number_hour,
        number_day: login.max_per_number_day,
        address_hour: login.max_per_address_hour,
        network_hour: login.max_per_network_hour,
        countries: parts(&login.countries).map(str::to_owned).collect(),
    };
    let test_numbers = parts(&login.test_numbers.0).map(test_number).collect::<Result<_>>()?;
    Ok(LoginOptions { limits, test_numbers })
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `+15550100001=123456@2027-01-31`: good until the end of that day, UTC.
fn test_number(text: &str) -> Result<TestNumber> {
    let wrong = || {
        let sentence = "login.test_numbers must look like `+15550100001=123456@2027-01-31`: a number, its six digits, \
                        and the last day that they are good";
        invalid(sentence.into())
    };
    let (number, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (code, day) = rest.split_once('@').ok_or_else(wrong)?;
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let end = day.trim().parse::<Date>().and_then(|day| day.tomorrow()).map_err(|_| wrong())?;
    let end = TimeZone::UTC.to_timestamp(end.at(0, 0, 0, 0)).map_err(|_| wrong())?.as_millisecond();
    Ok(TestNumber {
        number: phone::parse(number).map_err(|_| wrong())?,
        code: code.to_owned(),
        until: Millis::try_from(end).map_err(|_| wrong())?,
    })
}

fn invalid(sentence: String) -> Error {
    Error::new(ErrorKind::Invalid, sentence)
}

#[cfg(feature = "sms-webhook")]
fn webhook(login: &Login, clock: Arc<dyn Clock>) -> Result<Arc<dyn SmsSender>> {
    use beep_pipeline::services::sms_webhook::WebhookSms;
    Ok(Arc::new(WebhookSms::new(&login.webhook_url.0, &login.webhook_secret.0, clock)?))
}

#[cfg(not(feature = "sms-webhook"))]
fn webhook(_: &Login, _: Arc<dyn Clock>) -> Result<Arc<dyn SmsSender>> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this build has no webhook for codes: build it with `sms-webhook`",
    ))
}

#[cfg(feature = "sms-twilio")]
fn twilio(login: &Login) -> Result<Arc<dyn SmsSender>> {
    use beep_pipeline::services::sms_twilio::TwilioSms;
    let Login { twilio_sid, twilio_token, twilio_from, twilio_url, .. } = login;
    Ok(Arc::new(TwilioSms::new(twilio_sid, &twilio_token.0, twilio_from)?.with_base(twilio_url)?))
}

#[cfg(not(feature = "sms-twilio"))]
fn twilio(_: &Login) -> Result<Arc<dyn SmsSender>> {
    Err(Error::new(ErrorKind::Unsupported, "this build cannot send by Twilio: build it with `sms-twilio`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_numbers_have_a_code_and_a_last_day() {
        let given = " +1 555-010-0001=012345@1970-01-02 ,";
        let login = Login { test_numbers: crate::config::Secret(given.into()), ..Login::default() };
        let numbers = options(&login).unwrap().test_numbers;
        assert_eq!(numbers.len(), 1);
        assert_eq!((numbers[0].number.as_str(), numbers[0].code.as_str()), ("+15550100001", "012345"));
        assert_eq!(numbers[0].until, 2 * 24 * 60 * 60 * 1_000);
        for wrong in
            ["+15550100001", "+15550100001=123456", "+15550100001=12345@2027-01-31", "x=123456@2027-01-31"]
        {
            let login = Login { test_numbers: crate::config::Secret(wrong.into()), ..Login::default() };
            assert_eq!(options(&login).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn the_console_is_for_the_loopback() {
        let console = Login { sms: "console".into(), ..Login::default() };
        check_listener(&console, "127.0.0.1:1".parse().unwrap()).unwrap();
        check_listener(&console, "[::1]:1".parse().unwrap()).unwrap();
        for open in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1"] {
            assert_eq!(
                check_listener(&console, open.parse().unwrap()).unwrap_err().kind(),
                ErrorKind::Invalid
            );
            check_listener(&Login::default(), open.parse().unwrap()).unwrap();
        }
    }
}
