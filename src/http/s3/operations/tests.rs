use super::*;
use actix_web::test::TestRequest;
use std::collections::BTreeSet;

fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut req = TestRequest::with_uri(uri).method(method);
    for (name, value) in headers {
        req = req.append_header((*name, *value));
    }
    req.to_http_request()
}

fn name(method: &str, uri: &str, headers: &[(&str, &str)]) -> &'static str {
    Route::of(&asked(method, uri, headers), &[]).row.map_or("none", |row| row.name)
}

fn code(method: &str, uri: &str, headers: &[(&str, &str)]) -> &'static str {
    let req = asked(method, uri, headers);
    match Endpoint::of(Route::of(&req, &[]), &req) {
        Ok(_) => "served",
        Err(error) => error.problem().kind.code(),
    }
}

#[test]
fn a_request_is_one_operation() {
    let source = ("x-amz-copy-source", "/abc/k");
    for (method, uri, headers, operation) in [
        ("GET", "/", &[][..], "ListBuckets"),
        ("GET", "/abc", &[], "ListObjects"),
        ("GET", "/abc?list-type=2&prefix=acl", &[], "ListObjectsV2"),
        ("GET", "/abc/?location", &[], "GetBucketLocation"),
        ("GET", "/abc?prefix=a&versions", &[], "ListObjectVersions"),
        ("GET", "/abc?versioning=", &[], "GetBucketVersioning"),
        ("HEAD", "/abc", &[], "HeadBucket"),
        ("POST", "/abc?delete", &[], "DeleteObjects"),
        ("POST", "/abc", &[], "PostObject"),
        ("PUT", "/abc/k", &[], "PutObject"),
        ("PUT", "/abc/k", &[source], "CopyObject"),
        ("PUT", "/abc/k?partNumber=1&uploadId=u", &[], "UploadPart"),
        ("PUT", "/abc/k?partNumber=1&uploadId=u", &[source], "UploadPartCopy"),
        ("POST", "/abc/k?uploads", &[], "CreateMultipartUpload"),
        ("POST", "/abc/k?uploadId=u", &[], "CompleteMultipartUpload"),
        ("GET", "/abc/k?uploadId=u", &[], "ListParts"),
        ("GET", "/abc?uploads&prefix=a", &[], "ListMultipartUploads"),
        ("PUT", "/abc/k?acl", &[], "PutObjectAcl"),
        ("GET", "/abc/k?acl", &[], "GetObjectAcl"),
        ("GET", "/abc/acl", &[], "GetObject"),
        ("DELETE", "/abc/k?uploadId=u", &[], "AbortMultipartUpload"),
        ("PUT", "/", &[], "none"),
        ("POST", "/abc/k", &[], "none"),
        ("PATCH", "/abc/k", &[], "none"),
        // Not by its name: an escape is resolved later.
        ("GET", "/abc?%61cl", &[], "ListObjects"),
    ] {
        assert_eq!(name(method, uri, headers), operation, "{method} {uri}");
    }
}

#[test]
fn what_a_row_does_not_know_is_refused() {
    for (method, uri, headers, told) in [
        ("PUT", "/abc/k?x-id=PutObject", &[("x-amz-meta-a", "1"), ("x-amz-date", "x")][..], "served"),
        ("PUT", "/abc/k?versionId=1", &[], "NotImplemented"),
        ("PUT", "/abc/k?nothing", &[], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-nothing", "1")], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-metadata", "1")], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-object-lock-mode", "COMPLIANCE")], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-tagging", "a=b")], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-server-side-encryption-customer-key", "k")], "NotImplemented"),
        ("PUT", "/abc/k", &[("x-amz-grant-read", "id=1")], "NotImplemented"),
        ("DELETE", "/abc/k?versionId=1", &[], "NotImplemented"),
        ("DELETE", "/abc/k", &[("x-amz-if-match-size", "1")], "NotImplemented"),
        ("GET", "/abc/k?versionId=1", &[], "NotImplemented"),
        ("GET", "/abc/k?x-id=GetObject&response-expires=x", &[("x-amz-checksum-mode", "ENABLED")], "served"),
        ("GET", "/abc?%61cl", &[], "NotImplemented"),
        ("GET", "/abc?list-type=2&start-after=a&marker=b", &[], "NotImplemented"),
        ("GET", "/abc?prefix=a&prefix=b", &[], "InvalidQuery"),
        ("POST", "/abc/k", &[], "MethodNotAllowed"),
        ("PUT", "/abc/k?uploads=1", &[], "NotImplemented"),
        ("PUT", "/abc/k?partNumber=1", &[], "NotImplemented"),
        ("PUT", "/abc/k?partNumber=1&uploadId=u", &[("x-amz-checksum-crc32", "x")], "served"),
        ("PUT", "/abc/k?partNumber=1&uploadId=u", &[("x-amz-meta-a", "1")], "NotImplemented"),
        ("PUT", "/abc/k?partNumber=1&uploadId=u", &[("x-amz-copy-source-range", "x")], "NotImplemented"),
        ("POST", "/abc/k?uploadId=u", &[("x-amz-checksum-algorithm", "CRC32")], "NotImplemented"),
        ("POST", "/abc/k?uploads", &[("x-amz-tagging", "a=b")], "NotImplemented"),
        ("DELETE", "/abc/k?uploadId=u", &[("x-amz-if-match-initiated-time", "x")], "NotImplemented"),
        ("PUT", "/AB/k", &[], "InvalidBucketName"),
        ("PUT", "/abc/%ff", &[], "InvalidEscape"),
        ("GET", "/abc/k?X-Amz-Signature=1&X-Amz-Date=x", &[], "served"),
        // Of a link they are headers, which are judged as such.
        ("PUT", "/abc/k?X-Amz-Signature=1&x-amz-nothing=1", &[], "served"),
        ("PUT", "/abc/k?X-Amz-Signature=1&nothing=1", &[], "NotImplemented"),
        ("PUT", "/abc/k?x-amz-acl=private", &[], "NotImplemented"),
        ("GET", "/abc/k?x-amz-checksum-mode=ENABLED", &[], "NotImplemented"),
    ] {
        assert_eq!(code(method, uri, headers), told, "{method} {uri} {headers:?}");
    }
    let long = format!("/abc/{}", "k".repeat(1025));
    assert_eq!(code("PUT", &long, &[]), "InvalidKey");
}

#[test]
fn no_row_is_behind_another_that_takes_its_requests() {
    let mut names = BTreeSet::new();
    for row in ROWS {
        assert!(names.insert(row.name), "{} stands there twice", row.name);
        let uri = match row.on {
            On::Service => "/".to_owned(),
            On::Bucket => format!("/abc{}", row.by.query().map(|name| format!("?{name}=1")).unwrap_or_default()),
            On::Object => format!("/abc/k{}", row.by.query().map(|name| format!("?{name}=1")).unwrap_or_default()),
        };
        let headers: Vec<(&str, &str)> = row.by.header().into_iter().map(|name| (name, "/abc/k")).collect();
        assert_eq!(name(row.verb.word(), &uri, &headers), row.name);
        assert!(LABELS.contains(&row.label()), "{}", row.label());
        assert_eq!(LABELS[label(Some(row))], row.label());
    }
    assert_eq!(LABELS[label(None)], UNKNOWN);
}

#[test]
fn who_may_what_and_what_is_written_down() {
    use Right::{Admin, Delete, List, Read, Write};
    for (method, uri, asks, action, sort) in [
        ("GET", "/", Asks::Known, "bucket:list", Sort::Look),
        ("PUT", "/abc", Asks::All(Admin), "bucket:create", Sort::Change),
        ("DELETE", "/abc", Asks::All(Admin), "bucket:delete", Sort::Change),
        ("HEAD", "/abc", Asks::Some(List), "bucket:show", Sort::Look),
        ("GET", "/abc?location", Asks::Some(List), "bucket:show", Sort::Look),
        ("GET", "/abc?policy", Asks::Some(List), "bucket:show", Sort::Look),
        ("GET", "/abc", Asks::Some(List), "object:list", Sort::Object),
        ("GET", "/abc?list-type=2", Asks::Some(List), "object:list", Sort::Object),
        ("POST", "/abc?delete", Asks::Some(Delete), "object:delete", Sort::Object),
        ("PUT", "/abc/k", Asks::Object(Write), "object:write", Sort::Object),
        ("GET", "/abc/k", Asks::Object(Read), "object:read", Sort::Object),
        ("HEAD", "/abc/k", Asks::Object(Read), "object:read", Sort::Object),
        ("GET", "/abc/k?tagging", Asks::Object(Read), "object:read", Sort::Object),
        ("DELETE", "/abc/k", Asks::Object(Delete), "object:delete", Sort::Object),
        ("POST", "/abc/k?uploads", Asks::Object(Write), "upload:create", Sort::Object),
        ("PUT", "/abc/k?uploadId=u", Asks::Object(Write), "upload:write", Sort::Object),
        ("POST", "/abc/k?uploadId=u", Asks::Object(Write), "upload:complete", Sort::Object),
        ("DELETE", "/abc/k?uploadId=u", Asks::Object(Write), "upload:abort", Sort::Object),
        ("GET", "/abc/k?uploadId=u", Asks::Object(Write), "upload:show", Sort::Object),
        ("GET", "/abc?uploads", Asks::Some(List), "upload:list", Sort::Object),
    ] {
        let req = asked(method, uri, &[]);
        let endpoint = Endpoint::of(Route::of(&req, &[]), &req).expect("it is served");
        assert_eq!((endpoint.row.asks, endpoint.row.deed), (asks, (action, sort)), "{method} {uri}");
    }
    // Whatever is served and no read changes something, and says so.
    for row in ROWS.iter().filter(|row| row.does != Does::Refused && ![Verb::Get, Verb::Head].contains(&row.verb)) {
        let expected = if row.on == On::Bucket && row.verb != Verb::Post { Sort::Change } else { Sort::Object };
        assert_eq!(row.deed.1, expected, "{}", row.name);
        assert!(!matches!(row.asks, Asks::Known | Asks::All(Read | List)), "{}", row.name);
    }
}
