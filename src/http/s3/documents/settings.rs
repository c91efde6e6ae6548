//! Settings of buckets and objects: where a bucket is, and what is so of all of them.

use super::super::buckets::NO_REGION;
use super::super::heads::AES256;
use super::super::xml::{Limits, Reader, Writer, once};
use super::{OWNER, ok, owner};
use crate::http::edge::errors::HttpError;
use actix_web::HttpResponse;

/// Of a document with one word in it.
const LIMITS: Limits = Limits { bytes_max: 64 * 1024, elements_max: 16 };

/// Reads a `CreateBucketConfiguration`: the region that it names, if it names one. No document is none.
pub(in crate::http) fn location_constraint(document: &[u8]) -> Result<Option<String>, HttpError> {
    if document.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(document, "CreateBucketConfiguration", LIMITS)?;
    let mut region = None;
    while let Some(name) = reader.child()? {
        match name {
            "LocationConstraint" => once(&mut region, reader.word()?)?,
            "Location" | "Bucket" => return Err(HttpError::NotImplemented("there are no directory buckets here")),
            "Tags" => return Err(HttpError::NotImplemented("buckets have no tags here")),
            _ => return Err(HttpError::Document("a CreateBucketConfiguration holds LocationConstraint")),
        }
    }
    reader.end()?;
    Ok(region.filter(|region| !region.is_empty()))
}

/// `LocationConstraint`. It is empty in the region that names itself by no word.
pub(in crate::http::s3) fn location(region: &str) -> HttpResponse {
    const ROOT: &str = "LocationConstraint";
    let mut writer = Writer::new(ROOT, region.len());
    if region != NO_REGION {
        writer.content(region);
    }
    ok(writer.finish(ROOT))
}

/// `AccessControlPolicy`: the owner may do everything, and nobody else anything.
pub(in crate::http::s3) fn owner_alone() -> HttpResponse {
    const ROOT: &str = "AccessControlPolicy";
    let mut writer = Writer::new(ROOT, 512);
    owner(&mut writer);
    writer.open("AccessControlList").open("Grant").open_typed("Grantee", "CanonicalUser");
    writer.text("ID", OWNER).text("DisplayName", OWNER).close("Grantee");
    writer.text("Permission", "FULL_CONTROL").close("Grant").close("AccessControlList");
    ok(writer.finish(ROOT))
}

/// `ServerSideEncryptionConfiguration`: everything is sealed by the keys of the store.
pub(in crate::http::s3) fn sealed() -> HttpResponse {
    const ROOT: &str = "ServerSideEncryptionConfiguration";
    let mut writer = Writer::new(ROOT, 256);
    writer.open("Rule").open("ApplyServerSideEncryptionByDefault").text("SSEAlgorithm", AES256);
    writer.close("ApplyServerSideEncryptionByDefault").flag("BucketKeyEnabled", false).close("Rule");
    ok(writer.finish(ROOT))
}

/// `Tagging` of what has no tags.
pub(in crate::http::s3) fn no_tags() -> HttpResponse {
    const ROOT: &str = "Tagging";
    let mut writer = Writer::new(ROOT, 32);
    writer.open("TagSet").close("TagSet");
    ok(writer.finish(ROOT))
}

/// `RequestPaymentConfiguration`.
pub(in crate::http::s3) fn owner_pays() -> HttpResponse {
    const ROOT: &str = "RequestPaymentConfiguration";
    let mut writer = Writer::new(ROOT, 64);
    writer.text("Payer", "BucketOwner");
    ok(writer.finish(ROOT))
}

/// A setting that nothing is said of, such as `VersioningConfiguration`.
pub(in crate::http::s3) fn empty(root: &str) -> HttpResponse {
    ok(Writer::new(root, 0).finish(root))
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::http::edge::problem::Kind;

    fn named(inner: &str) -> Result<Option<String>, Kind> {
        let document = format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
        location_constraint(document.as_bytes()).map_err(|error| error.problem().kind)
    }

    #[test]
    fn regions_of_new_buckets() {
        assert_eq!(location_constraint(b"").unwrap(), None);
        assert_eq!(named(""), Ok(None));
        assert_eq!(named("<LocationConstraint/>"), Ok(None));
        assert_eq!(named("<LocationConstraint>\n eu-west-1 </LocationConstraint>"), Ok(Some("eu-west-1".to_owned())));
        let two = "<LocationConstraint>a</LocationConstraint>".repeat(2);
        for (inner, kind) in [
            (two.as_str(), Kind::Document),
            ("<Other/>", Kind::Document),
            ("eu", Kind::Document),
            ("<Location><Name>a</Name><Type>AvailabilityZone</Type></Location>", Kind::NotImplemented),
            ("<Bucket><Type>Directory</Type></Bucket>", Kind::NotImplemented),
            ("<Tags/>", Kind::NotImplemented),
        ] {
            assert_eq!(named(inner), Err(kind), "{inner}");
        }
        assert!(location_constraint(b"<nothing/>").is_err() && location_constraint(b" ").is_err());
    }

    #[test]
    fn where_a_bucket_is() {
        for (region, expected) in [("", ""), ("us-east-1", ""), ("eu-west-1", "eu-west-1"), ("<", "&lt;")] {
            let expected = format!("<LocationConstraint>{expected}</LocationConstraint>");
            assert_eq!(text_of(location(region)), expected, "{region}");
        }
    }

    #[test]
    fn what_is_so_of_all() {
        for (response, expected) in [
            (
                owner_alone(),
                "<AccessControlPolicy><Owner><ID>boveda</ID><DisplayName>boveda</DisplayName></Owner>\
                 <AccessControlList><Grant>\
                 <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">\
                 <ID>boveda</ID><DisplayName>boveda</DisplayName></Grantee><Permission>FULL_CONTROL</Permission>\
                 </Grant></AccessControlList></AccessControlPolicy>",
            ),
            (
                sealed(),
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                 <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>\
                 <BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
            ),
            (no_tags(), "<Tagging><TagSet></TagSet></Tagging>"),
            (owner_pays(), "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"),
            (empty("VersioningConfiguration"), "<VersioningConfiguration></VersioningConfiguration>"),
        ] {
            assert_eq!(text_of(response), expected);
        }
    }
}
