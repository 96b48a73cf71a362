//! Times as people write and read them: epoch milliseconds, RFC 3339, `2h ago`.

use beep_core::clock::{Clock, Millis, System};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A time argument; the error is a sentence for whoever typed it.
pub fn parse(text: &str) -> Result<Millis, String> {
    parse_at(text, System.now())
}

fn parse_at(text: &str, now: Millis) -> Result<Millis, String> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return text.parse().map_err(|_| format!("{text} is more than 64 bits"));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return millis(time);
    }
    if text == "now" {
        return Ok(now);
    }
    // Without `ago`, `2h` could as well mean two hours after midnight.
    if text.ends_with("ago")
        && let Ok(span) = text.parse::<Span>()
    {
        let now = zoned(now).ok_or("the clock of this machine is out of range")?;
        return now.checked_add(span).map_err(|e| e.to_string()).and_then(|time| millis(time.timestamp()));
    }
    Err("a time is milliseconds since 1970, RFC 3339 such as 2026-11-23T09:00:00Z, or like `2h ago`"
        .to_owned())
}

fn millis(time: Timestamp) -> Result<Millis, String> {
    time.as_millisecond().try_into().map_err(|_| "a time before 1970 cannot be a start".to_owned())
}

fn zoned(time: Millis) -> Option<jiff::ZonedDateTime> {
    let time = Timestamp::from_millisecond(time.try_into().ok()?).ok()?;
    Some(time.to_zoned_datetime(TimeZone::system()))
}

/// Local time for people, such as `2026-11-23 10:00:00.000 +01:00`; the bare number where there is no such date.
pub fn local(time: Millis) -> String {
    zoned(time).map_or_else(|| time.to_string(), |t| t.strftime("%Y-%m-%d %H:%M:%S%.3f %:z").to_string())
}

/// RFC 3339 in UTC for machines; none where there is no such date.
pub fn utc(time: Millis) -> Option<String> {
    Some(Timestamp::from_millisecond(time.try_into().ok()?).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let now = 1_700_000_000_000;
        assert_eq!(parse_at("12", now), Ok(12));
        assert_eq!(parse_at("1970-01-01T00:00:01Z", now), Ok(1_000));
        assert_eq!(parse_at("1970-01-01T01:00:01+01:00", now), Ok(1_000));
        assert_eq!(parse_at("2h ago", now), Ok(now - 7_200_000));
        assert_eq!(parse_at("1 hour 30 minutes ago", now), Ok(now - 5_400_000));
        assert_eq!(parse_at("now", now), Ok(now));
        for wrong in ["", "soon", "2h", "1969-12-31T23:59:59Z", "99999999999999999999999", "90000y ago"] {
            assert!(parse_at(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_start_can_be_shown() {
        assert_eq!(utc(1_000).as_deref(), Some("1970-01-01T00:00:01Z"));
        assert_eq!(utc(u64::MAX), None);
        assert_eq!(local(u64::MAX), u64::MAX.to_string());
    }
}
