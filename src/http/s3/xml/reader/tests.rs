use super::*;

const LIMITS: Limits = Limits { bytes_max: 4096, elements_max: 20 };

/// All that a document of `<r>` with texts in `<t>` says.
fn texts(document: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(document, "r", LIMITS)?;
    let mut all = Vec::new();
    while let Some(name) = reader.child()? {
        match name {
            "t" => all.push(reader.text()?),
            "w" => all.push(reader.word()?),
            // As deep as may be.
            "d" => {
                let mut open = 1;
                while open > 0 {
                    open = if reader.child()?.is_some() { open + 1 } else { open - 1 };
                }
            }
            _ => return Err(Malformed("unknown")),
        }
    }
    reader.end()?;
    Ok(all)
}

fn why(document: &str) -> &'static str {
    texts(document.as_bytes()).expect_err(document).0
}

#[test]
fn texts_are_read_as_they_were_meant() {
    for (document, expected) in [
        ("<r/>", &[] as &[&str]),
        ("<r></r>", &[]),
        ("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r>\n  <t>a</t>\n</r>\n", &["a"]),
        (
            "<?xml version='1.0' encoding='utf-8' standalone='yes'?><r xmlns='http://s3.amazonaws.com/doc/2006-03-01/'/>",
            &[],
        ),
        ("<r xmlns=\"\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><t></t><t/></r>", &["", ""]),
        ("<r><!-- x --><t>a<!-- y -->b</t ></r><!-- z -->", &["ab"]),
        ("<r><t> a b </t><w> a b\n</w></r>", &[" a b ", "a b"]),
        ("<r><t>a&amp;b&lt;&gt;&quot;&apos;</t></r>", &["a&b<>\"'"]),
        ("<r><t>&#65;&#x42;&#x1F600;&#x1;&#13;&#xD;</t></r>", &["AB\u{1f600}\u{1}\r\r"]),
        ("<r><t><![CDATA[<a>&amp;]]]]><![CDATA[>]]></t></r>", &["<a>&amp;]]>"]),
        ("<r><t>a\r\nb\rc</t></r>", &["a\nb\nc"]),
    ] {
        assert_eq!(
            texts(document.as_bytes()).as_deref(),
            Ok(&expected.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..]),
            "{document}"
        );
    }
}

#[test]
fn what_is_no_document_is_refused() {
    let laughs = "<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]><r><t>&b;</t></r>";
    let deep = format!("<r>{}{}</r>", "<d>".repeat(DEPTH_MAX), "</d>".repeat(DEPTH_MAX));
    let many = format!("<r>{}</r>", "<t/>".repeat(LIMITS.elements_max));
    let long = format!("<r><t>{}</t></r>", "a".repeat(LIMITS.bytes_max));
    let prefixes: String = (0..=ATTRIBUTES_MAX).map(|n| format!(" xmlns:p{n}='x'")).collect();
    for (document, expected) in [
        (laughs, "the document has a DTD"),
        ("<!DOCTYPE r SYSTEM \"file:///etc/passwd\"><r/>", "the document has a DTD"),
        ("<r><t>&b;</t></r>", "the document has an entity of its own"),
        ("<r>&#65;</r>", STRAY_TEXT.0),
        ("<r>a</r>", STRAY_TEXT.0),
        ("<r><![CDATA[a]]></r>", STRAY_TEXT.0),
        ("a<r/>", STRAY_TEXT.0),
        ("<?php x?><r/>", "the document has processing instructions"),
        ("<r><t><?x?></t></r>", "the document has processing instructions"),
        ("<r/><?xml version=\"1.0\"?>", NOT_XML.0),
        (" <?xml version=\"1.0\"?><r/>", NOT_XML.0),
        ("<?xml version=\"1.1\"?><r/>", "the document is not of XML 1.0"),
        ("<?xml version=\"1.0\" encoding=\"UTF-16\"?><r/>", "the document is not UTF-8"),
        ("", CUT.0),
        ("<r>", CUT.0),
        ("<r><t>", CUT.0),
        ("<r><t></r>", NOT_XML.0),
        ("<r", NOT_XML.0),
        ("</r>", NOT_XML.0),
        ("<r><t>a & b</t></r>", NOT_XML.0),
        ("<q/>", "the document has another root element than is wanted"),
        ("<r/><r/>", "the document goes on behind its root element"),
        ("<r/>a", "the document goes on behind its root element"),
        ("<r><t><t/></t></r>", "the document has elements where text is wanted"),
        ("<r><u/></r>", "unknown"),
        ("<r><p:t/></r>", "unknown"),
        ("<r xmlns=\"http://example.org/\"/>", "an element of the document has attributes, or is of another namespace"),
        ("<r><t a=\"b\"/></r>", "an element of the document has attributes, or is of another namespace"),
        ("<r xmlns='' xmlns=''/>", NOT_XML.0),
        ("<r><t>&#0;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>&#xD800;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>&#x110000;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>&#+65;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>&#;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>&#A;</t></r>", NOT_A_CHARACTER.0),
        ("<r><t>\u{1}</t></r>", NOT_A_CHARACTER.0),
        ("<r><t><![CDATA[\u{ffff}]]></t></r>", NOT_A_CHARACTER.0),
        (&deep, "the elements of the document lie too deep"),
        (&many, "the document has too many elements"),
        (&long, "the document is too long"),
        (&format!("<r{prefixes}/>"), "an element of the document has attributes, or is of another namespace"),
    ] {
        assert_eq!(why(document), expected, "{document}");
    }
    assert_eq!(texts(b"<r><t>\xff</t></r>"), Err(Malformed("the document is not UTF-8")));
    assert_eq!(texts(b"\xff\xfe<\0r\0/\0>\0"), Err(Malformed("the document is not UTF-8")));
}

#[test]
fn limits_are_what_may_just_be_there() {
    let deep = format!("<r>{}{}</r>", "<d>".repeat(2), "</d>".repeat(2));
    assert_eq!(texts(deep.as_bytes()), Ok(Vec::new()));
    let many = format!("<r>{}</r>", "<t/>".repeat(LIMITS.elements_max - 1));
    assert_eq!(texts(many.as_bytes()).map(|all| all.len()), Ok(LIMITS.elements_max - 1));
    let frame = "<r><t></t></r>".len();
    let long = format!("<r><t>{}</t></r>", "a".repeat(LIMITS.bytes_max - frame));
    assert!(texts(long.as_bytes()).is_ok());
}

#[test]
fn a_second_one_is_refused() {
    let mut slot = None;
    assert_eq!((once(&mut slot, 1), slot), (Ok(()), Some(1)));
    assert!(once(&mut slot, 2).is_err());
    assert_eq!(slot, Some(1));
}
