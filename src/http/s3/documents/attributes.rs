//! What is known of an object.

use super::super::xml::Writer;
use super::{kind_of, ok};
use crate::actors::messages::ObjectInfo;
use actix_web::HttpResponse;

/// Something that is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::s3) enum Attribute {
    ETag,
    Checksum,
    /// An object in one piece has none.
    ObjectParts,
    StorageClass,
    ObjectSize,
}

impl Attribute {
    /// By the name that it has in requests.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ETag" => Attribute::ETag,
            "Checksum" => Attribute::Checksum,
            "ObjectParts" => Attribute::ObjectParts,
            "StorageClass" => Attribute::StorageClass,
            "ObjectSize" => Attribute::ObjectSize,
            _ => return None,
        })
    }
}

/// `GetObjectAttributesResponse`. The ETag has no quotes here.
pub(in crate::http::s3) fn attributes(info: &ObjectInfo, asked: &[Attribute]) -> HttpResponse {
    const ROOT: &str = "GetObjectAttributesResponse";
    let mut writer = Writer::new(ROOT, 512);
    let wants = |attribute| asked.contains(&attribute);
    if wants(Attribute::ETag) {
        writer.text("ETag", &info.etag);
    }
    if let Some(checksum) = info.checksum.as_ref().filter(|_| wants(Attribute::Checksum)) {
        writer.open("Checksum");
        writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum.to_base64());
        writer.text("ChecksumType", kind_of(checksum)).close("Checksum");
    }
    if wants(Attribute::StorageClass) {
        writer.text("StorageClass", "STANDARD");
    }
    if wants(Attribute::ObjectSize) {
        writer.number("ObjectSize", info.len);
    }
    ok(writer.finish(ROOT))
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::base::checksum::Algorithm;
    use crate::base::{Checksum, ObjectHead};

    #[test]
    fn what_is_asked_for_is_told_and_no_more() {
        use Attribute::{Checksum as Sum, ETag, ObjectParts, ObjectSize, StorageClass};
        let sum = Checksum::of_all(Algorithm::Crc32, &[0; 4]);
        let info = ObjectInfo { len: 3, head: ObjectHead::default(), etag: "0f".into(), checksum: sum, written_ms: 1 };
        let bare = ObjectInfo { checksum: None, ..info.clone() };
        for (info, asked, told) in [
            (&info, &[ObjectSize, ETag][..], "<ETag>0f</ETag><ObjectSize>3</ObjectSize>"),
            (
                &info,
                &[Sum, StorageClass],
                "<Checksum><ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType></Checksum>\
                 <StorageClass>STANDARD</StorageClass>",
            ),
            (&bare, &[Sum, ObjectParts], ""),
        ] {
            let whole = format!("<GetObjectAttributesResponse>{told}</GetObjectAttributesResponse>");
            assert_eq!(text_of(attributes(info, asked)), whole, "{asked:?}");
        }
    }
}
