//! The live stream: one per browser, as server-sent events that carry ids only. It is authorised anew each minute, ends
//! with the session, and is bounded: news of a burst is sent once per subject, and a reader that fell too far behind is
//! told to read its page anew.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Error;
use crate::platform::Platform;
use crate::platform::events::{self, Event};

/// Streams that one person may have open: browsers, not tabs. One more takes the place of the oldest, which is most
/// likely a page that was left: that a browser is gone is noticed only when something is sent to it.
pub const STREAMS_PER_PERSON: usize = 32;
/// News of a burst is gathered for this long.
const GATHER: Duration = Duration::from_millis(120);
/// More subjects than this in one burst, or missed by a reader that comes back: read the page anew.
const MOST_NEWS: usize = 500;
const BEAT: &str = "event: beat\ndata:\n\n";
const RESET: &str = "event: reset\ndata:\n\n";
const END: &str = "event: end\ndata:\n\n";
const HEARTBEAT: Duration = Duration::from_secs(15);
const AUTHORISED_FOR: Duration = Duration::from_secs(60);

/// The open streams of this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<BTreeMap<u64, Open>>>, Arc<AtomicU64>);

#[derive(Debug)]
struct Open {
    person: Uuid,
    session: [u8; 32],
    ended: CancellationToken,
    displaced: CancellationToken,
}

/// A place among a person's streams; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    streams: Streams,
    number: u64,
    ended: CancellationToken,
    displaced: CancellationToken,
}

impl Streams {
    /// Takes a place for a stream of this person's session.
    pub fn sit(&self, person: Uuid, session: &str) -> Seat {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs: Vec<u64> = open
            .iter()
            .filter(|(_, one)| one.person == person)
            .map(|(number, _)| *number)
            .collect();
        for oldest in theirs
            .iter()
            .take((theirs.len() + 1).saturating_sub(STREAMS_PER_PERSON))
        {
            if let Some(one) = open.remove(oldest) {
                one.displaced.cancel();
            }
        }
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let (ended, displaced) = (CancellationToken::new(), CancellationToken::new());
        let one = Open {
            person,
            session: Sha256::digest(session).into(),
            ended: ended.clone(),
            displaced: displaced.clone(),
        };
        open.insert(number, one);
        Seat {
            streams: self.clone(),
            number,
            ended,
            displaced,
        }
    }

    /// Ends the streams of a session at once; on other nodes they end within a minute.
    pub fn end(&self, session: &str) {
        let digest: [u8; 32] = Sha256::digest(session).into();
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.values()
            .filter(|one| one.session == digest)
            .for_each(|one| one.ended.cancel());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.number);
    }
}

/// What a reader may hear of now; `None` when its session has ended.
pub type Heard = Option<HashSet<Uuid>>;

/// Where a stream stands.
struct Reader<A> {
    news: broadcast::Receiver<Event>,
    db: PgPool,
    authorise: A,
    orgs: HashSet<Uuid>,
    last: i64,
    authorised: Instant,
    beat: tokio::time::Interval,
    started: bool,
    ended: bool,
    seat: Seat,
    stopping: CancellationToken,
}

/// Answers a stream of what `authorise` allows, from `after` on when the browser says where it stood.
pub async fn respond<A, F>(
    seat: Seat,
    platform: &Platform,
    stopping: CancellationToken,
    after: Option<i64>,
    authorise: A,
) -> Result<HttpResponse, Error>
where
    A: Fn() -> F + 'static,
    F: Future<Output = Result<Heard, Error>>,
{
    let news = platform.events.subscribe();
    let Some(orgs) = authorise().await? else {
        return Ok(ended());
    };
    let now = Instant::now();
    let reader = Reader {
        news,
        db: platform.db.clone(),
        authorise,
        orgs,
        last: after.unwrap_or(0),
        authorised: now,
        beat: interval_at(now + HEARTBEAT, HEARTBEAT),
        started: false,
        ended: false,
        seat,
        stopping,
    };
    let frames = futures_util::stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), reader))
    });
    Ok(answer().streaming(Box::pin(frames)))
}

/// A browser that is not signed in is told so, rather than refused again and again.
pub fn ended() -> HttpResponse {
    answer().body(END)
}

fn answer() -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"));
    answer
}

impl<A, F> Reader<A>
where
    A: Fn() -> F,
    F: Future<Output = Result<Heard, Error>>,
{
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        if !self.started {
            self.started = true;
            return Some(self.begin().await);
        }
        loop {
            tokio::select! {
                event = self.news.recv() => match event {
                    Ok(event) => {
                        let burst = self.gather(event).await;
                        if let Some(text) = self.write(burst) {
                            return Some(text);
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => return Some(self.catch_up().await),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => return Some(self.tick().await),
                () = self.stopping.cancelled() => return None,
                () = self.seat.displaced.cancelled() => return None,
                () = self.seat.ended.cancelled() => {
                    self.ended = true;
                    return Some(END.to_owned());
                }
            }
        }
    }

    /// What was missed since the browser's last event, or where it begins.
    async fn begin(&mut self) -> String {
        let retry = "retry: 2000\nevent: beat\ndata:\n\n";
        if self.last == 0 {
            return retry.to_owned();
        }
        format!("{retry}{}", self.catch_up().await)
    }

    async fn catch_up(&mut self) -> String {
        match self.missed().await {
            Ok(Some(missed)) => self.write(missed).unwrap_or_default(),
            Ok(None) => RESET.to_owned(),
            Err(error) => {
                tracing::warn!(%error, "missed news could not be read");
                RESET.to_owned()
            }
        }
    }

    async fn missed(&mut self) -> sqlx::Result<Option<Vec<Event>>> {
        let mut conn = self.db.acquire().await?;
        let mut missed = Vec::new();
        for org in &self.orgs {
            missed.extend(events::since(&mut conn, *org, self.last, MOST_NEWS as i64).await?);
            if missed.len() >= MOST_NEWS {
                return Ok(None);
            }
        }
        missed.sort_unstable_by_key(|event| event.id);
        Ok(Some(missed))
    }

    async fn gather(&mut self, first: Event) -> Vec<Event> {
        tokio::time::sleep(GATHER).await;
        let mut burst = vec![first];
        while let Ok(event) = self.news.try_recv() {
            burst.push(event);
        }
        burst
    }

    fn write(&mut self, burst: Vec<Event>) -> Option<String> {
        let mut seen = HashSet::new();
        let mut kept: Vec<Event> = burst
            .into_iter()
            .rev()
            .filter(|event| self.orgs.contains(&event.org_id))
            .filter(|event| seen.insert((event.kind.clone(), event.subject_id)))
            .collect();
        kept.reverse();
        self.last = kept.iter().map(|event| event.id).max()?.max(self.last);
        if kept.len() >= MOST_NEWS {
            return Some(format!("id: {}\nevent: reset\ndata:\n\n", self.last));
        }
        Some(kept.iter().fold(String::new(), |mut text, event| {
            let product = event.product_id.map(|id| id.to_string()).unwrap_or_default();
            let _ = write!(
                text,
                "id: {}\nevent: news\ndata: {{\"kind\":\"{}\",\"product\":\"{product}\",\"subject\":\"{}\"}}\n\n",
                event.id, event.kind, event.subject_id
            );
            text
        }))
    }

    /// A heartbeat; each minute the session is looked at anew.
    async fn tick(&mut self) -> String {
        if self.authorised.elapsed() < AUTHORISED_FOR {
            return BEAT.to_owned();
        }
        match (self.authorise)().await {
            Ok(Some(orgs)) => {
                self.orgs = orgs;
                self.authorised = Instant::now();
                BEAT.to_owned()
            }
            Ok(None) => {
                self.ended = true;
                END.to_owned()
            }
            Err(error) => {
                tracing::warn!(%error, "a live stream could not be authorised anew; it ends and the browser comes back");
                self.ended = true;
                ": later\n\n".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{STREAMS_PER_PERSON, Streams};
    use uuid::Uuid;

    #[test]
    fn a_person_has_a_bounded_number_of_streams() {
        let streams = Streams::default();
        let mut seats: Vec<_> = (0..STREAMS_PER_PERSON).map(|_| streams.sit(Uuid::nil(), "a")).collect();
        let other = streams.sit(Uuid::max(), "b");
        assert!(seats.iter().all(|seat| !seat.displaced.is_cancelled()));
        seats.push(streams.sit(Uuid::nil(), "a"));
        assert!(seats[0].displaced.is_cancelled());
        assert_eq!(seats.iter().filter(|seat| seat.displaced.is_cancelled()).count(), 1);
        assert!(!other.displaced.is_cancelled());
        drop(seats);
        assert_eq!(streams.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn signing_out_ends_the_streams_of_its_session_only() {
        let streams = Streams::default();
        let (one, other) = (streams.sit(Uuid::nil(), "a"), streams.sit(Uuid::nil(), "b"));
        streams.end("a");
        assert!(one.ended.is_cancelled());
        assert!(!other.ended.is_cancelled());
    }
}
