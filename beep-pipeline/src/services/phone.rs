//! Phone numbers: what people type in E.164, as people read it, and of which country it is.
//!
//! By `phonenumber`, which has the tables of Google's libphonenumber. It is right for mobile numbers everywhere. Of
//! landlines, which get no text messages, it refuses those of Russia that begin with `+7 8`, and does not know the country
//! of Italy's. `rlibphonenumber` does, but brings a protobuf compiler and anyhow along, which `.ci/arrows` forbids.

use beep_core::{Error, ErrorKind, Result};
use phonenumber::metadata::DATABASE;
use phonenumber::{Metadata, Mode, ParseError, PhoneNumber};

/// E.164 allows no more digits, the country code among them.
const MOST_DIGITS: usize = 15;

/// The number in E.164 (`+6599999999`) that somebody typed with a leading `+` and the country code.
///
/// * Spaces, dashes, dots, slashes, parentheses and the marks that phones put around a copied number do not matter;
///   digits may be Arabic, Persian, Indian, Thai or full-width ones. A national prefix after the country code goes: `+44 (0)20…` is `+4420…`.
/// * The country code exists and the number is as long as numbers there are. Whether it is in use is not asked: a table
///   is always older than the newest numbers.
/// * What comes back stays the same when it is parsed again.
/// * [`ErrorKind::Malformed`] for everything else, also letters and extensions, with a sentence that helps and does not
///   hold the number.
pub fn parse(text: &str) -> Result<String> {
    let typed: String = text.chars().filter(|c| !is_mark(*c)).collect();
    let Some(rest) = typed.trim().strip_prefix(['+', '\u{ff0b}']) else {
        return Err(malformed("a phone number begins with + and the country code"));
    };
    let digits: Option<String> = rest.chars().filter(|c| !is_separator(*c)).map(ascii_digit).collect();
    let digits = digits.ok_or_else(|| {
        malformed("after its + a phone number has only digits, spaces, dashes and parentheses")
    })?;
    // Room for a national prefix or two that go.
    if digits.len() > 2 * MOST_DIGITS {
        return Err(too_many());
    }
    let e164 = formatted(&read(&format!("+{digits}"))?, Mode::E164);
    if e164.len() > 1 + MOST_DIGITS {
        return Err(too_many());
    }
    // Two national prefixes in a row lose one each time. No such number exists, and one person must not have two.
    match read(&e164) {
        Ok(again) if formatted(&again, Mode::E164) == e164 => Ok(e164),
        _ => Err(malformed("this is not a phone number")),
    }
}

/// The number as people read it: `+65 9999 9999`. What is not a number comes back as it is.
pub fn international(e164: &str) -> String {
    match parse(e164).and_then(|e164| read(&e164)) {
        Ok(number) => formatted(&number, Mode::International),
        Err(_) => e164.to_owned(),
    }
}

/// The country or territory that the number belongs to: two capital letters of ISO 3166-1, such as `SG`.
///
/// * Where countries share a code (`+1`: US, CA, BS…; `+7`: RU, KZ; `+44`: GB, GG…) the digits after it decide.
/// * `None` when it belongs to no country (satellites, `+800`), is not in use where the code is shared, is a landline of
///   Italy, or is not a number: a list of allowed countries must refuse it.
pub fn country(e164: &str) -> Option<String> {
    let number = parse(e164).and_then(|e164| read(&e164)).ok()?;
    number.country().id().map(|id| id.as_ref().to_owned())
}

/// A number of a possible length. `text` is a `+` and ASCII digits.
fn read(text: &str) -> Result<PhoneNumber> {
    let number = phonenumber::parse(None, text).map_err(|e| match e {
        ParseError::InvalidCountryCode => malformed("no country has the code after the +"),
        ParseError::TooShortAfterIdd | ParseError::TooShortNsn => too_few(),
        ParseError::TooLong => too_many(),
        _ => malformed("this is not a phone number"),
    })?;
    let code = number.code().value();
    let lengths = lengths(code);
    let digits = formatted(&number, Mode::E164).len().saturating_sub(1 + code.to_string().len());
    match (lengths.iter().min(), lengths.iter().max()) {
        _ if lengths.contains(&digits) => Ok(number),
        (Some(least), _) if digits < *least => Err(too_few()),
        (_, Some(most)) if digits > *most => Err(too_many()),
        _ => Err(malformed("no number of this country has that many digits")),
    }
}

/// How many digits numbers have after this country code. Countries that share a code have the lengths of the first.
fn lengths(code: u16) -> Vec<usize> {
    let countries = DATABASE.by_code(&code).unwrap_or_default();
    let first = countries.iter().find(|c| c.is_main_country_for_code()).or(countries.first());
    first.map(|country| of_all_types(country)).unwrap_or_default()
}

fn of_all_types(country: &Metadata) -> Vec<usize> {
    let types = country.descriptors();
    [
        types.fixed_line(),
        types.mobile(),
        types.toll_free(),
        types.premium_rate(),
        types.shared_cost(),
        types.personal_number(),
        types.voip(),
        types.pager(),
        types.uan(),
        types.voicemail(),
    ]
    .into_iter()
    .flatten()
    .flat_map(|numbers| numbers.possible_length())
    .map(|length| usize::from(*length))
    .collect()
}

fn formatted(number: &PhoneNumber, mode: Mode) -> String {
    number.format().mode(mode).to_string()
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("{what}: write it like +65 9999 9999"))
}

fn too_few() -> Error {
    malformed("this phone number has too few digits for its country")
}

fn too_many() -> Error {
    malformed("this phone number has too many digits for its country")
}

/// Marks without a width that come along when a number is copied: the direction of writing, joins, soft hyphens.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '.' | '/' | '(' | ')' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}')
        || matches!(c, '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'..='\u{ff0f}')
}

/// A digit of the scripts that phones have keyboards for: ASCII, Arabic, Persian, Devanagari, Bengali, Thai, full width.
fn ascii_digit(c: char) -> Option<char> {
    let zeros = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ff10}'];
    let value =
        zeros.iter().find_map(|zero| u32::from(c).checked_sub(u32::from(*zero)).filter(|v| *v < 10))?;
    char::from_digit(value, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed, E.164, as people read it, country.
    const NUMBERS: &[(&str, &str, &str, Option<&str>)] = &[
        ("+65 9999-9999", "+6599999999", "+65 9999 9999", Some("SG")),
        ("+65 0000 0001", "+6500000001", "+65 00000001", Some("SG")),
        ("  +1 (202) 555.0173 ", "+12025550173", "+1 202-555-0173", Some("US")),
        ("+1 604 555 0123", "+16045550123", "+1 604-555-0123", Some("CA")),
        ("+1 242 365 1234", "+12423651234", "+1 242-365-1234", Some("BS")),
        ("+1 (555) 010.0199", "+15550100199", "+1 555-010-0199", None),
        ("+44 (0)20 7946 0958", "+442079460958", "+44 20 7946 0958", Some("GB")),
        ("+44 7400/123456", "+447400123456", "+44 7400 123456", Some("GB")),
        ("+44 1481 960194", "+441481960194", "+44 1481 960194", Some("GG")),
        ("+49 (0) 151 12345678", "+4915112345678", "+49 1511 2345678", Some("DE")),
        ("+33 6 12 34 56 78", "+33612345678", "+33 6 12 34 56 78", Some("FR")),
        // Italy's zero is part of the number.
        ("+39 06 1234 5678", "+390612345678", "+39 06 1234 5678", None),
        ("+39 312 345 6789", "+393123456789", "+39 312 345 6789", Some("IT")),
        ("+91 98765 43210", "+919876543210", "+91 98765 43210", Some("IN")),
        ("+55 11 91234-5678", "+5511912345678", "+55 11 91234-5678", Some("BR")),
        ("+54 11 15 2345 6789", "+5491123456789", "+54 9 11 2345-6789", Some("AR")),
        ("+81 (0)90 1234 5678", "+819012345678", "+81 90-1234-5678", Some("JP")),
        ("+7 916 123-45-67", "+79161234567", "+7 916 123-45-67", Some("RU")),
        ("+7 701 234 5678", "+77012345678", "+7 701 234 5678", Some("KZ")),
        ("+225 01 23 45 67 89", "+2250123456789", "+225 01 23 45 6789", Some("CI")),
        ("+800 1234 5678", "+80012345678", "+800 1234 5678", None),
        ("+881 6 123 45678", "+881612345678", "+881 6 123 45678", None),
        ("\u{202a}+65\u{a0}9123\u{2011}4567\u{202c}", "+6591234567", "+65 9123 4567", Some("SG")),
        (
            "+\u{661}\u{662}\u{660}\u{662}\u{665}\u{665}\u{665}0173",
            "+12025550173",
            "+1 202-555-0173",
            Some("US"),
        ),
        (
            "\u{ff0b}\u{ff16}\u{ff15}\u{ff0d}\u{ff19}\u{ff11}\u{ff12}\u{ff13}4567",
            "+6591234567",
            "+65 9123 4567",
            Some("SG"),
        ),
    ];

    #[test]
    fn numbers_of_several_countries() {
        for (typed, e164, read, region) in NUMBERS {
            assert_eq!(parse(typed).unwrap(), *e164, "{typed}");
            assert_eq!(parse(e164).unwrap(), *e164, "{typed}");
            assert_eq!(parse(read).unwrap(), *e164, "{typed}");
            assert_eq!(international(e164), *read, "{typed}");
            assert_eq!(country(e164).as_deref(), *region, "{typed}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_with_advice_and_not_repeated() {
        for (typed, advice) in [
            ("", "begins with +"),
            ("99999999", "begins with +"),
            ("0065 9123 4567", "begins with +"),
            ("tel:+6591234567", "begins with +"),
            ("+", "not a phone number"),
            ("+ ()", "not a phone number"),
            ("++6591234567", "only digits"),
            ("+65 9999 999x", "only digits"),
            ("+1 800 FLOWERS", "only digits"),
            ("+1 202 555 0173 ext. 5", "only digits"),
            ("+1 202 555 0173;ext=5", "only digits"),
            ("+1 202 555 0173,,5#", "only digits"),
            ("+6591234567 +6598765432", "only digits"),
            ("+65\u{0}91234567", "only digits"),
            ("+999 123 4567", "no country"),
            ("+0065 9123 4567", "no country"),
            ("+65 9123 45\u{bd}", "only digits"),
            ("+12345", "too few"),
            ("+65 9123 456", "too few"),
            ("+1 555 0173", "too few"),
            ("+65 9123 4567 8", "that many digits"),
            ("+65 9123 4567 8901", "too many"),
            ("+1234567890123456", "too many"),
            // Germany has numbers of 15 digits and more, E.164 has none.
            ("+49 1511 2345678901", "too many"),
            ("+62 000 5986618044", "not a phone number"),
        ] {
            let error = parse(typed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{typed}");
            assert!(
                error.message().contains(advice) && error.message().contains("+65 9999 9999"),
                "{typed}: {error}"
            );
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
            assert_eq!(digits(&format!("{error:?}")), "6599999999", "{typed}: only the example is a number");
        }
        let long = format!("+{}", "1".repeat(1 << 20));
        assert_eq!(parse(&long).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn what_is_no_number_has_no_country_and_stays_as_it_is() {
        for text in ["", "+", "99999999", "+999123456", "+12345", "u-alice"] {
            assert_eq!(international(text), text);
            assert_eq!(country(text), None, "{text}");
        }
    }
}
