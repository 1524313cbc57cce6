//! The number of a receipt: which acknowledgement is owed, and where it belongs.

use pipeline::receipt::Receipt;

/// What is owed for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "they are the names of packets")]
pub(super) enum Owed {
    /// PUBACK, on the connection it came by and on no other.
    PubAck {
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
    /// PUBCOMP, on whichever connection the session has. Packet 0, which does not exist, stands
    /// for all that was found on a connection to be held no more.
    PubComp {
        /// The session, or that connection.
        session: u32,
        /// The packet.
        packet_id: u16,
    },
}

impl Owed {
    /// As a receipt.
    pub(super) fn receipt(self) -> Receipt {
        let (kind, owner, packet_id) = match self {
            Self::PubAck {
                connection,
                packet_id,
            } => (0, connection, packet_id),
            Self::PubRec { session, packet_id } => (PUBREC, session, packet_id),
            Self::PubComp { session, packet_id } => (PUBCOMP, session, packet_id),
        };
        Receipt::new(kind | (u64::from(owner) << 16) | u64::from(packet_id))
    }

    /// Of a receipt that came back.
    pub(super) fn of(receipt: Receipt) -> Self {
        let number = receipt.into_number();
        let packet_id = u16::try_from(number & 0xffff).unwrap_or(0);
        let owner = u32::try_from((number >> 16) & 0xffff_ffff).unwrap_or(0);
        if number & PUBCOMP != 0 {
            Self::PubComp {
                session: owner,
                packet_id,
            }
        } else if number & PUBREC != 0 {
            Self::PubRec {
                session: owner,
                packet_id,
            }
        } else {
            Self::PubAck {
                connection: owner,
                packet_id,
            }
        }
    }
}

const PUBREC: u64 = 1 << 48;
const PUBCOMP: u64 = 1 << 49;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_it_was_made_of() {
        let check = |owed: Owed| assert_eq!(Owed::of(owed.receipt()), owed);
        for (owner, packet_id) in [(0, 1), (u32::MAX, u16::MAX), (7, 0x1234)] {
            check(Owed::PubAck {
                connection: owner,
                packet_id,
            });
            check(Owed::PubRec {
                session: owner,
                packet_id,
            });
            check(Owed::PubComp {
                session: owner,
                packet_id,
            });
        }
    }
}
