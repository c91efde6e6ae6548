//! What came of a copy.

use super::super::xml::Writer;
use super::{answer, kind_of};
use crate::actors::messages::Written;
use actix_web::{HttpResponse, HttpResponseBuilder};

/// `CopyObjectResult`. `at`: when it was written, in milliseconds since 1970, where that is known.
pub(in crate::http::s3) fn copy_result(
    builder: &mut HttpResponseBuilder,
    done: &Written,
    at: Option<u64>,
) -> HttpResponse {
    const ROOT: &str = "CopyObjectResult";
    let mut writer = Writer::new(ROOT, 256);
    if let Some(at) = at {
        writer.time("LastModified", at);
    }
    writer.etag(&done.etag);
    if let Some(checksum) = &done.checksum {
        writer.text("ChecksumType", kind_of(checksum));
        writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum.to_base64());
    }
    answer(builder, writer.finish(ROOT))
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::base::checksum::Algorithm;
    use crate::base::{Ballot, Checksum, Incarnation, Stamp};

    #[test]
    fn copies() {
        let ballot = Ballot { stamp: Stamp(9), node: Incarnation(1) };
        let plain = Written { ballot, etag: "0f".into(), checksum: None, existed: false, replicas: 1 };
        assert_eq!(
            text_of(copy_result(&mut HttpResponse::Ok(), &plain, Some(1_700_000_000_999))),
            "<CopyObjectResult><LastModified>2023-11-14T22:13:20.000Z</LastModified><ETag>&quot;0f&quot;</ETag>\
             </CopyObjectResult>"
        );
        let summed = Written { checksum: Checksum::of_all(Algorithm::Crc64Nvme, &[0; 8]), ..plain };
        assert_eq!(
            text_of(copy_result(&mut HttpResponse::Ok(), &summed, None)),
            "<CopyObjectResult><ETag>&quot;0f&quot;</ETag><ChecksumType>FULL_OBJECT</ChecksumType>\
             <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>"
        );
    }
}
