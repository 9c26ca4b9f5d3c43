//! Links over actix-http's `.upgrade()`: those of the device listener in a server that is built with the feature
//! `upgrade-socket`. Admission and answers are those of the routes; only who is let in ends up in a [`Socket`], and the task of
//! the connection becomes the task of the link.

mod socket;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;

use actix_codec::{Encoder as _, Framed};
use actix_http::{HttpMessage as _, Request, RequestHead, h1, ws};
use actix_service::{ServiceFactory, apply_fn_factory};
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{Service as _, ServiceResponse};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use self::socket::Socket;
use super::gate::Gate;
use super::link::Link;

/// Where the routes leave a link that they let in, among the extensions of a request that may become one.
#[derive(Clone, Default)]
pub(super) struct Seat(Rc<Cell<Option<(Link, Gate)>>>);

impl Seat {
    /// Leaves it, and gives the answer that the device is to read.
    pub(super) fn take(&self, link: Link, gate: Gate, request: &RequestHead) -> HttpResponse {
        self.0.set(Some((link, gate)));
        ws::handshake_response(request).finish().map_into_boxed_body().into()
    }
}

/// What serves the upgrades of connections, over the routes.
pub fn over<F, B, IO>(
    routes: F,
) -> impl ServiceFactory<
    (Request, Framed<IO, h1::Codec>),
    Config = (),
    Response = (),
    Error = actix_web::Error,
    InitError = F::InitError,
>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = actix_web::Error>,
    F::Service: 'static,
    <F::Service as actix_service::Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    apply_fn_factory(
        routes,
        |(request, framed): (Request, Framed<IO, h1::Codec>), routes: &F::Service| {
            let seat = Seat::default();
            request.extensions_mut().insert(seat.clone());
            let answer = routes.call(request);
            async move {
                // What the answer needs is not kept for the life of the link.
                let answered = Box::pin(async move {
                    let answer = match answer.await {
                        Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
                        Err(error) => error.error_response(),
                    };
                    answer_by(framed, answer, &seat).await
                });
                // A connection that is lost before is no failure of ours.
                if let Ok(Some(socket)) = answered.await {
                    socket.await;
                }
                Ok(())
            }
        },
    )
}

/// Writes an answer whole, unless it is the beginning of a link: that is sent with what the link says first.
async fn answer_by<IO: AsyncRead + AsyncWrite + Unpin>(
    framed: Framed<IO, h1::Codec>,
    answer: HttpResponse,
    seat: &Seat,
) -> io::Result<Option<Box<Socket<IO>>>> {
    let (answer, body) = answer.into_parts();
    let (mut parts, size) = (framed.into_parts(), body.size());
    let out = &mut parts.write_buf;
    parts.codec.encode(h1::Message::Item((answer.into(), size)), out)?;
    if let Some((link, mut gate)) = seat.0.take() {
        gate.push(&parts.read_buf);
        return Ok(Some(Box::new(Socket::new(parts.io, link, gate, out))));
    }
    let mut body = pin!(body);
    while let Some(chunk) = poll_fn(|task| body.as_mut().poll_next(task)).await {
        let chunk = chunk.map_err(|error| io::Error::other(error.to_string()))?;
        parts.codec.encode(h1::Message::Chunk(Some(chunk)), out)?;
        parts.io.write_all_buf(out).await?;
    }
    parts.codec.encode(h1::Message::Chunk(None), out)?;
    parts.io.write_all_buf(out).await?;
    parts.io.shutdown().await?;
    Ok(None)
}
