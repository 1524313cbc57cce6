//! Who is taken in, and on what terms.

use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::MqttVersion;
use pipeline::decode::mqtt::{Aliases, Connect, ConnectError};

use super::super::answers::{self, Refusal, Terms};
use super::super::sessions::{Claim, EXPIRY_MAX, Opened, Sessions};
use super::open::Open;
use super::{ALIASES_MAX, CLIENT_ID_BYTES_MAX, Close, Limits, Moment, Question};

/// What is known when CONNECT comes.
#[derive(Clone, Copy)]
pub(super) struct Greeting<'a> {
    pub(super) moment: Moment,
    pub(super) connection: u32,
    /// The name in the device's certificate.
    pub(super) certified: Option<&'a str>,
    /// What the password file says, once it was asked.
    pub(super) verdict: Option<bool>,
    pub(super) limits: &'a Limits,
}

/// What CONNECT leads to.
pub(super) enum Connected {
    /// The password file is to be asked first.
    Ask(Question),
    /// The device is taken in; another connection had its session.
    Open(Box<Open>, Option<u32>),
}

impl Greeting<'_> {
    /// Takes a device in, or says why not.
    pub(super) fn connect(
        self,
        body: &[u8],
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Connected, Close> {
        let connect = match Connect::read(body) {
            Ok(connect) => connect,
            Err(ConnectError::Malformed(malformed)) => return Err(Close::Malformed(malformed)),
            Err(error @ ConnectError::Version(level)) => {
                answers::write_version_refused(out, level);
                return Err(Close::Version(error));
            }
        };
        match self.admit(&connect) {
            Ok(None) => self.open(&connect, sessions, out),
            Ok(Some(question)) => Ok(Connected::Ask(question)),
            Err((refusal, close)) => {
                answers::write_refused(out, connect.version, refusal);
                Err(close)
            }
        }
    }

    fn open(
        self,
        connect: &Connect<'_>,
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Connected, Close> {
        let Self { moment, limits, .. } = self;
        let version = connect.version;
        let assigned = connect
            .client_id
            .is_empty()
            .then(|| format!("auto-{:016x}", moment.random));
        let client: Box<str> = assigned.as_deref().unwrap_or(connect.client_id).into();
        let asked_expiry = Duration::from_secs(u64::from(connect.session_expiry_s));
        let session_expiry = asked_expiry.min(EXPIRY_MAX);
        let claim = Claim {
            client: &client,
            clean: connect.clean_start,
            outlives: !session_expiry.is_zero(),
            connection: self.connection,
        };
        let Opened {
            session,
            present,
            taken_from,
        } = sessions.open(moment.now, claim);
        let (keep_alive_s, silence_max) = silence(connect, limits.idle_max);
        let packet_bytes_max = connect.packet_bytes_max.unwrap_or(u32::MAX);
        let packet_bytes_max = usize::try_from(packet_bytes_max).unwrap_or(usize::MAX);
        let granted_s = u32::try_from(session_expiry.as_secs()).unwrap_or(u32::MAX);
        let terms = Terms {
            session_present: present,
            assigned_client_id: assigned,
            session_expiry_s: (session_expiry != asked_expiry).then_some(granted_s),
            keep_alive_s,
            receive_maximum: limits.in_flight_max,
            packet_bytes_max: u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX),
            aliases_max: ALIASES_MAX,
        };
        let start = out.len();
        answers::write_accepted(out, version, terms);
        if out.len() - start > packet_bytes_max {
            // It could not learn on what terms it is taken in.
            out.truncate(start);
            sessions.close(moment.now, session, self.connection, Duration::ZERO);
            answers::write_refused(out, version, Refusal::TooLarge);
            if out.len() - start > packet_bytes_max {
                out.truncate(start);
            }
            return Err(Close::AnswerTooLarge);
        }
        let will = connect.will.map(|will| {
            let delay = Duration::from_secs(u64::from(will.delay_s));
            (delay, will.record(moment.received_at, &client))
        });
        let open = Open {
            version,
            user: self.user(connect).map(Into::into),
            client,
            session,
            is_strict: version == MqttVersion::V5 && !present,
            session_expiry,
            silence_max,
            aliases: Aliases::new(ALIASES_MAX),
            will,
            unacknowledged: 0,
            packet_bytes_max,
            wants_reasons: connect.wants_reasons,
            denied: None,
        };
        Ok(Connected::Open(Box::new(open), taken_from))
    }

    /// Whether the device is let in, or what must be known first.
    fn admit(self, connect: &Connect<'_>) -> Result<Option<Question>, (Refusal, Close)> {
        const WRONG: (Refusal, Close) = (Refusal::Credentials, Close::Credentials);
        if connect.enhanced_authentication {
            return Err((Refusal::AuthenticationMethod, Close::AuthenticationMethod));
        }
        let nameless = connect.client_id.is_empty()
            && connect.version == MqttVersion::V311
            && !connect.clean_start;
        if nameless || connect.client_id.len() > CLIENT_ID_BYTES_MAX {
            return Err((Refusal::ClientId, Close::ClientId));
        }
        if self.limits.has_password_file {
            return match (self.verdict, connect.username, connect.password) {
                (Some(true), ..) => Ok(None),
                (None, Some(username), Some(password)) => Ok(Some(Question {
                    username: username.into(),
                    password: password.into(),
                })),
                _ => Err(WRONG),
            };
        }
        let username = self.limits.username.as_deref().map(str::as_bytes);
        let password = self.limits.password.as_ref();
        let password = password.map(|password| password.expose().as_bytes());
        let given = connect.username.map(str::as_bytes);
        if !is_same(username, given) || !is_same(password, connect.password) {
            return Err(WRONG);
        }
        Ok(None)
    }

    /// Who the device is for sure; a user name without a password to check says nothing.
    fn user<'a>(&'a self, connect: &Connect<'a>) -> Option<&'a str> {
        let is_checked = self.limits.has_password_file || self.limits.password.is_some();
        if is_checked {
            connect.username
        } else {
            self.certified
        }
    }
}

/// The keep-alive that a device of MQTT 5 is told where it is not what it asked for, and how long
/// a device may be silent: half as long again as its keep-alive.
fn silence(connect: &Connect<'_>, idle_max: Duration) -> (Option<u16>, Duration) {
    let half_again = |seconds: u16| Duration::from_millis(u64::from(seconds) * 1500);
    let idle_s = u16::try_from(idle_max.as_secs().max(1)).unwrap_or(u16::MAX);
    match (connect.version, connect.keep_alive_s) {
        (MqttVersion::V311, 0) => (None, idle_max),
        (MqttVersion::V5, asked) if asked == 0 || asked > idle_s => {
            (Some(idle_s), half_again(idle_s))
        }
        (_, asked) => (None, half_again(asked)),
    }
}

/// Whether what was `given` is what is `wanted`, in a time that does not tell where they differ.
fn is_same(wanted: Option<&[u8]>, given: Option<&[u8]>) -> bool {
    let Some(wanted) = wanted else { return true };
    let given = given.unwrap_or_default();
    let differences = wanted
        .iter()
        .zip(given)
        .fold(0, |differences, (a, b)| differences | (a ^ b));
    wanted.len() == given.len() && differences == 0
}
