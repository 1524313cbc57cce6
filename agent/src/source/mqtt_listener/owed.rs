//! The number of a receipt: which acknowledgement is owed, and where it belongs.

use pipeline::receipt::Receipt;

/// What is owed for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// PUBACK, on the connection it came by and on no other.
    PubAck {
        /// The connection.
        connection: u32,
        /// The packet.
        packet_id: u16,
    },
    /// PUBACK that says no, in its turn.
    Denial {
        /// The connection.
        connection: u32,
        /// The packet.
        packet_id: u16,
    },
    /// PUBREC, on whichever connection the session has.
    PubRec {
        /// The session.
        session: u32,
        /// The packet.
        packet_id: u16,
    },
    /// PUBCOMP, on whichever connection the session has.
    PubComp {
        /// The session.
        session: u32,
        /// The packet.
        packet_id: u16,
    },
}

const KIND_SHIFT: u32 = 48;

impl Owed {
    /// As a receipt.
    pub(super) fn receipt(self) -> Receipt {
        let (kind, owner, packet_id) = match self {
            Self::PubAck {
                connection,
                packet_id,
            } => (0, connection, packet_id),
            Self::Denial {
                connection,
                packet_id,
            } => (1, connection, packet_id),
            Self::PubRec { session, packet_id } => (2, session, packet_id),
            Self::PubComp { session, packet_id } => (3, session, packet_id),
        };
        Receipt::new((kind << KIND_SHIFT) | (u64::from(owner) << 16) | u64::from(packet_id))
    }

    /// Of a receipt that came back.
    pub(super) fn of(receipt: Receipt) -> Self {
        let number = receipt.into_number();
        let packet_id = u16::try_from(number & 0xffff).unwrap_or(0);
        let owner = u32::try_from((number >> 16) & 0xffff_ffff).unwrap_or(0);
        match number >> KIND_SHIFT {
            0 => Self::PubAck {
                connection: owner,
                packet_id,
            },
            1 => Self::Denial {
                connection: owner,
                packet_id,
            },
            2 => Self::PubRec {
                session: owner,
                packet_id,
            },
            _ => Self::PubComp {
                session: owner,
                packet_id,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_it_was_made_of() {
        let check = |owed: Owed| assert_eq!(Owed::of(owed.receipt()), owed);
        for (owner, packet_id) in [(0, 1), (u32::MAX, u16::MAX), (7, 0x1234)] {
            let (connection, session) = (owner, owner);
            check(Owed::PubAck {
                connection,
                packet_id,
            });
            check(Owed::Denial {
                connection,
                packet_id,
            });
            check(Owed::PubRec { session, packet_id });
            check(Owed::PubComp { session, packet_id });
        }
    }
}
