//! systemd over the system bus: calls, and the ends of jobs. org.freedesktop.systemd1(5)
//!
//! One connection, made when it is needed and again after it or systemd was gone. A task reads what systemd tells about jobs and passes it
//! to whoever waits; where it may have missed something (the bus or systemd was restarted) the waiting ones ask for the unit's state.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use zbus::message::Message;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant, fdo};

use super::Error;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// How long a call with its job may take. systemd answers late where very many units come and go.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the bus, or systemd on it, may be away: a restart takes less than a second.
const ABSENCE: Duration = Duration::from_secs(5);

/// Between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends of jobs that are kept for those who have not looked yet. Who is later than that asks systemd.
const BACKLOG: usize = 1024;

/// A property of a unit, as `a(sv)` has it.
pub(super) type Property<'a> = (&'a str, Variant<'a>);

/// systemd on the system bus.
#[derive(Default)]
pub(super) struct Bus {
    session: Mutex<Option<Arc<Session>>>,
}

/// A connection, with the task that listens to it.
struct Session {
    connection: Connection,
    news: broadcast::Sender<News>,
    listener: JoinHandle<()>,
}

/// What systemd told.
#[derive(Debug, Clone)]
enum News {
    /// A job is over.
    Ended { job: OwnedObjectPath, result: String },
    /// systemd came back, or the bus went away: something may have been missed.
    Gap,
}

/// What a unit is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Active,
    Gone,
}

/// A call on a unit, for messages, and until when it may last.
struct Call<'a> {
    method: &'static str,
    unit: &'a str,
    deadline: Instant,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.method, self.unit)
    }
}

impl<'a> Call<'a> {
    fn new(method: &'static str, unit: &'a str) -> Call<'a> {
        Call { method, unit, deadline: Instant::now() + PATIENCE }
    }

    fn late(&self) -> Error {
        Error::Late { call: self.to_string(), seconds: PATIENCE.as_secs() }
    }

    fn job(&self, result: String) -> Error {
        Error::Job { call: self.to_string(), unit: self.unit.to_owned(), result }
    }
}

impl Bus {
    /// Starts a unit that systemd does not know yet, and waits until it is active.
    pub(super) async fn start_transient(&self, unit: &str, properties: &[Property<'_>]) -> Result<(), Error> {
        let call = Call::new("StartTransientUnit", unit);
        let none: [(&str, Vec<Property<'_>>); 0] = [];
        let (job, news) = self.call(&call, &(unit, "fail", properties, &none[..])).await?;
        self.job_end(&call, &job, news, Aim::Active).await
    }

    /// Changes properties of a unit until the next boot.
    pub(super) async fn set_properties(&self, unit: &str, properties: &[Property<'_>]) -> Result<(), Error> {
        let call = Call::new("SetUnitProperties", unit);
        self.call(&call, &(unit, true, properties)).await.map(drop)
    }

    /// Kills what is in a unit, and waits until it has ended and is forgotten. One that systemd does not know is done.
    pub(super) async fn stop(&self, unit: &str) -> Result<(), Error> {
        let call = Call::new("StopUnit", unit);
        let (job, news) = match self.call(&call, &(unit, "replace")).await {
            Err(error) if error.is_no_such_unit() => return Ok(()),
            answer => answer?,
        };
        // The job gives processes a minute and a half to end by themselves.
        let kill = Call { method: "KillUnit", ..call };
        match self.call(&kill, &(unit, "all", nix::libc::SIGKILL)).await {
            Ok(_) => {}
            // Nothing is in there any more, or the unit is gone.
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        let call = Call { method: "StopUnit", ..kill };
        self.job_end(&call, &job, news, Aim::Gone).await?;
        let reset = Call { method: "ResetFailedUnit", ..call };
        match self.call(&reset, &(unit,)).await {
            Err(error) if error.is_no_such_unit() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Waits until a job has ended.
    async fn job_end(
        &self,
        call: &Call<'_>,
        answer: &Message,
        mut news: broadcast::Receiver<News>,
        aim: Aim,
    ) -> Result<(), Error> {
        let malformed = |source| Error::Answer { call: call.to_string(), source };
        let job: OwnedObjectPath = answer.body().deserialize().map_err(malformed)?;
        loop {
            match timeout_at(call.deadline, news.recv()).await.map_err(|_| call.late())? {
                Ok(News::Ended { job: ended, result }) if ended == job => {
                    return if result == "done" { Ok(()) } else { Err(call.job(result)) };
                }
                Ok(News::Ended { .. }) => {}
                Ok(News::Gap) | Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                    let (state, after) = self.state(call).await?;
                    news = after;
                    match (state.as_str(), aim) {
                        ("active", Aim::Active) | ("inactive" | "failed", Aim::Gone) => return Ok(()),
                        // Jobs are kept over a restart of systemd: this one goes on.
                        ("activating" | "deactivating" | "reloading", _) | ("active", Aim::Gone) => {}
                        _ => return Err(call.job(state)),
                    }
                }
            }
        }
    }

    /// `ActiveState` of the unit, with the news since then. One that systemd does not know is inactive.
    async fn state(&self, call: &Call<'_>) -> Result<(String, broadcast::Receiver<News>), Error> {
        let get = Call { method: "Get", ..*call };
        let path = format!("{MANAGER_PATH}/unit/{}", escaped(call.unit));
        let at = At { path: &path, interface: "org.freedesktop.DBus.Properties" };
        let (answer, news) = self.call_at(&get, &at, &("org.freedesktop.systemd1.Unit", "ActiveState")).await?;
        let malformed = |source| Error::Answer { call: get.to_string(), source };
        let state: OwnedVariant = answer.body().deserialize().map_err(malformed)?;
        Ok((String::try_from(state).map_err(malformed)?, news))
    }

    /// A call on the manager; gives its answer and all news since before the call.
    async fn call<B>(&self, call: &Call<'_>, body: &B) -> Result<(Message, broadcast::Receiver<News>), Error>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call_at(call, &At { path: MANAGER_PATH, interface: MANAGER }, body).await
    }

    /// A call that is made again as long as there is nobody to answer, within [`ABSENCE`]. It may so be carried out twice.
    async fn call_at<B>(
        &self,
        call: &Call<'_>,
        at: &At<'_>,
        body: &B,
    ) -> Result<(Message, broadcast::Receiver<News>), Error>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let mut absent_since = None;
        loop {
            let answer = timeout_at(call.deadline, self.try_call(call.method, at, body)).await;
            let source = match answer.map_err(|_| call.late())? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let since = *absent_since.get_or_insert_with(Instant::now);
            if !is_absence(&source) || since.elapsed() > ABSENCE {
                return Err(told(call, source));
            }
            self.session.lock().await.take();
            sleep(PAUSE).await;
        }
    }

    async fn try_call<B>(
        &self,
        method: &'static str,
        at: &At<'_>,
        body: &B,
    ) -> zbus::Result<(Message, broadcast::Receiver<News>)>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let session = self.session().await?;
        let news = session.news.subscribe();
        let answer = session.connection.call_method(Some(SYSTEMD), at.path, Some(at.interface), method, body).await?;
        Ok((answer, news))
    }

    /// The connection; a new one where there is none or it was closed.
    async fn session(&self) -> zbus::Result<Arc<Session>> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.listener.is_finished()) {
            return Ok(session.clone());
        }
        Ok(slot.insert(Arc::new(Session::connect().await?)).clone())
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

/// Where a call goes.
struct At<'a> {
    path: &'a str,
    interface: &'a str,
}

impl Session {
    async fn connect() -> zbus::Result<Session> {
        let connection = Connection::system().await?;
        // The bus sees to it that only systemd is heard: anybody may send signals of any name.
        let jobs = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SYSTEMD)
            .path(MANAGER_PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()?;
        let owner = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .add_arg(SYSTEMD)
            .build()?;
        let mut jobs = MessageStream::for_match_rule(jobs, &connection, NonZeroUsize::new(BACKLOG)).await?;
        let mut owner = MessageStream::for_match_rule(owner, &connection, None).await?;
        let (news, _) = broadcast::channel(BACKLOG);
        let told = news.clone();
        let listener = tokio::spawn(async move {
            loop {
                // Nobody waits: that is no reason to stop.
                let _ = tokio::select! {
                    ended = jobs.next() => match ended {
                        Some(Ok(message)) => told.send(ended_job(&message)),
                        Some(Err(_)) => told.send(News::Gap),
                        None => break,
                    },
                    change = owner.next() => match change {
                        Some(_) => told.send(News::Gap),
                        None => break,
                    },
                };
            }
            let _ = told.send(News::Gap);
        });
        Ok(Session { connection, news, listener })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// `JobRemoved(u id, o job, s unit, s result)`. What cannot be read is a gap.
fn ended_job(message: &Message) -> News {
    match message.body().deserialize::<(u32, OwnedObjectPath, String, String)>() {
        Ok((_, job, _, result)) => News::Ended { job, result },
        Err(_) => News::Gap,
    }
}

/// Whether nobody answered: the bus or systemd is not there, or went away before it answered.
fn is_absence(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => true,
        zbus::Error::FDO(error) => matches!(
            **error,
            fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::NoReply(_)
                | fdo::Error::NoServer(_)
                | fdo::Error::Disconnected(_)
                | fdo::Error::SpawnChildExited(_)
        ),
        _ => false,
    }
}

/// An error with the call that it answers.
fn told(call: &Call<'_>, source: zbus::Error) -> Error {
    match source {
        source if is_absence(&source) => Error::Bus { call: call.to_string(), source },
        zbus::Error::MethodError(name, message, _) => {
            Error::Refused { call: call.to_string(), name: name.to_string(), message: message.unwrap_or_default() }
        }
        zbus::Error::FDO(error) => {
            let name = zbus::DBusError::name(&*error).to_string();
            let message = zbus::DBusError::description(&*error).unwrap_or_default().to_owned();
            Error::Refused { call: call.to_string(), name, message }
        }
        source => Error::Bus { call: call.to_string(), source },
    }
}

impl Error {
    /// systemd does not know the unit.
    pub(super) fn is_no_such_unit(&self) -> bool {
        matches!(self, Error::Refused { name, .. } if name == "org.freedesktop.systemd1.NoSuchUnit")
    }

    /// systemd knows a unit of this name already.
    pub(super) fn is_unit_exists(&self) -> bool {
        matches!(self, Error::Refused { name, .. } if name == "org.freedesktop.systemd1.UnitExists")
    }
}

/// A unit's name as the last part of an object's path: all but letters and digits, and a digit in front, as `_` and two hexadecimal digits.
fn escaped(unit: &str) -> String {
    let escape = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if at > 0 => char::from(byte).to_string(),
        byte => format!("_{byte:02x}"),
    };
    unit.bytes().enumerate().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(escaped("rt-0a.scope"), "rt_2d0a_2escope");
        assert_eq!(escaped("9_a.slice"), "_39_5fa_2eslice");
    }
}
