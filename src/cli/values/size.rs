//! Sizes in bytes.

use super::ValueError;
use crate::cli::hints;
use crate::policy::decimal::Decimal;

/// Reads a size in bytes: `4096`, `64KiB`, `1.5G`. K, M, G and T are powers of 1024; KB, MB, GB and
/// TB are powers of 1000, as in dd(1).
pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    let text = text.trim();
    let error = |cause: &str| {
        let point = hints::with_point(text).filter(|text| size(text).is_ok());
        let hint = point.map(|text| format!("a fraction has a point, as in {text}"));
        let form = "a size is a number of bytes (4096), or has a unit (64KiB, 1G; 1GB is 1000MB)";
        ValueError::new(cause, hint.unwrap_or_else(|| form.to_owned()))
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let base: u128 = if unit.len() == 2 && unit.ends_with('b') { 1000 } else { 1024 };
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ if number.is_empty() => return Err(error("not a size")),
        _ => return Err(error("unknown unit")),
    };
    let number = Decimal::parse(number.as_bytes()).filter(|number| number.is_complete());
    let number = number.ok_or_else(|| error("not a size"))?;
    let bytes = number.times(base.pow(power)).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| error("too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024_and_of_1000() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            (" 64KiB ", 65536),
            ("64k", 65536),
            ("1G", 1 << 30),
            ("1 GiB", 1 << 30),
            ("1.5gib", 3 << 29),
            ("1GB", 1_000_000_000),
            ("0.1kB", 100),
            ("16777215T", 16_777_215 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, cause) in [
            ("", "not a size"),
            ("-1", "not a size"),
            ("+1", "not a size"),
            ("G", "not a size"),
            (".5G", "not a size"),
            ("1.G", "not a size"),
            ("1.2.3", "not a size"),
            ("1X", "unknown unit"),
            ("1e9", "unknown unit"),
            ("1GiBs", "unknown unit"),
            ("16777216T", "too large"),
            ("99999999999999999999", "too large"),
        ] {
            assert_eq!(size(text).unwrap_err().cause, cause, "{text}");
        }
    }
}
