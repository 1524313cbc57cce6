//! Takes syslog over UDP and TCP.
