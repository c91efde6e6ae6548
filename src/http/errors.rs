//! The one place that turns what went wrong into a status, a code and a text for the client.
//!
//! Invariants
//! - A client's text names no path, no key and nothing of the inside; the log's text is another.
//! - The notebook's routes answer in Spanish, everything else in English; codes are the same.
//! - A fault of ours is logged here once, with its causes and the request id, and nowhere else.

use super::multipart::FormError;
use super::request_id::RequestId;
use crate::actors::messages::StoreError;
use crate::actors::messages::Unseatable;
use crate::base::{NameError, Shortage};
use actix::MailboxError;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use std::error::Error as _;
use std::fmt::Write as _;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no such route")]
    NoRoute,
    #[error("method not allowed")]
    Method { allow: &'static str },
    #[error("bad target: {0}")]
    Target(&'static str),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("a name with a dot segment")]
    DotSegment,
    #[error("the body does not have the checksum that was sent with it")]
    Digest,
    #[error("bad query: {0}")]
    Query(&'static str),
    #[error("bad header: {0}")]
    Header(&'static str),
    #[error("not implemented: {0}")]
    NotImplemented(&'static str),
    #[error("not a coding that is taken: {0}")]
    Coding(&'static str),
    #[error("a body without a length")]
    LengthRequired,
    #[error("asked for under a name that is not ours")]
    ForeignHost,
    #[error("a write from a page of another site")]
    ForeignOrigin,
    #[error("the body is larger than {max} bytes")]
    TooLarge { max: u64 },
    #[error("the sender fell silent")]
    Silent,
    #[error("the body ended too early or late")]
    BodyLength,
    #[error("the body broke off")]
    BrokenBody(#[source] PayloadError),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("out of permits")]
    SlowDown,
    #[error("range outside the object")]
    Unsatisfiable { len: u64 },
    #[error("precondition failed")]
    Precondition,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Members(Unseatable),
    #[error("in force, and could not be kept")]
    NotKept,
    #[error("the store did not answer")]
    Mailbox(#[from] MailboxError),
    #[error("{0}")]
    Broken(&'static str),
}

/// Status, code, English and Spanish text.
type Answer = (StatusCode, &'static str, &'static str, &'static str);

impl From<Unseatable> for HttpError {
    fn from(why: Unseatable) -> Self {
        match why {
            Unseatable::Store(error) => HttpError::Store(error),
            why => HttpError::Members(why),
        }
    }
}

impl HttpError {
    fn answer(&self) -> Answer {
        use StatusCode as S;
        match self {
            HttpError::NoRoute => (
                S::NOT_FOUND,
                "NoSuchRoute",
                "there is nothing at this path; GET / names the routes, and /openapi.json describes them",
                "no hay nada en esta ruta; GET / nombra las rutas y /openapi.json las describe",
            ),
            HttpError::Method { .. } => (
                S::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "this path does not take this method; see the Allow header",
                "esta ruta no admite este método; véase la cabecera Allow",
            ),
            HttpError::Target(why) => (S::BAD_REQUEST, "InvalidEscape", why, "el nombre no es UTF-8 bien codificado"),
            HttpError::Name(NameError::Bucket) => (
                S::BAD_REQUEST,
                "InvalidBucketName",
                "a bucket name has 3 to 63 characters of a-z, 0-9, '.' and '-', and begins and ends with a letter or digit",
                "el nombre del depósito no es válido",
            ),
            HttpError::Name(NameError::Key) => (
                S::BAD_REQUEST,
                "InvalidKey",
                "an object key has 1 to 1024 bytes of UTF-8",
                "el nombre del archivo debe tener de 1 a 1024 bytes",
            ),
            HttpError::DotSegment => (
                S::BAD_REQUEST,
                "InvalidKey",
                "clients resolve '.' and '..' in paths, so a name with such a segment could not be asked for again; use another name",
                "los clientes resuelven '.' y '..' en las rutas; use un nombre sin esos segmentos",
            ),
            HttpError::Digest => (
                S::BAD_REQUEST,
                "BadDigest",
                "the body does not have the MD5 that Content-MD5 announces; nothing was stored",
                "el cuerpo no tiene el MD5 que anuncia Content-MD5; no se guardó nada",
            ),
            HttpError::Query(why) => {
                (S::BAD_REQUEST, "InvalidQuery", why, "los parámetros de la consulta no son válidos")
            }
            HttpError::Header(why) => (S::BAD_REQUEST, "InvalidHeader", why, "una cabecera no es válida"),
            HttpError::NotImplemented(what) => {
                (S::NOT_IMPLEMENTED, "NotImplemented", what, "la petición exige algo que esta versión no ofrece")
            }
            HttpError::Coding(what) => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedCoding",
                what,
                "el cuerpo viene en una codificación que este nodo no admite; envíelo sin codificar",
            ),
            HttpError::LengthRequired => (
                S::LENGTH_REQUIRED,
                "LengthRequired",
                "the body has no length: send Content-Length (0 for an empty object) or Transfer-Encoding: chunked",
                "el cuerpo no indica su longitud: envíe Content-Length o Transfer-Encoding: chunked",
            ),
            HttpError::ForeignHost => (
                S::FORBIDDEN,
                "ForeignHost",
                "the Host of the request is not a name of this node; add it to http.hosts if it is",
                "el nombre del servidor de la petición no es de este nodo; si lo es, añádalo a http.hosts",
            ),
            HttpError::ForeignOrigin => (
                S::FORBIDDEN,
                "ForeignOrigin",
                "a page of another site may not write here; add its host to http.hosts if it may",
                "una página de otro sitio no puede escribir aquí; si puede, añada su nombre a http.hosts",
            ),
            HttpError::TooLarge { .. } => (
                S::PAYLOAD_TOO_LARGE,
                "EntityTooLarge",
                "the body is larger than this node takes",
                "el archivo es mayor de lo que este nodo admite",
            ),
            HttpError::Silent => (
                S::REQUEST_TIMEOUT,
                "RequestTimeout",
                "no byte of the body came for too long",
                "no llegó ningún byte durante demasiado tiempo",
            ),
            HttpError::BodyLength | HttpError::BrokenBody(_) => (
                S::BAD_REQUEST,
                "IncompleteBody",
                "the body is not what its headers announce",
                "el cuerpo no es el que anuncian sus cabeceras",
            ),
            HttpError::Form(form) => form_answer(form),
            HttpError::SlowDown => (
                S::SERVICE_UNAVAILABLE,
                "SlowDown",
                "too much is in flight; try again later",
                "hay demasiadas peticiones en curso; inténtelo más tarde",
            ),
            HttpError::Unsatisfiable { .. } => (
                S::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "the range lies outside the object",
                "el rango queda fuera del archivo",
            ),
            HttpError::Precondition => (
                S::PRECONDITION_FAILED,
                "PreconditionFailed",
                "a condition of the request does not hold",
                "no se cumple una condición de la petición",
            ),
            HttpError::Store(store) => store_answer(store),
            HttpError::Members(why) => members_answer(why),
            HttpError::NotKept => (
                S::SERVICE_UNAVAILABLE,
                "NotKept",
                "it is so until the node ends; it could not be written to the disk: ask again",
                "queda así hasta que el nodo termine; no se pudo escribir en el disco: pídalo de nuevo",
            ),
            HttpError::Mailbox(_) => (
                S::SERVICE_UNAVAILABLE,
                "Unavailable",
                "the store does not answer; try again later",
                "el almacén no responde; inténtelo más tarde",
            ),
            HttpError::Broken(_) => INTERNAL,
        }
    }

    /// Whether the fault is on this side, so that somebody must look at the log.
    fn is_ours(&self) -> bool {
        match self {
            HttpError::Store(e) if e.shortage().is_some() => false,
            HttpError::Store(e) => match e {
                StoreError::Corrupt { .. }
                | StoreError::Index(_)
                | StoreError::Disk { .. }
                | StoreError::ForeignKey { .. }
                | StoreError::ForeignCluster { .. }
                | StoreError::ForeignDirectory { .. }
                | StoreError::SmallLog { .. } => true,
                StoreError::NoSuchKey
                | StoreError::NoSuchBucket
                | StoreError::BucketNotEmpty
                | StoreError::Precondition
                | StoreError::Contended
                | StoreError::Crowded
                | StoreError::NoMajority(_)
                | StoreError::UnknownOutcome
                | StoreError::OutOfTime(_)
                | StoreError::Mismatch(_)
                | StoreError::OtherList
                | StoreError::Full
                | StoreError::Short(_)
                | StoreError::Poisoned
                | StoreError::KeyMissing { .. }
                | StoreError::ShuttingDown => false,
            },
            HttpError::Mailbox(_) | HttpError::Broken(_) => true,
            _ => false,
        }
    }

    /// The answer to the client; logs what is ours.
    pub(super) fn response(&self, id: &RequestId, spanish: bool) -> HttpResponse {
        let (status, code, english, castellano) = self.answer();
        if self.is_ours() {
            log::error!("request {id}: {}", self.with_causes());
        }
        let mut builder = HttpResponseBuilder::new(status);
        match self {
            HttpError::Method { allow } => {
                builder.insert_header((header::ALLOW, HeaderValue::from_static(allow)));
            }
            // What was meant as a body would be read as the next request.
            HttpError::LengthRequired => {
                builder.force_close();
            }
            HttpError::Coding(_) => {
                builder.insert_header((header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
            }
            HttpError::Unsatisfiable { len } => {
                builder.insert_header((header::CONTENT_RANGE, format!("bytes */{len}")));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                builder.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
            }
            _ => {}
        }
        // What is wrong with a member list is said of a node by its name, and a missing key by its id.
        let named = match self {
            HttpError::Members(why) if !matches!(why, Unseatable::Store(_)) => Some(why.to_string()),
            HttpError::Store(error @ StoreError::KeyMissing { .. }) if !spanish => Some(error.to_string()),
            _ => None,
        };
        let message = named.as_deref().unwrap_or(if spanish { castellano } else { english });
        let body = ErrorBody { error: message, code, request_id: id.as_str() };
        super::json(&mut builder, &body)
    }

    /// The error and all its causes on one line, for the log.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(next) = cause {
            let _ = write!(text, ": {next}");
            cause = next.source();
        }
        text
    }
}

const INTERNAL: Answer = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "InternalError",
    "something failed on this node; its log has the request id",
    "algo falló en este nodo; su registro tiene el identificador de la petición",
);

/// The texts are the error's own: they name the node.
fn members_answer(why: &Unseatable) -> Answer {
    use StatusCode as S;
    match why {
        Unseatable::Unknown(_) => (S::BAD_REQUEST, "UnknownNode", "a node is not known here", ""),
        Unseatable::Silent(_) => (S::SERVICE_UNAVAILABLE, "NodeAway", "a node was not heard lately", ""),
        Unseatable::Twice(_) => (S::BAD_REQUEST, "InvalidQuery", "a node is named twice", ""),
        Unseatable::TooMany => (S::BAD_REQUEST, "InvalidQuery", "too many nodes", ""),
        Unseatable::Moved(_) => (S::CONFLICT, "MembersChanged", "somebody else has changed the list", ""),
        Unseatable::Store(error) => store_answer(error),
    }
}

/// What the machine has run out of is told by its name, wherever it was met.
fn shortage_answer(what: Shortage) -> Answer {
    let (english, castellano) = match what {
        Shortage::Inodes => (
            "this node's volume has no inodes left: it takes no more files although bytes are free; reads and deletes go on",
            "el volumen de este nodo no tiene inodos libres; se puede leer y eliminar",
        ),
        Shortage::FileSize => (
            "the file size limit of this node's process (ulimit -f) is reached: it makes no longer file; smaller bodies, reads and deletes go on",
            "el archivo supera el tamaño máximo que el proceso de este nodo puede crear (ulimit -f)",
        ),
        Shortage::SmallVolume => (
            "this node's volume is smaller than its reserve (store.reserve_bytes): it can take no write; reads and deletes go on",
            "el volumen de este nodo es menor que su reserva; se puede leer y eliminar",
        ),
        Shortage::OpenFiles => {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                "TooManyOpenFiles",
                "this node may not open more files at the moment (ulimit -n); try again",
                "este nodo no puede abrir más archivos por ahora; inténtelo de nuevo",
            );
        }
        Shortage::Volume => {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                "VolumeGone",
                "the volume of this node's data directory is gone: it must be mounted again and the node restarted; try another node",
                "el volumen de datos de este nodo ya no está montado; inténtelo en otro nodo",
            );
        }
    };
    (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", english, castellano)
}

fn store_answer(error: &StoreError) -> Answer {
    use StatusCode as S;
    if let Some(what) = error.shortage() {
        return shortage_answer(what);
    }
    match error {
        StoreError::NoSuchKey => (S::NOT_FOUND, "NoSuchKey", "there is no such object", "el archivo no existe"),
        StoreError::NoSuchBucket => (S::NOT_FOUND, "NoSuchBucket", "there is no such bucket", "el depósito no existe"),
        StoreError::BucketNotEmpty => {
            (S::CONFLICT, "BucketNotEmpty", "the bucket still holds objects", "el depósito no está vacío")
        }
        StoreError::Precondition => HttpError::Precondition.answer(),
        StoreError::Contended => (
            S::CONFLICT,
            "ConditionalRequestConflict",
            "concurrent writes of the same object kept this one from being decided; nothing was written, try again",
            "otras escrituras del mismo archivo impidieron esta; no se escribió nada, inténtelo de nuevo",
        ),
        StoreError::Crowded => (
            S::SERVICE_UNAVAILABLE,
            "SlowDown",
            "too many writes of the same object at once; nothing was written, try again later",
            "hay demasiadas escrituras del mismo archivo a la vez; no se escribió nada, inténtelo más tarde",
        ),
        StoreError::NoMajority(why) => (
            S::SERVICE_UNAVAILABLE,
            "NoMajority",
            why,
            "no hay mayoría de nodos; no se escribió nada, inténtelo más tarde",
        ),
        StoreError::OutOfTime(why) => (
            S::SERVICE_UNAVAILABLE,
            "OutOfTime",
            why,
            "no hubo tiempo para recorrerlo todo; no se cambió nada, inténtelo más tarde",
        ),
        StoreError::UnknownOutcome => (
            S::SERVICE_UNAVAILABLE,
            "UnknownOutcome",
            "the write was begun, and then a disk failed or the majority was lost: it may have taken effect, or may yet; read before trying again",
            "la escritura se empezó y falló un disco o se perdió la mayoría: puede haber tenido efecto; compruébelo antes de repetirla",
        ),
        StoreError::Corrupt { .. } => (
            S::INTERNAL_SERVER_ERROR,
            "Corrupt",
            "the stored bytes do not open; no copy could replace them",
            "los bytes guardados están dañados y ninguna copia pudo reemplazarlos",
        ),
        StoreError::KeyMissing { .. } => (
            S::SERVICE_UNAVAILABLE,
            "KeyMissing",
            "this node lacks a key generation: put its file into the key directory",
            "a este nodo le falta una generación de la clave; inténtelo en otro o más tarde",
        ),
        StoreError::Mismatch(_) => (
            S::BAD_REQUEST,
            "IncompleteBody",
            "the body is not what its headers announce",
            "el cuerpo no es el que anuncian sus cabeceras",
        ),
        // Between nodes only.
        StoreError::OtherList => (
            S::SERVICE_UNAVAILABLE,
            "NoMajority",
            "the member list is changing; nothing was written, try again",
            "la lista de nodos está cambiando; no se escribió nada, inténtelo de nuevo",
        ),
        StoreError::Full => (
            S::INSUFFICIENT_STORAGE,
            "InsufficientStorage",
            "the disk of this node, or of a majority of the nodes, has no room for this above its reserve; reads and deletes go on, and their /readyz says more",
            "el disco de este nodo, o de la mayoría de los nodos, no tiene espacio para esto sobre su reserva; se puede leer y eliminar, y su /readyz dice más",
        ),
        StoreError::Poisoned => (
            S::SERVICE_UNAVAILABLE,
            "ReadOnly",
            "this node takes no writes since its disk failed one, or its index is damaged; its /readyz says what must be done",
            "este nodo no admite escrituras desde que su disco falló o su índice está dañado; /readyz dice qué hacer",
        ),
        StoreError::ShuttingDown => (
            S::SERVICE_UNAVAILABLE,
            "ShuttingDown",
            "this node is shutting down; try another or try again",
            "este nodo se está apagando; inténtelo en otro o más tarde",
        ),
        StoreError::Short(what) => shortage_answer(*what),
        StoreError::Index(_)
        | StoreError::Disk { .. }
        | StoreError::ForeignKey { .. }
        | StoreError::ForeignCluster { .. }
        | StoreError::ForeignDirectory { .. }
        | StoreError::SmallLog { .. } => INTERNAL,
    }
}

fn form_answer(error: &FormError) -> Answer {
    let (code, english, castellano) = match error {
        FormError::NotAForm => (
            "InvalidForm",
            "the body must be multipart/form-data with a boundary",
            "el cuerpo debe ser multipart/form-data con su delimitador",
        ),
        FormError::NoFile => {
            ("MissingFile", "the form has no file in the field 'archivo'", "falta el archivo en el campo 'archivo'")
        }
        FormError::NoFilePart => (
            "MissingFile",
            "the field 'archivo' holds a text and no file; send it as a file, with a file name (curl -F archivo=@FILE)",
            "el campo 'archivo' contiene un texto y no un archivo; envíelo como archivo, con su nombre (curl -F archivo=@ARCHIVO)",
        ),
        FormError::NoFileName => ("MissingFileName", "the file has no name", "el archivo no tiene nombre"),
        FormError::OtherField => (
            "MissingFile",
            "the file is in another field; it must be in the field 'archivo'",
            "el archivo está en otro campo; debe ir en el campo 'archivo'",
        ),
        FormError::SeveralFiles => (
            "SeveralFiles",
            "the form holds several files; send one form for each. None was stored",
            "el formulario contiene varios archivos; envíe un formulario por archivo. No se guardó ninguno",
        ),
        FormError::Cut => (
            "IncompleteBody",
            "the form ends before its last delimiter (its lines end in CRLF)",
            "el formulario está incompleto: falta su último delimitador (sus líneas terminan en CRLF)",
        ),
        FormError::BareLf => (
            "InvalidForm",
            "a line of the form ends in LF alone; lines of a form end in CRLF",
            "una línea del formulario termina solo en LF; las líneas deben terminar en CRLF",
        ),
        FormError::TooMuch => {
            return (
                StatusCode::PAYLOAD_TOO_LARGE,
                "EntityTooLarge",
                "besides its file a form holds at most 1 MiB, 256 parts, and 16 KiB of headers for each",
                "además de su archivo, un formulario contiene como máximo 1 MiB, 256 partes y 16 KiB de cabeceras en cada una",
            );
        }
        FormError::Malformed(why) => ("InvalidForm", *why, "el formulario está mal construido"),
        FormError::Encoded => {
            return HttpError::Coding("a Content-Transfer-Encoding in a form; send the file as it is").answer();
        }
    };
    (StatusCode::BAD_REQUEST, code, english, castellano)
}

#[derive(serde::Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'a str,
    request_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{KekId, NodeName};
    use actix_web::body::to_bytes;
    use std::io;

    fn all() -> Vec<HttpError> {
        vec![
            HttpError::NoRoute,
            HttpError::Method { allow: "GET" },
            HttpError::Target("t"),
            HttpError::Name(NameError::Bucket),
            HttpError::Name(NameError::Key),
            HttpError::DotSegment,
            HttpError::Digest,
            HttpError::Query("q"),
            HttpError::Header("h"),
            HttpError::NotImplemented("n"),
            HttpError::Coding("c"),
            HttpError::LengthRequired,
            HttpError::ForeignHost,
            HttpError::ForeignOrigin,
            HttpError::TooLarge { max: 1 },
            HttpError::Silent,
            HttpError::BodyLength,
            HttpError::BrokenBody(PayloadError::Overflow),
            HttpError::Form(FormError::NoFile),
            HttpError::SlowDown,
            HttpError::Unsatisfiable { len: 7 },
            HttpError::Precondition,
            HttpError::Store(StoreError::NoSuchKey),
            HttpError::Store(StoreError::Full),
            HttpError::Store(StoreError::Poisoned),
            HttpError::Store(StoreError::Short(Shortage::Inodes)),
            HttpError::Store(StoreError::Short(Shortage::Volume)),
            HttpError::Store(StoreError::KeyMissing { kek: KekId([7; 16]) }),
            HttpError::Store(StoreError::Disk {
                op: "read",
                path: "/secret/place".into(),
                source: io::Error::other("inner cause"),
            }),
            HttpError::Members(Unseatable::Silent(NodeName::parse("n3").expect("a name"))),
            HttpError::Mailbox(MailboxError::Closed),
            HttpError::Broken("b"),
        ]
    }

    #[actix::test]
    async fn every_error_is_json_with_code_and_id_and_without_paths() {
        let id = RequestId::for_tests("abc-1");
        for spanish in [false, true] {
            for error in all() {
                let response = error.response(&id, spanish);
                let status = response.status();
                assert!(status.is_client_error() || status.is_server_error());
                assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{error:?}");
                assert_eq!(response.headers().get("content-type").unwrap(), "application/json");
                let body = to_bytes(response.into_body()).await.unwrap();
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["request_id"], "abc-1");
                assert!(json["code"].as_str().is_some_and(|c| !c.is_empty()));
                assert!(json["error"].as_str().is_some_and(|c| !c.is_empty() && !c.contains('/')
                    || c.contains("multipart/")
                    || c.contains("/readyz")
                    || c.contains("/openapi.json")));
                assert!(!String::from_utf8_lossy(&body).contains("secret"));
            }
        }
    }

    #[test]
    fn statuses_that_clients_rely_on() {
        let status = |e: HttpError| e.answer().0.as_u16();
        assert_eq!(status(StoreError::Full.into()), 507);
        for (what, expected) in [
            (Shortage::Inodes, 507),
            (Shortage::FileSize, 507),
            (Shortage::SmallVolume, 507),
            (Shortage::OpenFiles, 503),
            (Shortage::Volume, 503),
        ] {
            assert_eq!(status(StoreError::Short(what).into()), expected, "{what:?}");
        }
        let no_more_files =
            StoreError::Disk { op: "open", path: "/p".into(), source: io::Error::from_raw_os_error(24) };
        let no_more_files = HttpError::from(no_more_files);
        assert!(!no_more_files.is_ours(), "a passing shortage is no line in the log for each request");
        assert_eq!(status(no_more_files), 503);
        assert_eq!(status(StoreError::BucketNotEmpty.into()), 409);
        assert_eq!(status(StoreError::ShuttingDown.into()), 503);
        assert_eq!(status(StoreError::KeyMissing { kek: KekId([7; 16]) }.into()), 503);
        assert_eq!(status(HttpError::Silent), 408);
        assert_eq!(status(HttpError::TooLarge { max: 1 }), 413);
        assert_eq!(status(HttpError::NotImplemented("x")), 501);
    }

    #[test]
    fn the_log_has_the_causes() {
        let error = all().into_iter().find(|e| matches!(e, HttpError::Store(StoreError::Disk { .. }))).unwrap();
        assert!(error.is_ours());
        assert!(error.with_causes().contains("inner cause"));
    }
}
