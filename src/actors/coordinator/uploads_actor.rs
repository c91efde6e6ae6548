//! What the CoordinatorActor is asked of uploads in parts.

use super::actor::{CoordinatorActor, run};
use crate::actors::messages::*;
use actix::prelude::*;

macro_rules! handlers {
    ($($message:ident => $does:ident -> $answer:ty;)*) => {$(
        impl Handler<$message> for CoordinatorActor {
            type Result = ResponseFuture<Result<$answer, ObjectError>>;
            fn handle(&mut self, msg: $message, _: &mut Context<Self>) -> Self::Result {
                run(self.coordinator(), async move |c| c.$does(msg).await)
            }
        }
    )*};
}

handlers! {
    CreateUpload => create_upload -> crate::base::UploadId;
    FindUpload => find_upload -> OpenUpload;
    CompleteUpload => complete_upload -> Written;
    AbortUpload => abort_upload -> ();
    ListParts => list_parts -> PartPage;
    ListUploads => list_uploads -> UploadPage;
}
