//! The server behind the device listener: admission, TLS, a watch over the connection, HTTP/1.1. It is put together here
//! rather than by actix-web's `HttpServer`, which leaves no room before TLS or around the connection.

use std::future::{Future, Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::HttpService;
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory as _, Service, ServiceFactory, ServiceFactoryExt as _, map_config};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{AppConfig, Extensions};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App as Http, web};
use rustls::ServerConfig;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::lifecycle::DRAIN;
use crate::links::admission::Admission;
use crate::links::tls;
use crate::links::wire::Watched;
use crate::routes;
use crate::web::middleware;

/// Connections that a worker holds.
const CONNECTIONS: usize = 25_000;
/// How long the head of a request may take: of an upgrade too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a connection may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection of a device.
pub type Io = Watched<Box<TlsStream<TcpStream>>>;

/// The server behind the device listener.
///
/// # Errors
/// When the listener cannot be used.
pub fn build(app: &App, listener: TcpListener, tls: ServerConfig, admission: &Admission) -> io::Result<Server> {
    let (data, config) = (web::Data::new(app.clone()), Arc::new(tls));
    let admission = admission.clone();
    let build = move || {
        let http = || {
            let http = Http::new()
                .app_data(data.clone())
                .wrap(from_fn(middleware::observe))
                .configure(routes::devices);
            map_config(http.into_factory(), |()| AppConfig::default())
        };
        let service = HttpService::<Io, _, _>::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(END_TIMEOUT)
            .on_connect_ext(|io: &Io, data: &mut Extensions| {
                data.insert(io.wire());
                tls::note_peer(io.get_ref(), data);
            });
        #[cfg(feature = "upgrade-socket")]
        let service = service.upgrade(crate::links::upgrade::over(http()));
        Doors {
            admission: admission.clone(),
            acceptor: TlsAcceptor::from(Arc::clone(&config)),
        }
        .and_then(service.h1(http()).map_err(|_| ()))
    };
    ServerBuilder::new()
        .max_concurrent_connections(CONNECTIONS)
        .shutdown_timeout(DRAIN.as_secs())
        .disable_signals()
        .listen("devices", listener, build)
        .map(ServerBuilder::run)
}

/// Admission and TLS.
#[derive(Clone)]
struct Doors {
    admission: Admission,
    acceptor: TlsAcceptor,
}

/// [`Doors`] of one worker.
struct Door {
    doors: Doors,
    pause: std::cell::RefCell<Option<Pin<Box<Sleep>>>>,
}

impl ServiceFactory<TcpStream> for Doors {
    type Response = (Io, Option<SocketAddr>);
    type Error = ();
    type Config = ();
    type Service = Door;
    type InitError = ();
    type Future = Ready<Result<Door, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        ready(Ok(Door {
            doors: self.clone(),
            pause: std::cell::RefCell::default(),
        }))
    }
}

impl Service<TcpStream> for Door {
    type Response = (Io, Option<SocketAddr>);
    type Error = ();
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ()>>>>;

    /// A worker that is not ready takes nothing from the listener.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let mut pause = self.pause.borrow_mut();
        loop {
            if let Some(sleep) = pause.as_mut() {
                std::task::ready!(pin!(sleep).poll(context));
                *pause = None;
            }
            match self.doors.admission.check(Instant::now()) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(wait) => *pause = Some(Box::pin(sleep(wait))),
            }
        }
    }

    /// What a handshake needs is not kept for the life of the connection.
    fn call(&self, tcp: TcpStream) -> Self::Future {
        let entered = self.doors.admission.enter(Instant::now());
        let acceptor = self.doors.acceptor.clone();
        Box::pin(async move {
            let (peer, _) = (tcp.peer_addr().ok(), tcp.set_nodelay(true));
            let outcome = timeout(entered.patience, acceptor.accept(tcp)).await;
            entered.ends(match &outcome {
                Ok(Ok(_)) => "done",
                Ok(Err(_)) => "failed",
                Err(_) => "timed_out",
            });
            let stream = outcome.map_err(|_| ())?.map_err(|_| ())?;
            Ok((Watched::new(Box::new(TlsStream::from(stream))), peer))
        })
    }
}
