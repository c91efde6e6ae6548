//! What bodies of this port hold, as documents: what clients send, and what they are answered with.
//!
//! | file | what it does |
//! |---|---|
//! | `lists` | buckets; objects of a bucket, page by page |
//! | `deletions` | many objects to be deleted at once, and what became of each |
//! | `copies` | what came of a copy |
//! | `uploads` | uploads in parts: begun, of which parts they are completed, and what came of it |
//! | `upload_lists` | lists of them, and of their parts |
//! | `attributes` | what is known of an object |
//! | `settings` | settings of buckets and objects |
//!
//! Invariants
//! - A document that is not read to its end, or that holds an element nobody asks for, changes nothing.
//! - What is written is in the order that the API reference of S3 has.
//!
//! Names and forms: Amazon S3 API Reference.

mod attributes;
mod copies;
mod deletions;
mod lists;
mod settings;
mod upload_lists;
mod uploads;

pub(super) use attributes::{Attribute, PartsAsked, attributes};
pub(super) use copies::{copy_part_result, copy_result};
pub(in crate::http) use deletions::{Deletion, deletions};
pub(super) use deletions::{Gone, deleted};
pub(super) use lists::{BucketPage, Listing, buckets, list_v1, list_v2};
pub(in crate::http) use settings::location_constraint;
pub(super) use settings::{empty, location, no_tags, owner_alone, owner_pays, sealed};
pub(super) use upload_lists::{PartListing, UploadListing, parts, uploads};
pub(super) use uploads::COMPLETION_BYTES_MAX;
pub(in crate::http) use uploads::completion;
pub(super) use uploads::{completed, initiated};

use super::heads::{checksum_type as kind_of, checksum_value, type_word};
use super::xml::Writer;
use crate::actors::messages::Written;
use crate::base::Checksum;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// The media type of all of them.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/xml");

/// Everything in a store belongs to one owner.
const OWNER: &str = "boveda";

/// An answer of 200 with a document.
fn ok(document: String) -> HttpResponse {
    answer(&mut HttpResponse::Ok(), document)
}

fn answer(builder: &mut HttpResponseBuilder, document: String) -> HttpResponse {
    builder.insert_header((header::CONTENT_TYPE, MEDIA_TYPE)).body(document)
}

/// An element that names the owner.
fn owner(writer: &mut Writer) {
    writer.open("Owner").text("ID", OWNER).text("DisplayName", OWNER).close("Owner");
}

/// The elements that tell the checksum of an object that was written, if it has one.
fn checksum_of(writer: &mut Writer, done: &Written) {
    if let Some(checksum) = &done.checksum {
        writer.text("ChecksumType", kind_of(checksum));
        writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum_value(checksum, &done.etag));
    }
}

/// The element with the checksum of a part.
fn sum(writer: &mut Writer, checksum: &Checksum) {
    writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum.to_base64());
}

#[cfg(test)]
mod testing {
    //! What the tests of documents share.

    use actix_web::HttpResponse;
    use actix_web::body::to_bytes;
    use futures::FutureExt as _;

    /// The text of an answer of 200, without the declaration that it begins with and its namespace.
    pub fn text_of(response: HttpResponse) -> String {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("content-type").unwrap(), "application/xml");
        let body = to_bytes(response.into_body()).now_or_never().expect("a body in memory").expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        let text = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
        let (before, after) =
            text.split_once(" xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"").expect("a namespace");
        format!("{before}{after}")
    }
}
