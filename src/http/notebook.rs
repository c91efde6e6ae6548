//! The notebook's three routes, as its users know them: Spanish texts, one bucket, names as they come.

use super::body_in::{Incoming, store, upload_window_for};
use super::conditions::{no_condition, plain_write};
use super::disposition::attachment;
use super::errors::HttpError;
use super::multipart::{FilePart, Form};
use super::{Call, media_type, objects, target, written};
use crate::actors::messages::{Consistency, NewObject};
use crate::base::Condition;
use crate::base::record::CONTENT_TYPE_BYTES_MAX;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

const FIELD: &str = "archivo";
const TEXT: &str = "text/html; charset=utf-8";

pub(super) async fn upload(call: &Call<'_>, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let content_type = call.req.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    incoming.check_framed()?;
    incoming.check_announced()?;
    incoming.check_md5(call.req.headers())?;
    let shared = &call.worker.shared;
    let window = upload_window_for(shared, incoming.announced()).await?;
    let mut form = Form::new(content_type, incoming)?;
    let (name, head) = form.file(FIELD).await?;
    let at = target::carga_named(&name)?;
    let head = NewObject { content_type: media_type_of(head.content_type.as_deref(), &name), meta: Vec::new() };
    let part = &mut FilePart { form: &mut form, field: FIELD };
    let done = store(call.worker, at, Condition::NONE, head, None, window, part).await?;
    Ok(text(call, "Archivo cargado y cifrado exitosamente", done.replicas))
}

pub(super) async fn download(call: &Call<'_>, name: &str) -> Result<HttpResponse, HttpError> {
    let at = target::carga(name)?;
    let disposition = HeaderValue::try_from(attachment(at.key.as_str())).ok();
    objects::serve(call, at, disposition, Consistency::Majority).await
}

pub(super) async fn delete(call: &Call<'_>, name: &str) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let done = objects::remove(call, target::carga(name)?, Condition::NONE).await?;
    Ok(text(call, "Archivo eliminado exitosamente", done.replicas))
}

/// The type that the part came with, or the one that its name suggests.
fn media_type_of(given: Option<&str>, name: &str) -> String {
    let fits = |t: &&str| {
        (1..=CONTENT_TYPE_BYTES_MAX).contains(&t.len()) && t.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    };
    given.filter(fits).unwrap_or_else(|| media_type::of_name(name)).to_owned()
}

fn text(call: &Call<'_>, message: &'static str, replicas: u32) -> HttpResponse {
    let mut builder: HttpResponseBuilder = HttpResponse::Ok();
    written(&mut builder, call.worker, replicas);
    builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(TEXT))).body(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        assert_eq!(media_type_of(Some("a/b; c=d"), "x.txt"), "a/b; c=d");
        for no_type in [None, Some(""), Some("é"), Some("a\nb")] {
            assert_eq!(media_type_of(no_type, "x.txt"), "text/plain");
        }
    }
}
