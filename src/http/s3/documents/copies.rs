//! What came of a copy, of an object or of a part.

use super::super::xml::Writer;
use super::{answer, checksum_of, sum};
use crate::actors::messages::Written;
use actix_web::{HttpResponse, HttpResponseBuilder};

/// `CopyObjectResult`. `at`: when it was written, in milliseconds since 1970, where that is known.
pub(in crate::http::s3) fn copy_result(
    builder: &mut HttpResponseBuilder,
    done: &Written,
    at: Option<u64>,
) -> HttpResponse {
    const ROOT: &str = "CopyObjectResult";
    let mut writer = result(ROOT, done, at);
    checksum_of(&mut writer, done);
    answer(builder, writer.finish(ROOT))
}

/// `CopyPartResult`. `at`: as of `copy_result`.
pub(in crate::http::s3) fn copy_part_result(
    builder: &mut HttpResponseBuilder,
    done: &Written,
    at: Option<u64>,
) -> HttpResponse {
    const ROOT: &str = "CopyPartResult";
    let mut writer = result(ROOT, done, at);
    if let Some(checksum) = &done.checksum {
        sum(&mut writer, checksum);
    }
    answer(builder, writer.finish(ROOT))
}

fn result(root: &str, done: &Written, at: Option<u64>) -> Writer {
    let mut writer = Writer::new(root, 256);
    if let Some(at) = at {
        writer.time("LastModified", at);
    }
    writer.etag(&done.etag);
    writer
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
        let summed = Written { checksum: Checksum::of_all(Algorithm::Crc64Nvme, &[0; 8]), ..plain.clone() };
        assert_eq!(
            text_of(copy_result(&mut HttpResponse::Ok(), &summed, None)),
            "<CopyObjectResult><ETag>&quot;0f&quot;</ETag><ChecksumType>FULL_OBJECT</ChecksumType>\
             <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>"
        );
        assert_eq!(
            text_of(copy_part_result(&mut HttpResponse::Ok(), &summed, None)),
            "<CopyPartResult><ETag>&quot;0f&quot;</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>\
             </CopyPartResult>"
        );
        let sums = Checksum { is_composite: true, ..Checksum::of_all(Algorithm::Crc32, &[0; 4]).unwrap() };
        let of_parts = Written { etag: "0f-3".into(), checksum: Some(sums), ..plain };
        assert_eq!(
            text_of(copy_result(&mut HttpResponse::Ok(), &of_parts, None)),
            "<CopyObjectResult><ETag>&quot;0f-3&quot;</ETag><ChecksumType>COMPOSITE</ChecksumType>\
             <ChecksumCRC32>AAAAAA==-3</ChecksumCRC32></CopyObjectResult>"
        );
    }
}
