//! The notebook's three routes, as its users know them.

mod common;

use common::{Dice, FORM, Node, escape, file_part, form, part};

const STORED: &str = "Archivo cargado y cifrado exitosamente";
const DELETED: &str = "Archivo eliminado exitosamente";

#[test]
fn files_come_back_as_they_went_in() {
    let node = Node::start();
    let mut dice = Dice(1);
    for size in [0, 1, 1000, 65_535, 65_536, 65_537, 131_072, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let data = dice.bytes(size);
        let name = format!("{size}.bin");
        let stored = node.upload(&name, &data);
        stored.expect_written(200);
        assert_eq!((stored.text(), stored.header("content-type")), (STORED, Some("text/html; charset=utf-8")));
        let got = node.get(&format!("/descargar/{name}"));
        assert_eq!(got.status, 200);
        assert!(got.body == data, "{size} bytes differ");
        assert_eq!(got.header("content-disposition"), Some(format!("attachment; filename=\"{name}\"").as_str()));
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        let head = node.ask("HEAD", &format!("/descargar/{name}"), &[], b"");
        for header in
            ["content-length", "content-type", "etag", "last-modified", "content-disposition", "accept-ranges"]
        {
            assert_eq!(head.header(header), got.header(header), "{header}");
            assert!(head.header(header).is_some(), "{header}");
        }
    }
}

#[test]
fn overwrite_delete_and_missing() {
    let mut node = Node::start();
    node.upload("a.txt", b"one").expect_written(200);
    let first = node.get("/descargar/a.txt").header("etag").map(str::to_owned);
    node.upload("a.txt", b"two").expect_written(200);
    let second = node.get("/descargar/a.txt");
    assert_eq!(second.text(), "two");
    assert_ne!(second.header("etag").map(str::to_owned), first);
    assert_eq!(node.get("/descargar/a.txt").header("etag"), second.header("etag"), "the same bytes keep their tag");

    node.kill9();
    node.begin();
    assert_eq!(node.get("/descargar/a.txt").text(), "two");

    let gone = node.delete("/eliminar/a.txt");
    gone.expect_written(200);
    assert_eq!((gone.text(), gone.header("content-type")), (DELETED, Some("text/html; charset=utf-8")));
    for (method, path) in [("GET", "/descargar/a.txt"), ("DELETE", "/eliminar/a.txt"), ("GET", "/descargar/b")] {
        let message = node.ask(method, path, &[], b"").expect_error(404, "NoSuchKey");
        assert_eq!(message, "el archivo no existe");
    }
    assert!(node.stop().success());
}

#[test]
fn a_name_is_never_a_path() {
    let node = Node::start();
    let before = listing(&node);
    let long = "ñ".repeat(512);
    let names = [
        "con espacios.txt",
        "más+signos.txt",
        "100%.txt",
        "a%20b",
        "%2e%2e%2f",
        "dir/sub/a.txt",
        "...",
        "..a/b..",
        "/etc/passwd",
        "//",
        "a\\b\\c.txt",
        "C:\\dir\\x.txt",
        "comillas\"dentro\".txt",
        "punto;coma.txt",
        "日本語.txt",
        "a?b#c&d=e",
        &long,
        &"k".repeat(1024),
    ];
    for name in names {
        node.upload(name, name.as_bytes()).expect_written(200);
    }
    for name in names {
        let got = node.get(&format!("/descargar/{}", escape(name)));
        assert_eq!((got.status, got.text()), (200, name), "{name}");
        assert!(
            got.header("content-disposition").is_some_and(|v| v.is_ascii() && v.starts_with("attachment; filename=\""))
        );
        // A slash may also stand as itself.
        let got = node.get(&format!("/descargar/{}", escape(name).replace("%2F", "/")));
        assert_eq!(got.text(), name, "{name}");
        node.delete(&format!("/eliminar/{}", escape(name))).expect_written(200);
        node.get(&format!("/descargar/{}", escape(name))).expect_error(404, "NoSuchKey");
    }
    assert_eq!(listing(&node), before, "nothing was made outside the data directory");
    node.upload(&"k".repeat(1025), b"x").expect_error(400, "InvalidKey");
    // Clients resolve these: nobody could ask for them again.
    for name in ["..", ".", "../../../tmp/fuera.txt", "a/../b.txt", "./c.txt", "a/."] {
        assert!(node.upload(name, b"x").expect_error(400, "InvalidKey").contains("'.' y '..'"), "{name}");
        node.get(&format!("/descargar/{}", escape(name))).expect_error(400, "InvalidKey");
        node.delete(&format!("/eliminar/{}", escape(name))).expect_error(400, "InvalidKey");
    }
    node.get(&format!("/descargar/{}", "k".repeat(1025))).expect_error(400, "InvalidKey");
    node.get("/descargar/").expect_error(400, "InvalidKey");
    node.get("/descargar/%ff").expect_error(400, "InvalidEscape");
    node.delete("/eliminar/%4").expect_error(400, "InvalidEscape");
}

fn listing(node: &Node) -> Vec<String> {
    let entries = std::fs::read_dir(node.home()).expect("the directory is readable");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_type_is_kept_or_guessed() {
    let node = Node::start();
    let disposition = "form-data; name=\"archivo\"; filename=\"a.txt\"";
    for (given, expected) in [
        (Some("application/x-special; v=1"), "application/x-special; v=1"),
        (Some(""), "text/plain"),
        (None, "text/plain"),
    ] {
        let mut headers = vec![("Content-Disposition", disposition)];
        headers.extend(given.map(|value| ("Content-Type", value)));
        let body = form(&[part(&headers, b"x")]);
        node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body).expect_written(200);
        assert_eq!(node.get("/descargar/a.txt").header("content-type"), Some(expected));
    }
    node.upload("sin-extension", b"x").expect_written(200);
    assert_eq!(node.get("/descargar/sin-extension").header("content-type"), Some("application/octet-stream"));
}

#[test]
fn a_name_is_one_however_its_accents_are_written() {
    let node = Node::start();
    let (composed, apart) = ("ma\u{f1}ana.txt", "man\u{303}ana.txt");
    node.upload(apart, b"one").expect_written(200);
    assert_eq!(node.get(&format!("/descargar/{}", escape(composed))).text(), "one");
    node.upload(composed, b"two").expect_written(200);
    assert_eq!(node.get(&format!("/descargar/{}", escape(apart))).text(), "two");
    assert_eq!(node.get("/v1/objects/cargas").json()["objects"].as_array().map(Vec::len), Some(1));
    node.delete(&format!("/eliminar/{}", escape(apart))).expect_written(200);
    node.get(&format!("/descargar/{}", escape(composed))).expect_error(404, "NoSuchKey");
    // `/v1` takes keys as they are: byte for byte.
    node.put(&format!("/v1/objects/cargas/{}", escape(apart)), b"x").expect_written(201);
    node.get(&format!("/v1/objects/cargas/{}", escape(composed))).expect_error(404, "NoSuchKey");
}

fn plain_field(name: &str, value: &[u8]) -> Vec<u8> {
    part(&[("Content-Disposition", &format!("form-data; name=\"{name}\""))], value)
}

#[test]
fn texts_and_empty_inputs_are_passed_over() {
    let node = Node::start();
    let body = form(&[
        plain_field("nonce", b"0123"),
        plain_field("archivo", b"not a file"),
        file_part("otro", "", b""),
        file_part("archivo", "", b""),
        file_part("archivo", "uno", b"first"),
        file_part("archivo", "", b""),
        file_part("otro", "", b""),
        plain_field("tag", b"4567"),
    ]);
    node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body).expect_written(200);
    assert_eq!(node.get("/descargar/uno").text(), "first");
    // A file beside it in another field is not: it would be dropped in silence.
    let (wanted, other) = (file_part("archivo", "dos", b"2"), file_part("otro", "otro.bin", b"3"));
    for parts in [&[wanted.clone(), other.clone()], &[other, wanted]] {
        let refused = node.ask("POST", "/cargar", &[("Content-Type", FORM)], &form(parts));
        assert!(refused.expect_error(400, "MissingFile").contains("en el campo 'archivo'"));
    }
    for name in ["dos", "otro.bin"] {
        node.get(&format!("/descargar/{name}")).expect_error(404, "NoSuchKey");
    }
}

#[test]
fn several_files_are_refused_and_none_is_stored_whatever_their_size() {
    let node = Node::start();
    for (first, second) in [(5, 5), (300_000, 5), (5, 3 << 20), (300_000, 300_000)] {
        let body =
            form(&[file_part("archivo", "uno", &vec![b'1'; first]), file_part("archivo", "dos", &vec![b'2'; second])]);
        let refused = node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body);
        assert!(refused.expect_error(400, "SeveralFiles").contains("varios archivos"), "{first} {second}");
        for name in ["uno", "dos"] {
            node.get(&format!("/descargar/{name}")).expect_error(404, "NoSuchKey");
        }
    }
    // Bytes without a name are a file, too.
    let body = form(&[file_part("archivo", "uno", b"1"), file_part("archivo", "", b"2")]);
    node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body).expect_error(400, "SeveralFiles");
    node.get("/descargar/uno").expect_error(404, "NoSuchKey");
}

#[test]
fn a_file_name_that_does_not_decode_leaves_the_other() {
    let node = Node::start();
    for (star, stored) in [
        ("UTF-8''na%C3%AFve.txt", "na\u{ef}ve.txt"),
        ("iso-8859-1''na%EFve.txt", "na\u{ef}ve.txt"),
        ("UTF-8''%FF.txt", "plain.txt"),
        ("windows-1252''na%EFve.txt", "plain.txt"),
        ("plain.txt", "plain.txt"),
        ("", "plain.txt"),
        ("UTF-8''", "plain.txt"),
    ] {
        let disposition = format!("form-data; name=\"archivo\"; filename=\"plain.txt\"; filename*={star}");
        let body = form(&[part(&[("Content-Disposition", &disposition)], star.as_bytes())]);
        node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body).expect_written(200);
        assert_eq!(node.get(&format!("/descargar/{}", escape(stored))).text(), star);
        node.delete(&format!("/eliminar/{}", escape(stored))).expect_written(200);
    }
    let body = form(&[part(&[("Content-Disposition", "form-data; name=\"archivo\"; filename*=UTF-8''%FF")], b"x")]);
    node.ask("POST", "/cargar", &[("Content-Type", FORM)], &body).expect_error(400, "MissingFileName");
}

#[test]
fn what_is_wrong_with_a_form_is_said() {
    let node = Node::start();
    let ask = |body: &[u8]| node.ask("POST", "/cargar", &[("Content-Type", FORM)], body);
    let whole = form(&[file_part("archivo", "a", b"x")]);
    let lf: Vec<u8> = whole.iter().copied().filter(|b| *b != b'\r').collect();
    assert!(ask(&lf).expect_error(400, "InvalidForm").contains("CRLF"));
    let heads = String::from_utf8(whole).unwrap().replace("\r\n\r\nx", "\n\nx");
    assert!(ask(heads.as_bytes()).expect_error(400, "InvalidForm").contains("CRLF"));
    // A large file in the wrong field, and too much in other fields, are not the same.
    let large = vec![b'x'; 2 << 20];
    let wrong = ask(&form(&[file_part("fichero", "a", &large)]));
    assert!(wrong.expect_error(400, "MissingFile").contains("en el campo 'archivo'"));
    // What `curl -F archivo=hello` sends.
    let text = form(&[plain_field("archivo", b"hello")]);
    let told = node.ask("POST", "/cargar", &[("Content-Type", FORM)], &text).expect_error(400, "MissingFile");
    assert!(told.contains("archivo=@ARCHIVO"), "{told}");
    // What is wrong is said in Spanish, too.
    let latin = [&b"Content-Disposition: form-data; name=archivo; filename=\"na\xefve\"\r\n\r\nx"[..]].concat();
    assert!(ask(&form(&[latin])).expect_error(400, "InvalidForm").contains("en UTF-8"));
    let whole = form(&[file_part("archivo", "a", b"x")]);
    let told = node.ask("POST", "/cargar", &[("Content-Type", FORM), ("If-None-Match", "*")], &whole);
    assert!(told.expect_error(501, "NotImplemented").contains("condiciones"));
    let told = node.ask("POST", "/cargar", &[("Content-Type", FORM), ("Content-MD5", "x")], &whole);
    assert!(told.expect_error(400, "InvalidHeader").contains("Content-MD5"));
    for path in ["/v1", "/v1/", "/v1/x"] {
        let told = node.get(path).expect_error(404, "NoSuchRoute");
        assert!(told.contains("/openapi.json") && told.contains("GET /"), "{told}");
    }
    let fields = [
        form(&[plain_field("nota", &large), file_part("archivo", "a", b"x")]),
        form(&vec![plain_field("n", b""); 300]),
    ];
    for body in &fields {
        assert!(ask(body).expect_error(413, "EntityTooLarge").contains("1 MiB, 256 partes"));
    }
    let boundary = "quoted;boundary";
    let disposition = "Content-Disposition: form-data; name=\"archivo\"; filename=\"q\"";
    let quoted = format!("--{boundary}\r\n{disposition}\r\n\r\ndata\r\n--{boundary}--\r\n");
    let kind = format!("multipart/form-data; charset=\"a;boundary=b\"; boundary=\"{boundary}\"");
    node.ask("POST", "/cargar", &[("Content-Type", &kind)], quoted.as_bytes()).expect_written(200);
    assert_eq!(node.get("/descargar/q").text(), "data");
    assert_eq!(node.get("/v1/objects/cargas").json()["objects"].as_array().map(Vec::len), Some(1));
}

#[test]
fn bad_forms_are_told_apart_and_leave_nothing() {
    let node = Node::start();
    let form_type = ("Content-Type", FORM);
    let no_file = form(&[part(&[("Content-Disposition", "form-data; name=\"archivo\"")], b"x")]);
    let other = form(&[file_part("fichero", "a", b"x")]);
    let whole = form(&[file_part("archivo", "cortado", &[b'x'; 200_000])]);
    let unnamed = form(&[file_part("archivo", "", b"x")]);
    let cases = [
        (&[form_type][..], &form(&[])[..], "MissingFile"),
        (&[form_type], &no_file, "MissingFile"),
        (&[form_type], &other, "MissingFile"),
        (&[form_type], &unnamed, "MissingFileName"),
        (&[form_type], &whole[..whole.len() - 4], "IncompleteBody"),
        (&[form_type], b"", "IncompleteBody"),
        (&[("Content-Type", "application/x-www-form-urlencoded")], b"archivo=x", "InvalidForm"),
        (&[], b"", "InvalidForm"),
    ];
    for (headers, body, code) in cases {
        let message = node.ask("POST", "/cargar", headers, body).expect_error(400, code);
        assert!(["el ", "falta ", "formulario"].iter().any(|word| message.contains(word)), "not Spanish: {message}");
    }
    node.get("/descargar/cortado").expect_error(404, "NoSuchKey");
    common::eventually("the staged file to go", || node.files_in("staged").is_empty().then_some(()));
    let listed = node.get("/v1/objects/cargas").json();
    assert_eq!(listed["objects"].as_array().map(Vec::len), Some(0));
}

#[test]
fn chunked_and_expect() {
    let node = Node::start();
    let body = form(&[file_part("archivo", "trozos", &Dice(2).bytes(300_000))]);
    let mut conn = node.connect();
    let head = format!(
        "POST /cargar HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    conn.send(head).unwrap();
    conn.told_to_go_on();
    for chunk in body.chunks(10_007) {
        conn.send(format!("{:x}\r\n", chunk.len())).unwrap();
        conn.send(chunk).unwrap();
        conn.send("\r\n").unwrap();
    }
    conn.send("0\r\n\r\n").unwrap();
    conn.answer(false).unwrap().expect_written(200);
    assert!(conn.ask("GET", "/descargar/trozos", &[], b"").unwrap().body == Dice(2).bytes(300_000));
}

#[test]
fn ranges_and_conditions_on_downloads() {
    let node = Node::start();
    node.upload("r", b"0123456789").expect_written(200);
    let whole = node.get("/descargar/r");
    let etag = whole.header("etag").unwrap();
    let modified = whole.header("last-modified").unwrap();
    let part = node.ask("GET", "/descargar/r", &[("Range", "bytes=2-4")], b"");
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "234", Some("bytes 2-4/10")));
    let past = node.ask("GET", "/descargar/r", &[("Range", "bytes=10-")], b"");
    past.expect_error(416, "InvalidRange");
    assert_eq!(past.header("content-range"), Some("bytes */10"));
    for condition in [("If-None-Match", etag), ("If-Modified-Since", modified)] {
        let same = node.ask("GET", "/descargar/r", &[condition], b"");
        assert_eq!((same.status, same.header("etag")), (304, Some(etag)));
    }
    node.get("/descargar/x?consistency=perhaps").expect_error(400, "InvalidQuery");
    // What else stands there was always passed over, and need not even be a query.
    for others in ["u=1&u=2", "x=%E1", "x=100%", "%zz"] {
        assert_eq!(node.get(&format!("/descargar/r?{others}")).status, 200, "{others}");
    }
}

#[test]
fn methods() {
    let node = Node::start();
    for (path, allow) in
        [("/cargar", "POST, OPTIONS"), ("/descargar/x", "GET, HEAD, OPTIONS"), ("/eliminar/x", "DELETE, OPTIONS")]
    {
        let options = node.ask("OPTIONS", path, &[], b"");
        assert_eq!((options.status, options.header("allow")), (200, Some(allow)));
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "TRACE", "BREW"] {
            if allow.split(", ").all(|known| known != method) {
                let refused = node.ask(method, path, &[], b"");
                assert!(refused.expect_error(405, "MethodNotAllowed").contains("esta ruta"), "{method} {path}");
                assert_eq!(refused.header("allow"), Some(allow));
            }
        }
    }
}
