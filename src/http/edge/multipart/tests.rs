use super::*;
use std::collections::VecDeque;

/// A sender whose chunks are given.
struct Chunks(VecDeque<Bytes>);

impl Chunks {
    fn of(body: &[u8], size: usize) -> Self {
        Chunks(body.chunks(size).map(Bytes::copy_from_slice).collect())
    }
}

impl Source for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        Ok(self.0.pop_front())
    }
}

const TYPE: &str = "multipart/form-data; boundary=XX";

type Part = (PartHead, Vec<u8>);

async fn read(mut source: Chunks) -> Result<Vec<Part>, HttpError> {
    let mut form = Form::new(Some(TYPE), &mut source)?;
    let mut parts = Vec::new();
    while let Some(head) = form.next_part().await? {
        let mut data = Vec::new();
        while let Some(bytes) = form.next_bytes().await? {
            assert!(!bytes.is_empty());
            data.extend_from_slice(&bytes);
        }
        parts.push((head, data));
    }
    form.finish("archivo").await?;
    assert!(source.0.is_empty(), "the body is read to its end");
    Ok(parts)
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    let head =
        format!("Content-Disposition: form-data; name=\"archivo\"; filename=\"{name}\"\r\nContent-Type: a/b\r\n\r\n");
    [head.as_bytes(), data].concat()
}

/// Data that resembles delimiters everywhere, and nothing at all.
fn bodies() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b""[..],
        b"x",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n--",
        b"\r\n--X",
        b"--XX",
        b"--XX--",
        b"\r--XX\r\n",
        b"\n--XX\r\n",
        b"\r\n--XY\r\n",
        b"\r\r\n-\r\n--\r\n--X\r\n\r\n--",
    ]
    .iter()
    .map(|b| b.to_vec())
    .collect();
    all.push((0..=255u8).cycle().take(3000).collect());
    all
}

#[actix::test]
async fn data_comes_out_as_it_went_in_however_it_is_cut() {
    for data in bodies() {
        let body = [
            &b"--XX\r\n"[..],
            &file("one", &data),
            b"\r\n--XX  \t\r\n",
            b"content-disposition: form-data;\r\n name=\"nonce\"\r\n\r\n12",
            b"\r\n--XX\r\n",
            &file("two", &data),
            b"\r\n--XX--\r\nepilogue",
        ]
        .concat();
        for size in (1..40).chain([body.len()]) {
            let parts = read(Chunks::of(&body, size)).await.unwrap_or_else(|e| panic!("{e} at {size} of {data:?}"));
            assert_eq!(parts.len(), 3);
            assert_eq!(parts[0].0.form.file_name.as_deref(), Some("one"));
            assert_eq!(parts[0].0.content_type.as_deref(), Some("a/b"));
            assert_eq!(parts[1].0.form, FormPart { name: Some("nonce".into()), file_name: None });
            assert_eq!(parts[1].1, b"12");
            assert_eq!(parts[2].0.form.file_name.as_deref(), Some("two"));
            assert!(parts[0].1 == data && parts[2].1 == data, "cut into {size}: {data:?}");
        }
    }
}

#[actix::test]
async fn preamble_and_a_bare_end() {
    let body = [b"hello\r\n--XX\r\n", &file("a", b"1")[..], b"\r\n--XX--"].concat();
    assert_eq!(read(Chunks::of(&body, 3)).await.unwrap()[0].1, b"1");
    assert!(read(Chunks::of(b"--XX--", 2)).await.unwrap().is_empty());
}

#[actix::test]
async fn every_truncation_is_noticed() {
    let body = [b"--XX\r\n", &file("a", b"some data")[..], b"\r\n--XX--"].concat();
    for end in 0..body.len() {
        let result = read(Chunks::of(&body[..end], 5)).await;
        assert!(matches!(result, Err(HttpError::Form(FormError::Cut))), "{end}: {result:?}");
    }
}

#[actix::test]
async fn malformed_forms_are_refused() {
    for bad in [
        &b"--XX\r\nno colon\r\n\r\n1\r\n--XX--"[..],
        b"--XX\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n--XX--",
        b"--XX\r\nContent-Disposition: \xff\r\n\r\n1\r\n--XX--",
        b"--XX\r\nContent-Transfer-Encoding: base64\r\n\r\n1\r\n--XX--",
        b"--XXY\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--",
        b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XXother data",
    ] {
        let result = read(Chunks::of(bad, 7)).await;
        assert!(matches!(result, Err(HttpError::Form(_))), "{}: {result:?}", String::from_utf8_lossy(bad));
    }
}

#[actix::test]
async fn what_is_discarded_is_bounded() {
    let field = b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    let large = vec![b'x'; DISCARD_BYTES_MAX + 1];
    let end = b"\r\n--XX--";
    let mut source = Chunks::of(&[&field[..], &large, end].concat(), 8192);
    let result = Form::new(Some(TYPE), &mut source).unwrap().finish("archivo").await;
    assert!(matches!(result, Err(HttpError::Form(FormError::TooMuch))));

    let headers = [b"--XX\r\n", &b"a: b\r\n".repeat(HEADERS_BYTES_MAX)[..]].concat();
    assert!(matches!(read(Chunks::of(&headers, 8192)).await, Err(HttpError::Form(FormError::TooMuch))));

    let line = [b"--XX\r\na: ", &b"b".repeat(2 * HEADERS_BYTES_MAX)[..]].concat();
    assert!(matches!(read(Chunks::of(&line, 8192)).await, Err(HttpError::Form(FormError::TooMuch))));

    let parts = [&b"--XX\r\n\r\n\r\n".repeat(PARTS_MAX + 1)[..], b"--XX--"].concat();
    assert!(matches!(read(Chunks::of(&parts, 8192)).await, Err(HttpError::Form(FormError::TooMuch))));
}

#[actix::test]
async fn a_file_ends_only_when_the_form_has_ended() {
    let body = [b"--XX\r\n", &file("a", b"data")[..], b"\r\n--XX\r\nA: b\r\n\r\nrest"].concat();
    for (end, whole) in [(&b"\r\n--XX--"[..], true), (b"", false)] {
        let mut source = Chunks::of(&[&body, end].concat(), 9);
        let mut form = Form::new(Some(TYPE), &mut source).unwrap();
        form.next_part().await.unwrap().unwrap();
        let (mut part, mut data) = (FilePart { form: &mut form, field: "archivo" }, Vec::new());
        let result = loop {
            match part.next().await {
                Ok(Some(bytes)) => data.extend_from_slice(&bytes),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!((result, &data[..]), (whole, &b"data"[..]));
    }
}

/// What becomes of a form with these parts: the name and bytes of its file.
async fn stored(parts: &[&[u8]]) -> Result<(String, Vec<u8>), HttpError> {
    let body: Vec<u8> = parts.iter().flat_map(|part| [b"--XX\r\n", *part, b"\r\n"].concat()).collect();
    let mut source = Chunks::of(&[&body[..], b"--XX--"].concat(), 50);
    let mut form = Form::new(Some(TYPE), &mut source)?;
    let (name, _) = form.file("archivo").await?;
    let (mut part, mut data) = (FilePart { form: &mut form, field: "archivo" }, Vec::new());
    while let Some(bytes) = part.next().await? {
        data.extend_from_slice(&bytes);
    }
    Ok((name, data))
}

#[actix::test]
async fn no_file_of_a_form_is_dropped_in_silence() {
    let field = |name: &str, rest: &str, data: &str| {
        format!("Content-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{data}").into_bytes()
    };
    let wanted = file("a", b"data");
    let (text, empty) = (field("otro", "", "text"), field("otro", "; filename=\"\"", ""));
    assert_eq!(stored(&[&text, &empty, &wanted, &text, &empty]).await.unwrap(), ("a".into(), b"data".to_vec()));
    for other in [field("otro", "; filename=\"b\"", ""), field("otro", "; filename=\"\"", "bytes")] {
        for parts in [&[&other[..], &wanted][..], &[&wanted, &other], &[&other], &[&text, &other, &text]] {
            let refused = stored(parts).await;
            assert!(matches!(refused, Err(HttpError::Form(FormError::OtherField))), "{refused:?}");
        }
    }
}

#[actix::test]
async fn files_within_a_part_are_several_files_and_no_text() {
    let nested = |name: &str| {
        let head =
            format!("Content-Disposition: form-data; name=\"{name}\"\r\nContent-Type: Multipart/mixed; boundary=YY");
        let file = "--YY\r\nContent-Disposition: attachment; filename=\"b\"\r\n\r\n1\r\n";
        format!("{head}\r\n\r\n{file}{file}--YY--").into_bytes()
    };
    let wanted = file("a", b"data");
    for parts in [&[&nested("archivo")[..]][..], &[&wanted, &nested("archivo")], &[&wanted, &nested("otro")]] {
        let refused = stored(parts).await;
        assert!(matches!(refused, Err(HttpError::Form(FormError::Nested))), "{refused:?}");
    }
    // A file that is itself a multipart is a file.
    let mail = b"Content-Disposition: form-data; name=archivo; filename=m\r\nContent-Type: multipart/related\r\n\r\nx";
    assert_eq!(stored(&[mail]).await.unwrap(), ("m".into(), b"x".to_vec()));
}

#[test]
fn boundaries() {
    for (header, expected) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", Some("a b")),
        ("multipart/form-data; boundary=----WebKitFormBoundaryX", Some("----WebKitFormBoundaryX")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=\"\"", None),
        ("multipart/mixed; boundary=abc", None),
        ("application/x-www-form-urlencoded", None),
    ] {
        assert_eq!(boundary_of(header).as_deref(), expected, "{header}");
    }
    assert!(boundary_of(&format!("multipart/form-data; boundary={}", "b".repeat(201))).is_none());
}
