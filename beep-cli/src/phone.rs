//! Phone numbers as people type them, in E.164.

/// `+` and 6 to 15 digits, after spaces, dashes, dots and parentheses are taken out.
pub fn parse(text: &str) -> Result<String, String> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let digits = number.strip_prefix('+').unwrap_or_default();
    if (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(number);
    }
    Err("a phone number is + and the country code, 6 to 15 digits in all, such as +65 9999 9999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers() {
        assert_eq!(parse("+65 9999-9999").as_deref(), Ok("+6599999999"));
        assert_eq!(parse("+1 (555) 010.0199").as_deref(), Ok("+15550100199"));
        for wrong in ["", "+", "+12345", "+1234567890123456", "99999999", "+65 9999 999x", "++6599999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
