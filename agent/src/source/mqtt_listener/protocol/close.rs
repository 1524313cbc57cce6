//! Why connections of devices end, in numbers for the device and in words for people.

use std::fmt;

use pipeline::decode::mqtt::{ConnectError, Malformed, PacketType};

use super::CLIENT_ID_BYTES_MAX;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Close {
    /// The device said so.
    Goodbye,
    /// The first packet is not CONNECT.
    NotConnect,
    /// A version that is not spoken here.
    Version(ConnectError),
    /// It is not MQTT.
    Malformed(Malformed),
    /// A packet that a client does not send, or not now.
    Unexpected(PacketType),
    /// The client identifier is empty or too long.
    ClientId,
    /// User name or password is wrong.
    Credentials,
    /// Enhanced authentication is not supported.
    AuthenticationMethod,
    /// A packet is too large.
    TooLarge {
        /// Its size.
        packet_bytes: usize,
        /// The limit.
        packet_bytes_max: usize,
    },
    /// Too many unacknowledged messages.
    InFlight,
    /// The device may not publish where it does.
    Denied,
    /// It takes no packet as large as the answer to its CONNECT.
    AnswerTooLarge,
    /// It said nothing yet, and all places are taken.
    MakeRoom,
    /// Another connection has the session.
    TakenOver,
    /// Nothing was heard for too long.
    Silent,
    /// The agent ends.
    Shutdown,
}

impl Close {
    /// Whether it is the device's fault, and counted.
    pub(in super::super) const fn is_refusal(self) -> bool {
        !matches!(
            self,
            Self::Goodbye | Self::TakenOver | Self::Silent | Self::Shutdown
        )
    }

    /// The reason code with which MQTT 5 says so.
    pub(super) const fn reason_code(self) -> u8 {
        match self {
            Self::Goodbye => 0,
            Self::NotConnect | Self::Unexpected(_) => 0x82,
            Self::Version(_) => 0x84,
            Self::Malformed(malformed) => malformed.reason_code(),
            Self::ClientId => 0x85,
            Self::Credentials => 0x86,
            Self::AuthenticationMethod => 0x8c,
            Self::TooLarge { .. } | Self::AnswerTooLarge => 0x95,
            Self::InFlight => 0x93,
            Self::Denied => super::NOT_AUTHORIZED,
            Self::MakeRoom => 0x97,
            Self::TakenOver => 0x8e,
            Self::Silent => 0x8d,
            Self::Shutdown => 0x8b,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("disconnected"),
            Self::NotConnect => f.write_str("first packet is not CONNECT"),
            Self::Version(error) => error.fmt(f),
            Self::Malformed(malformed) => write!(f, "malformed packet: {malformed}"),
            Self::Unexpected(kind) => write!(f, "unexpected {kind:?}"),
            Self::ClientId => write!(
                f,
                "client identifier is longer than {CLIENT_ID_BYTES_MAX} bytes, or empty although \
                 the session is to be kept"
            ),
            Self::Credentials => f.write_str("user name or password is wrong"),
            Self::AuthenticationMethod => f.write_str("enhanced authentication is not supported"),
            Self::TooLarge {
                packet_bytes,
                packet_bytes_max,
            } => write!(
                f,
                "packet of {packet_bytes} bytes exceeds packet_bytes_max of {packet_bytes_max}"
            ),
            Self::InFlight => f.write_str("too many unacknowledged messages"),
            Self::Denied => f.write_str("publishes where it has no right to"),
            Self::AnswerTooLarge => {
                f.write_str("its maximum packet size is smaller than the answer to its CONNECT")
            }
            Self::MakeRoom => f.write_str("made room for another, having said nothing"),
            Self::TakenOver => f.write_str("another connection uses the client identifier"),
            Self::Silent => f.write_str("nothing was heard for too long"),
            Self::Shutdown => f.write_str("agent ends"),
        }
    }
}
