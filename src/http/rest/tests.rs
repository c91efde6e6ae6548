//! Requests through the whole of the port, over a store that must not be asked.

use super::*;
use crate::audit::{self, Audit, Setup};
use crate::base::{Grant, Rights};
use crate::disk::CrashDisk;
use crate::http::edge::access::Right;
use crate::http::edge::access::testing::{bearer, guarded, with_keys};
use crate::http::edge::handle::handle;
use crate::http::testing::{port, port_with};
use actix_web::body::to_bytes;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use std::sync::Arc;

/// These rights on everything.
fn everywhere(rights: &[Right]) -> Grant {
    Grant { rights: Rights::of(rights), ..Grant::everything() }
}

#[actix::test]
async fn who_has_not_the_right_is_refused_in_the_voice_of_the_route_before_anything_is_taken() {
    let english = "the caller has not the right to do this";
    let spanish = "no tiene permiso para hacer esto";
    for (method, path, needed, told) in [
        (Method::GET, "/v1/objects/abc/k", Right::Read, english),
        (Method::HEAD, "/v1/objects/abc/k", Right::Read, english),
        (Method::PUT, "/v1/objects/abc/k", Right::Write, english),
        (Method::DELETE, "/v1/objects/abc/k", Right::Delete, english),
        (Method::GET, "/v1/objects/abc", Right::List, english),
        (Method::PUT, "/v1/buckets/abc", Right::Admin, english),
        (Method::GET, "/v1/cluster", Right::Admin, english),
        (Method::PUT, "/v1/cluster/members", Right::Admin, english),
        (Method::GET, "/metrics", Right::Metrics, english),
        (Method::GET, "/v1/access", Right::Admin, english),
        (Method::POST, "/v1/access", Right::Admin, english),
        (Method::DELETE, "/v1/access/ABCDEFGHIJKLMNOPQRST", Right::Admin, english),
        (Method::POST, "/cargar", Right::Write, spanish),
        (Method::GET, "/descargar/n", Right::Read, spanish),
        (Method::DELETE, "/eliminar/n", Right::Delete, spanish),
    ] {
        let others: Vec<Right> = Right::ALL.into_iter().filter(|right| *right != needed).collect();
        let (port, budget) = port(Rest { entrance: guarded(vec![everywhere(&others)]) });
        let req = TestRequest::with_uri(path).method(method.clone()).insert_header(("authorization", bearer()));
        let req = req.to_http_request();
        let response = handle(&port, &req, Payload::None).await;
        assert_eq!(response.status(), 403, "{method} {path}");
        assert!(response.headers().contains_key("x-request-id"));
        let body = to_bytes(response.into_body()).await.expect("a body in memory");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["code"], &body["error"]), (&"AccessDenied".into(), &told.into()), "{method} {path}");
        assert_eq!((budget.level().requests, budget.level().refused), (0, 0), "no permit was asked for");
    }
}

#[actix::test]
async fn without_a_line_in_the_audit_log_nothing_is_changed() {
    for (kind, status, code) in [
        (std::io::ErrorKind::StorageFull, 507, "InsufficientStorage"),
        (std::io::ErrorKind::Other, 503, "AuditUnavailable"),
    ] {
        let disk = CrashDisk::new(1);
        let place = audit::testing::place(&disk, &Arc::new(audit::testing::ring(&[1])));
        let log = Audit::start(Setup { place, objects: false, low: Box::new(|| false) }).expect("it starts");
        disk.fail_writes_after(0, kind);
        let (port, _) = port_with(Rest { entrance: guarded(vec![everywhere(&Right::ALL)]) }, log);
        for (method, path) in [
            (Method::PUT, "/v1/buckets/abc"),
            (Method::DELETE, "/v1/buckets/abc"),
            (Method::POST, "/v1/access"),
            (Method::PUT, "/v1/access/ABCDEFGHIJKLMNOPQRST?state=disabled"),
            (Method::DELETE, "/v1/access/ABCDEFGHIJKLMNOPQRST"),
            (Method::POST, "/v1/access/ABCDEFGHIJKLMNOPQRST/rotate"),
            (Method::PUT, "/v1/cluster/members?names=n1"),
            (Method::PUT, "/v1/cluster/scrub?state=paused"),
        ] {
            let req = TestRequest::with_uri(path).method(method.clone()).insert_header(("authorization", bearer()));
            let response = handle(&port, &req.to_http_request(), Payload::None).await;
            assert_eq!(response.status(), status, "{method} {path}");
            let body = to_bytes(response.into_body()).await.expect("a body in memory");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["code"], code, "{method} {path}");
        }
    }
}

#[actix::test]
async fn probes_and_documents_need_no_right_and_what_there_is_not_is_told_as_such() {
    let (port, _) = port(Rest { entrance: guarded(Vec::new()) });
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/openapi.json", 200),
        (Method::OPTIONS, "/v1/objects/abc/k", 200),
        (Method::GET, "/nothing", 404),
        (Method::PATCH, "/v1/objects/abc/k", 405),
        (Method::GET, "/v1/objects/AB/k", 400),
    ] {
        let req = TestRequest::with_uri(path).method(method.clone()).to_http_request();
        assert_eq!(handle(&port, &req, Payload::None).await.status(), status, "{method} {path}");
    }
}

#[actix::test]
async fn who_is_not_known_is_asked_for_a_key_and_told_nothing_else() {
    for (path, told) in [("/v1/buckets", "an access key is needed"), ("/descargar/n", "hace falta una clave de acceso")]
    {
        let answers =
            [None, Some(bearer().replace('.', ".A")), Some("Basic ????".to_owned())].map(|credential| async move {
                let (port, budget) = port(Rest { entrance: guarded(vec![Grant::everything()]) });
                let mut req = TestRequest::with_uri(path);
                if let Some(credential) = credential {
                    req = req.insert_header(("authorization", credential));
                }
                let response = handle(&port, &req.to_http_request(), Payload::None).await;
                assert_eq!(response.status(), 401, "{path}");
                let challenge = response.headers().get("www-authenticate").expect("a challenge");
                assert!(challenge.to_str().is_ok_and(|text| text.starts_with("Basic realm=")));
                assert_eq!(budget.level().requests, 0, "no permit was asked for");
                let body = to_bytes(response.into_body()).await.expect("a body in memory");
                let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(body["code"], "Unauthorized");
                body["error"].as_str().expect("a text").to_owned()
            });
        let texts = futures::future::join_all(answers).await;
        assert!(texts[0].starts_with(told) && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    }
    let (port, _) = port(Rest { entrance: with_keys([], false) });
    let req = TestRequest::with_uri("/v1/buckets").to_http_request();
    assert_eq!(handle(&port, &req, Payload::None).await.status(), 401, "nobody, before there is a key");
}
