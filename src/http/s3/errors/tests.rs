use super::*;
use crate::http::edge::errors::samples;
use crate::http::testing::headers;
use actix_web::body::to_bytes;

const AT: Resource<'_> =
    Resource { path: "/abc/a%20%3Cb", bucket: Some("abc"), key: Some("a <b"), condition: Some("If-Match") };

async fn told(problem: &Problem, is_head: bool) -> (HttpResponse<()>, String) {
    let (head, body) = tell(problem, &AT, &RequestId::for_tests("abc-1"), is_head).into_parts();
    let body = to_bytes(body).await.expect("a body in memory");
    (head, String::from_utf8(body.to_vec()).expect("UTF-8"))
}

#[test]
fn every_kind_has_a_status_and_a_code_of_s3() {
    for kind in Kind::ALL {
        let row = row(*kind);
        assert!(row.status.is_client_error() || row.status.is_server_error(), "{kind:?}");
        assert!(row.code.len() > 5 && row.code.bytes().all(|b| b.is_ascii_alphanumeric()), "{kind:?}");
        let is_tried_again = [500, 503].contains(&row.status.as_u16());
        let is_ours = ["InternalError", "ServiceUnavailable", "SlowDown"].contains(&row.code);
        assert_eq!(is_tried_again, is_ours, "{kind:?}: clients tell by the code, too");
        assert_eq!(row.status == 503, kind.status() == 503, "{kind:?}: with Retry-After, or without");
        assert!(row.status != 401, "{kind:?}: S3 has no such answer");
    }
}

#[test]
fn codes_that_clients_rely_on() {
    for (kind, status, code) in [
        (Kind::Unauthenticated, 403, "AccessDenied"),
        (Kind::AccessDenied, 403, "AccessDenied"),
        (Kind::SignerUnknown, 403, "InvalidAccessKeyId"),
        (Kind::SignatureRefused, 403, "SignatureDoesNotMatch"),
        (Kind::LinkRefused, 403, "SignatureDoesNotMatch"),
        (Kind::LinkExpired, 403, "AccessDenied"),
        (Kind::LinkForm, 400, "AuthorizationQueryParametersError"),
        (Kind::SignatureForm, 400, "AuthorizationHeaderMalformed"),
        (Kind::SignatureVersion, 400, "InvalidRequest"),
        (Kind::ClockSkew, 403, "RequestTimeTooSkewed"),
        (Kind::SessionToken, 400, "InvalidToken"),
        (Kind::BodyHash, 400, "InvalidRequest"),
        (Kind::Digest, 400, "BadDigest"),
        (Kind::Checksum, 400, "BadDigest"),
        (Kind::SignedDigest, 400, "XAmzContentSHA256Mismatch"),
        (Kind::Md5Header, 400, "InvalidDigest"),
        (Kind::Incomplete, 400, "IncompleteBody"),
        (Kind::LengthRequired, 411, "MissingContentLength"),
        (Kind::TooLarge, 400, "EntityTooLarge"),
        (Kind::Silent, 400, "RequestTimeout"),
        (Kind::Document, 400, "MalformedXML"),
        (Kind::Query, 400, "InvalidArgument"),
        (Kind::Header, 400, "InvalidArgument"),
        (Kind::MetadataSize, 400, "MetadataTooLarge"),
        (Kind::ChecksumHeader, 400, "InvalidRequest"),
        (Kind::UnsignedHeader, 403, "AccessDenied"),
        (Kind::PartNumber, 416, "InvalidPartNumber"),
        (Kind::NotImplemented, 501, "NotImplemented"),
        (Kind::Method, 405, "MethodNotAllowed"),
        (Kind::NoSuchBucket, 404, "NoSuchBucket"),
        (Kind::NoSuchKey, 404, "NoSuchKey"),
        (Kind::OwnBucket, 409, "BucketAlreadyOwnedByYou"),
        (Kind::BucketNotEmpty, 409, "BucketNotEmpty"),
        (Kind::BucketName, 400, "InvalidBucketName"),
        (Kind::KeyName, 400, "KeyTooLongError"),
        (Kind::Precondition, 412, "PreconditionFailed"),
        (Kind::Contended, 409, "ConditionalRequestConflict"),
        (Kind::Range, 416, "InvalidRange"),
        (Kind::Busy, 503, "SlowDown"),
        (Kind::NoMajority, 503, "ServiceUnavailable"),
        (Kind::Full, 507, "InsufficientStorage"),
        (Kind::Corrupt, 500, "InternalError"),
        (Kind::NoTags, 404, "NoSuchTagSet"),
        (Kind::NoLifecycle, 404, "NoSuchLifecycleConfiguration"),
        (Kind::NoObjectLock, 404, "ObjectLockConfigurationNotFoundError"),
    ] {
        assert_eq!((row(kind).status.as_u16(), row(kind).code), (status, code), "{kind:?}");
    }
}

#[actix::test]
async fn errors_are_documents() {
    let (head, body) = told(&Kind::NoSuchKey.into(), false).await;
    assert_eq!(head.headers().get("content-type").unwrap(), "application/xml");
    assert_eq!(
        body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
         <Message>there is no such object</Message><Key>a &lt;b</Key><Resource>/abc/a%20%3Cb</Resource>\
         <RequestId>abc-1</RequestId><HostId>abc-1</HostId></Error>"
    );
    let (_, body) = told(&Kind::NoSuchBucket.into(), false).await;
    assert!(body.contains("</Message><BucketName>abc</BucketName><Resource>"), "{body}");
    let (_, body) = told(&Kind::AccessDenied.into(), false).await;
    assert!(!body.contains("<Key>") && !body.contains("<BucketName>"), "{body}");
    let (_, body) = told(&Kind::Precondition.into(), false).await;
    assert!(body.contains("</Message><Condition>If-Match</Condition><Resource>"), "{body}");
    assert!(!told(&Kind::Range.into(), false).await.1.contains("Condition"));
    let own = Problem { detail: Some("of its own & more".into()), ..Kind::Document.into() };
    assert!(told(&own, false).await.1.contains("<Message>of its own &amp; more</Message>"));
    assert!(told(&Kind::Document.into(), false).await.1.contains("<Message>the body is not the XML document"));
}

#[test]
fn a_condition_is_named_where_no_other_could_have_failed() {
    let of = |names: &[&str], is_read| {
        condition(&headers(&names.iter().map(|name| (*name, "x")).collect::<Vec<_>>()), is_read)
    };
    for (names, is_read, told) in [
        (&[][..], false, None),
        (&["if-none-match"], false, Some("If-None-Match")),
        (&["if-match"], false, Some("If-Match")),
        (&["if-match", "if-none-match"], false, None),
        (&["x-amz-copy-source-if-none-match"], false, Some("x-amz-copy-source-If-None-Match")),
        (&["x-amz-copy-source-if-match", "if-none-match"], false, None),
        (&["if-match", "if-none-match", "if-unmodified-since"], true, Some("If-Match")),
        (&["if-none-match", "if-unmodified-since"], true, Some("If-Unmodified-Since")),
    ] {
        assert_eq!(of(names, is_read), told, "{names:?}");
    }
}

#[actix::test]
async fn every_error_is_told_with_its_ids_and_without_paths() {
    for error in samples::all() {
        let problem = error.problem();
        let (head, body) = told(&problem, false).await;
        let headers = head.headers();
        assert_eq!(head.status(), row(problem.kind).status);
        for name in ["x-amz-request-id", "x-amz-id-2"] {
            assert_eq!(headers.get(name).unwrap(), "abc-1", "{error:?}");
        }
        assert_eq!(headers.contains_key("retry-after"), head.status() == 503, "{error:?}");
        assert!(!headers.contains_key("www-authenticate"), "{error:?}");
        assert!(body.contains("<RequestId>abc-1</RequestId>") && !body.contains("hidden"), "{body}");
        let (of_head, body) = told(&problem, true).await;
        assert_eq!((of_head.status(), body.as_str()), (head.status(), ""), "{error:?}");
    }
}

#[test]
fn nothing_is_said_of_other_ports() {
    for kind in Kind::ALL.iter().filter(|kind| row(**kind).code == "NotImplemented" || kind.status() == 401) {
        let problem = Problem::from(*kind);
        let text = message(&problem);
        assert!(!text.contains("/v1") && !text.contains("does not speak S3"), "{kind:?}: {text}");
    }
}
