//! `Content-Disposition`, both ways: the file name in an uploaded part, and the name of a download.
//!
//! Invariants
//! - Reading: a name is taken as the client's user typed it. Browsers write UTF-8 with `"`, CR and LF
//!   as `%22`, `%0D`, `%0A`; older tools write `\"`; both are undone, and nothing else is. Backslashes stay.
//! - A `filename*` that says nothing (RFC 6266 section 4.3: cannot be decoded, or is empty) leaves `filename` as it is.
//! - Writing: the header is always one line of visible ASCII that every client reads the same way.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parameters of a part's `Content-Disposition` that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FormPart {
    pub name: Option<String>,
    pub file_name: Option<String>,
}

/// Reads `form-data; name="…"; filename="…"; filename*=…`; `None` when it is no form field.
pub fn parse_form_part(header: &str) -> Option<FormPart> {
    let (kind, mut rest) = header.split_once(';').unwrap_or((header, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut part, mut extended) = (FormPart::default(), None);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = parameter(after.trim_start())?;
        match name.trim().to_ascii_lowercase().as_str() {
            "name" if part.name.is_none() => part.name = Some(value),
            "filename" if part.file_name.is_none() => part.file_name = Some(value),
            "filename*" if extended.is_none() => extended = Some(extended_value(&value).unwrap_or_default()),
            _ => {}
        }
        rest = after;
    }
    // One that says nothing is better than none: it tells that the part is a file.
    part.file_name = match extended {
        Some(name) if name.is_empty() => part.file_name.or(Some(name)),
        None => part.file_name,
        decoded => decoded,
    };
    Some(part)
}

/// One parameter value and what follows it.
pub fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_once(';').unwrap_or((text, ""));
        return Some((value.trim().to_owned(), after));
    };
    let ends = |after: &str| {
        let after = after.trim_start();
        after.is_empty() || after.starts_with(';')
    };
    let mut from = 0;
    loop {
        let at = from + quoted.get(from..)?.find('"')?;
        let (before, after) = (&quoted[..at], &quoted[at + 1..]);
        // `\"` is a quote in the name, unless the parameter ends there: then the name ends in a backslash.
        if before.ends_with('\\') && !ends(after) {
            from = at + 1;
            continue;
        }
        let value = before.replace("\\\"", "\"").replace("%22", "\"");
        return Some((value.replace("%0D", "\r").replace("%0A", "\n"), after));
    }
}

/// RFC 8187: `charset'language'percent-encoded`. UTF-8 and ISO-8859-1 are known.
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    if charset.eq_ignore_ascii_case("utf-8") {
        return String::from_utf8(bytes).ok();
    }
    charset.eq_ignore_ascii_case("iso-8859-1").then(|| bytes.into_iter().map(char::from).collect())
}

/// What RFC 8187 lets stand unescaped.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `attachment` under the last segment of a key: a client saves a file, not a directory tree.
///
/// `filename` is always there; what quoting or old clients would garble in it becomes `_`, and then
/// `filename*` carries the exact name.
pub fn attachment(key: &str) -> String {
    let name = key.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or("archivo");
    let plain = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\' | '%');
    let fallback: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if fallback == name {
        return format!("attachment; filename=\"{name}\"");
    }
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_as_clients_send_them() {
        for (header, expected) in [
            (r#"form-data; name="archivo"; filename="a.txt""#, "a.txt"),
            (r#"form-data; name=archivo; filename=a.txt"#, "a.txt"),
            (r#"form-data;name="archivo";filename="a b; c.txt""#, "a b; c.txt"),
            (r#"Form-Data; NAME="archivo"; FileName="a.txt""#, "a.txt"),
            (r#"form-data; name="archivo"; filename="ñandú.txt""#, "ñandú.txt"),
            (r#"form-data; name="archivo"; filename="a%22b%0D%0Ac%20d""#, "a\"b\r\nc%20d"),
            (r#"form-data; name="archivo"; filename="a\"b.txt""#, "a\"b.txt"),
            (r#"form-data; name="archivo"; filename="C:\dir\file.txt""#, r"C:\dir\file.txt"),
            (r#"form-data; name="archivo"; filename="dir\""#, r"dir\"),
            (r#"form-data; name="archivo"; filename="dir\"; x=y"#, r"dir\"),
            (r#"form-data; name="archivo"; filename="../../etc/x""#, "../../etc/x"),
            (r#"form-data; name="archivo"; filename="x"; filename*=UTF-8''%c3%b1%20.txt"#, "ñ .txt"),
            (r#"form-data; name="archivo"; filename*=iso-8859-1'es'%f1.txt; filename="x""#, "ñ.txt"),
            (r#"form-data; name="archivo"; filename="""#, ""),
        ] {
            let part = parse_form_part(header).unwrap_or_else(|| panic!("{header}"));
            assert_eq!(part.name.as_deref(), Some("archivo"), "{header}");
            assert_eq!(part.file_name.as_deref(), Some(expected), "{header}");
        }
        assert_eq!(parse_form_part(r#"form-data; name="a""#).unwrap().file_name, None);
        for bad in ["", "attachment; name=\"archivo\"", "form-data; name", "form-data; name=\"a"] {
            assert_eq!(parse_form_part(bad), None, "{bad}");
        }
        // A name that says nothing leaves the other one, and tells of a file where there is none.
        for star in ["x", "", "utf-8''", "utf-8''%ff", "klingon''a"] {
            let name = |header: String| parse_form_part(&header).and_then(|part| part.file_name);
            assert_eq!(
                name(format!("form-data; name=a; filename=b; filename*={star}")).as_deref(),
                Some("b"),
                "{star}"
            );
            assert_eq!(name(format!("form-data; name=a; filename*={star}")).as_deref(), Some(""), "{star}");
        }
    }

    #[test]
    fn attachments() {
        for (key, expected) in [
            ("a.txt", r#"attachment; filename="a.txt""#),
            ("a b;c.txt", r#"attachment; filename="a b;c.txt""#),
            ("dir/sub/a.txt", r#"attachment; filename="a.txt""#),
            ("dir/", r#"attachment; filename="dir""#),
            ("///", r#"attachment; filename="archivo""#),
            ("ñ.txt", r#"attachment; filename="_.txt"; filename*=UTF-8''%C3%B1.txt"#),
            ("a\"b", r#"attachment; filename="a_b"; filename*=UTF-8''a%22b"#),
            ("a\\b", r#"attachment; filename="a_b"; filename*=UTF-8''a%5Cb"#),
            ("50%.txt", r#"attachment; filename="50_.txt"; filename*=UTF-8''50%25.txt"#),
            (
                "a\r\nSet-Cookie: x",
                r#"attachment; filename="a__Set-Cookie: x"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"#,
            ),
        ] {
            assert_eq!(attachment(key), expected, "{key:?}");
        }
        let long = attachment(&"é".repeat(512));
        assert!(long.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
    }
}
