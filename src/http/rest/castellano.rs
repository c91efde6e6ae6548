//! What each kind of problem is called in Spanish, as the notebook's users read it. (What they read when all went well
//! stands in `notebook`; what a problem says of its own, its `detail`, is English, and told in English alone.)
//!
//! Invariant: a text names no path of the disk, no key and nothing of the inside.

use crate::http::edge::problem::Kind;

/// The text of a kind.
pub(super) fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::NoRoute => "no hay nada en esta ruta; GET / nombra las rutas y /openapi.json las describe",
        Kind::Method => "esta ruta no admite este método; véase la cabecera Allow",
        Kind::Percent => {
            "a un signo de porcentaje de la ruta no le siguen dos cifras hexadecimales; escríbalo como %25"
        }
        Kind::Escape => "el nombre de la ruta no es UTF-8 bien codificado",
        Kind::BucketName => "el nombre del depósito no es válido",
        Kind::KeyName => "el nombre del archivo debe tener de 1 a 1024 bytes",
        Kind::DotSegment => "los clientes resuelven '.' y '..' en las rutas; use un nombre sin esos segmentos",
        Kind::Query => "los parámetros de la consulta no son válidos",
        Kind::QueryTwice => "un parámetro de la consulta aparece dos veces",
        Kind::Consistency => "el parámetro consistency es majority o local",
        Kind::Header => "una cabecera no es válida",
        Kind::Md5Header => "la cabecera Content-MD5 debe contener los 16 bytes de un MD5 en base64",
        Kind::MetadataSize => "las cabeceras de metadatos son demasiado grandes: 8 KiB en 128 de ellas como máximo",
        Kind::NotImplemented => "la petición exige algo que esta versión no ofrece",
        Kind::DateCondition => {
            "esta versión no admite escrituras condicionadas a una fecha; quite la cabecera, o use If-Match o If-None-Match en /v1/objects"
        }
        Kind::WriteRange => {
            "esta versión no escribe partes de un archivo: quite las cabeceras de rango y envíelo entero"
        }
        Kind::OtherDigest => {
            "esta versión comprueba el cuerpo solo con Content-MD5; quite las demás cabeceras de suma de comprobación"
        }
        Kind::Trailers => "esta versión no admite cabeceras detrás del cuerpo (trailers); quite la cabecera Trailer",
        Kind::AmzHeader => "este puerto no habla S3: quite las cabeceras x-amz-*",
        Kind::NoConditions => "esta ruta no admite condiciones (If-Match, If-None-Match); /v1/objects sí",
        Kind::WriteQuery => "esta escritura no admite parámetros en la consulta; quítelos",
        Kind::Coding => {
            "el cuerpo viene en una codificación (Content-Encoding) que este nodo no admite; envíelo sin codificar"
        }
        Kind::PartCoding => {
            "una parte del formulario viene codificada (Content-Transfer-Encoding) y este nodo no lo admite; envíe el archivo sin codificar"
        }
        Kind::LengthRequired => "el cuerpo no indica su longitud: envíe Content-Length o Transfer-Encoding: chunked",
        Kind::Precondition => "no se cumple una condición de la petición",
        Kind::Range => "el rango queda fuera del archivo",
        Kind::ForeignHost => "el nombre del servidor de la petición no es de este nodo; si lo es, añádalo a http.hosts",
        Kind::ForeignOrigin => {
            "una página de otro sitio no puede escribir aquí; si puede, añada su nombre a http.hosts"
        }
        Kind::Unauthenticated => {
            "hace falta una clave de acceso: envíe su identificador y su secreto con Basic, o como Bearer ID.SECRETO"
        }
        Kind::AccessUnknown => {
            "este nodo no sabe qué claves de acceso valen ahora: no tiene noticia de la mayoría; inténtelo en otro o más tarde"
        }
        Kind::AccessDenied => "no tiene permiso para hacer esto",
        Kind::TwoCredentials => "la petición trae un enlace y una cabecera Authorization; quite uno de los dos",
        Kind::LinkForm => "el enlace está mal formado",
        Kind::LinkElsewhere => "los enlaces sirven para leer o guardar un archivo en /v1/objects",
        Kind::LinkHeader => "falta una cabecera que el enlace exige, o sobra una que no admite",
        Kind::LinkExpired => "el enlace ha caducado",
        Kind::LinkNotYet => "el enlace aún no vale, según el reloj de este nodo",
        Kind::LinkRefused => "el enlace no vale para esta petición, o ya no vale la clave que lo firmó",
        Kind::SignatureForm => "la firma de la cabecera Authorization está mal formada",
        Kind::SignatureVersion => "solo se admiten firmas de la versión 4: firme con AWS4-HMAC-SHA256",
        Kind::SignatureTime => "una petición firmada lleva su hora en x-amz-date (AAAAMMDDThhmmssZ) o en Date",
        Kind::ClockSkew => "la hora de la petición dista más de 15 minutos del reloj de este nodo",
        Kind::UnsignedHeader => "llegó una cabecera x-amz- o x-boveda- que no está firmada",
        Kind::SessionToken => "no se admiten testigos de sesión: las claves de acceso de aquí no los tienen",
        Kind::SignerUnknown => "no hay ninguna clave de acceso vigente con ese identificador",
        Kind::SignatureRefused => {
            "la firma no corresponde a la petición: se hizo para otra petición o con otro secreto"
        }
        Kind::BodyHash => "la cabecera x-amz-content-sha256 de una petición firmada dice qué es su cuerpo",
        Kind::Checksum => "el cuerpo no tiene la suma de comprobación que lo acompaña; no se guardó nada",
        Kind::SignedDigest => "el cuerpo no tiene el SHA-256 con el que se firmó la petición; no se guardó nada",
        Kind::ChecksumHeader => "las cabeceras no dicen de una sola manera qué suma de comprobación tiene el cuerpo",
        Kind::ChunkForm => "el cuerpo no es un aws-chunked bien formado",
        Kind::ChunkSignature => "la firma de un trozo del cuerpo no corresponde; no se guardó nada",
        Kind::ChunkTrailer => "lo que sigue al cuerpo no es lo que anuncia su cabecera; no se guardó nada",
        Kind::NoLinkKey => "un enlace se firma con una clave de acceso; pídalo con una",
        Kind::ManyPublic => "el depósito ya tiene tantas partes abiertas a todos como puede; cierre antes una",
        Kind::Document => "el cuerpo no es el documento JSON que se espera",
        Kind::NoSuchAccessKey => "no existe esa clave de acceso",
        Kind::Rotating => "la clave ya tiene dos secretos; retire antes el anterior",
        Kind::LastAdminKey => "es la última clave que puede administrarlo todo; haga antes otra",
        Kind::FirstKey => "la primera clave cierra el acceso abierto: tiene que poder administrarlo todo y no caducar",
        Kind::TooLarge => "el archivo es mayor de lo que este nodo admite",
        Kind::Silent => "no llegó ningún byte durante demasiado tiempo",
        Kind::Incomplete => "el cuerpo no es el que anuncian sus cabeceras",
        Kind::Digest => "el cuerpo no tiene el MD5 que anuncia Content-MD5; no se guardó nada",
        Kind::NotAForm => "el cuerpo debe ser multipart/form-data con su delimitador",
        Kind::NoFile => "falta el archivo en el campo 'archivo'",
        Kind::NoFilePart => {
            "el campo 'archivo' contiene un texto y no un archivo; envíelo como archivo, con su nombre (curl -F archivo=@ARCHIVO)"
        }
        Kind::NoFileName => "el archivo no tiene nombre",
        Kind::OtherField => {
            "el formulario tiene un archivo en otro campo; debe contener un solo archivo, en el campo 'archivo'. No se guardó ninguno"
        }
        Kind::SeveralFiles => {
            "el formulario contiene varios archivos; envíe un formulario por archivo. No se guardó ninguno"
        }
        Kind::NestedFiles => {
            "un campo del formulario contiene a su vez varios archivos (como con curl -F archivo=@A,B); envíe un formulario por archivo. No se guardó ninguno"
        }
        Kind::FormCut => "el formulario está incompleto: falta su último delimitador (sus líneas terminan en CRLF)",
        Kind::BareLf => "una línea del formulario termina solo en LF; las líneas deben terminar en CRLF",
        Kind::FormTooLarge => {
            "además de su archivo, un formulario contiene como máximo 1 MiB, 256 partes y 16 KiB de cabeceras en cada una"
        }
        Kind::PartNotUtf8 => {
            "una cabecera de una parte del formulario no es UTF-8, por ejemplo un nombre de archivo en Latin-1; envíe los nombres en UTF-8"
        }
        Kind::PartNoColon => "a una cabecera de una parte del formulario le faltan los dos puntos",
        Kind::PartDisposition => {
            "no se entiende el Content-Disposition de una parte del formulario; debería ser form-data; name=\"archivo\"; filename=\"NOMBRE\""
        }
        Kind::DelimiterTail => "a un delimitador del formulario le siguen otros bytes en su línea",
        Kind::NoSuchKey => "el archivo no existe",
        Kind::NoSuchBucket => "el depósito no existe",
        Kind::NoSuchUpload => "no hay tal subida abierta: se completó o se canceló, o no la hubo",
        Kind::TooManyUploads => "hay demasiadas subidas abiertas para esta clave; complete o cancele algunas",
        Kind::OtherPart => "una parte no existe, o no tiene el ETag o la suma que se indicó",
        Kind::PartOrder => "los números de las partes no crecen",
        Kind::SmallPart => "una parte que no es la última tiene menos de 5 MiB",
        Kind::Parts => "las partes no son las de la subida",
        Kind::QuotaExceeded => {
            "se superaría la cuota del depósito, contando lo que está en camino; no se escribió nada"
        }
        Kind::BucketNotEmpty => "el depósito no está vacío",
        Kind::Contended => {
            "otras escrituras del mismo archivo impidieron esta; no se escribió nada, inténtelo de nuevo"
        }
        Kind::Busy => "hay demasiadas peticiones en curso; inténtelo más tarde",
        Kind::Crowded => {
            "hay demasiadas escrituras del mismo archivo a la vez, o se está borrando su depósito; no se escribió nada, inténtelo más tarde"
        }
        Kind::NoMajority => "no hay mayoría de nodos; no se escribió nada, inténtelo más tarde",
        Kind::OtherList => "la lista de nodos está cambiando; no se escribió nada, inténtelo de nuevo",
        Kind::OutOfTime => "no hubo tiempo para recorrerlo todo; no se cambió nada, inténtelo más tarde",
        Kind::UnknownOutcome => {
            "la escritura se empezó y falló un disco o se perdió la mayoría: puede haber tenido efecto; compruébelo antes de repetirla"
        }
        Kind::ShuttingDown => "este nodo se está apagando; inténtelo en otro o más tarde",
        Kind::KeyMissing => {
            "a este nodo le falta una generación de la clave (su /readyz dice cuál); inténtelo en otro o más tarde"
        }
        Kind::ReadOnly => {
            "este nodo no admite escrituras desde que su disco falló o su índice está dañado; /readyz dice qué hacer"
        }
        Kind::Unavailable => "el almacén no responde; inténtelo más tarde",
        Kind::NotKept => "queda así hasta que el nodo termine; no se pudo escribir en el disco: pídalo de nuevo",
        Kind::AuditFull => "no queda espacio para el registro de auditoría de este nodo; no se cambió nada",
        Kind::AuditFailed => "este nodo no puede escribir su registro de auditoría; no se cambió nada",
        Kind::AuditUntold => {
            "el cambio empezó y el registro de auditoría no pudo decir cómo acabó: compruébelo antes de repetirlo"
        }
        Kind::Full => {
            "el disco de este nodo, o de la mayoría de los nodos, no tiene espacio para esto sobre su reserva; se puede leer y eliminar, y su /readyz dice más"
        }
        Kind::NoInodes => "el volumen de este nodo no tiene inodos libres; se puede leer y eliminar",
        Kind::FileSize => "el archivo supera el tamaño máximo que el proceso de este nodo puede crear (ulimit -f)",
        Kind::SmallVolume => "el volumen de este nodo es menor que su reserva; se puede leer y eliminar",
        Kind::OpenFiles => "este nodo no puede abrir más archivos por ahora; inténtelo de nuevo",
        Kind::VolumeGone => "el volumen de datos de este nodo ya no está montado; inténtelo en otro nodo",
        Kind::UnknownNode => "un nodo no se conoce aquí",
        Kind::NodeAway => "no se tiene noticia reciente de un nodo",
        Kind::MembersChanged => "otra persona cambió la lista",
        Kind::KeyNotEverywhere => "no consta que todos los nodos tengan esa generación de la clave",
        Kind::NoSuchGeneration => "este nodo no tiene ninguna generación de la clave con ese número",
        Kind::OtherGeneration => "sella otra generación de la clave, o ese número tiene otra clave en otro nodo",
        Kind::StorageClass => "aquí todo se guarda en una sola clase: STANDARD",
        Kind::KeyNotText => {
            "una clave o un parámetro tiene un carácter que XML 1.0 no tiene: pida la lista con encoding-type=url"
        }
        Kind::PartOfRange => "una lectura lleva Range o partNumber, y no ambos",
        Kind::Unsigned => "los parámetros response-* solo cambian las respuestas a peticiones firmadas",
        Kind::PartNumber => "el objeto no tiene ninguna parte con ese número",
        Kind::UploadChecksum => "la suma es de otro algoritmo o tipo que los de la subida",
        Kind::CopyOntoItself => {
            "un objeto se copia sobre sí mismo para cambiar lo que se dice de él: envíe x-amz-metadata-directive: REPLACE"
        }
        Kind::OtherRegion => "los depósitos están en la región que dice s3.region",
        Kind::OwnBucket => "el depósito ya existe y es suyo",
        Kind::NoChecksum => {
            "el documento necesita una suma de comprobación: envíe Content-MD5 o una cabecera x-amz-checksum-*"
        }
        Kind::NoBucketPolicy => "el depósito no tiene ninguna política",
        Kind::NoLifecycle => "el depósito no tiene reglas de caducidad",
        Kind::NoCors => "el depósito no tiene reglas CORS",
        Kind::NoTags => "el depósito no tiene etiquetas",
        Kind::NoWebsite => "el depósito no es un sitio web",
        Kind::NoObjectLock => "el depósito no bloquea objetos",
        Kind::NoRetention => "el objeto no está bloqueado",
        Kind::NoPublicAccessBlock => "el depósito no tiene bloqueo del acceso público",
        Kind::NoOwnershipControls => "el depósito no tiene reglas de propiedad",
        Kind::NoReplication => "el depósito no se copia a otro; este almacén copia todo a sus nodos por sí mismo",
        Kind::Corrupt => "los bytes guardados están dañados y ninguna copia pudo reemplazarlos",
        Kind::Internal => "algo falló en este nodo; su registro tiene el identificador de la petición",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_text_of_its_own() {
        let texts: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| of(*kind)).collect();
        assert_eq!(texts.len(), Kind::ALL.len());
        assert!(!texts.contains(""));
    }
}
