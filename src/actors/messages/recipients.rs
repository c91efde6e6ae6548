//! Recipients: what one room may say to an actor, and nothing else. The list of messages is written once.

use actix::{Message, Recipient};

/// Somebody who knows where a message goes.
pub trait Knows<M>
where
    M: Message + Send,
    M::Result: Send,
{
    /// Where messages of this kind go.
    fn recipient(&self) -> &Recipient<M>;
}

/// Declares a struct of recipients, how it is made of one actor that takes all of its messages, and that it `Knows`
/// each.
macro_rules! recipients {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident: $message:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $($(#[$doc])* pub $field: ::actix::Recipient<$message>,)*
        }

        impl $name {
            /// The recipients of one actor.
            $vis fn of<A>(actor: &::actix::Addr<A>) -> Self
            where
                A: ::actix::Actor<Context = ::actix::Context<A>> $(+ ::actix::Handler<$message>)*,
            {
                $name { $($field: actor.clone().recipient(),)* }
            }
        }

        $(impl $crate::actors::messages::Knows<$message> for $name {
            fn recipient(&self) -> &::actix::Recipient<$message> {
                &self.$field
            }
        })*
    };
}

pub(crate) use recipients;
