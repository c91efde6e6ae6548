//! The description of the API, as programs read it; a test holds it against the routes.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};

const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn openapi() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::edge::problem::Kind;
    use crate::http::rest::target::ROUTES;
    use std::collections::BTreeSet;

    #[test]
    fn the_description_and_the_router_are_the_same() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|k| *k != "parameters" && *k != "description") {
                described.insert((path.clone(), method.to_ascii_uppercase()));
            }
        }
        let mut routed = BTreeSet::new();
        for (path, allow) in ROUTES {
            for method in allow.split(", ").filter(|m| *m != "OPTIONS") {
                routed.insert(((*path).to_owned(), method.to_owned()));
            }
        }
        assert_eq!(described, routed);
    }

    #[test]
    fn every_code_is_described() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let described = document.pointer("/components/schemas/Error/properties/code/enum").unwrap();
        let described: BTreeSet<&str> = described.as_array().unwrap().iter().filter_map(|code| code.as_str()).collect();
        let here = Kind::ALL.iter().filter(|kind| !kind.is_of_s3_alone());
        let mut told: BTreeSet<&str> = here.map(|kind| kind.code()).collect();
        // Of a head that nobody could read, below all kinds.
        told.extend(["InvalidRequest", "HeadTooLarge"]);
        assert_eq!(described, told);
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        for quoted in OPENAPI.split("\"$ref\": \"#").skip(1) {
            let pointer = quoted.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
