//! The services are hardened, and nothing makes them give up or wait for a network.

use crate::tree::{check, files};

/// What each service has, whatever else it needs.
const HARDENING: &[&str] = &[
    "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    "LimitCORE=0",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    "User=hydrant",
];

/// What keeps a gateway running that nobody looks after.
const RESTARTS: &[&str] = &["Restart=always", "StartLimitIntervalSec=0", "Type=notify"];

#[test]
fn services_are_hardened_and_always_restart() {
    let mut breaches = Vec::new();
    for unit in files(&[".service"]) {
        for wanted in HARDENING.iter().chain(RESTARTS) {
            if !unit.text.lines().any(|line| line == *wanted) {
                breaches.push(format!("{} lacks {wanted}", unit.path));
            }
        }
        for line in unit.text.lines().filter(|line| !line.starts_with('#')) {
            if line.contains("network-online") || line.starts_with("RestartPreventExitStatus") {
                breaches.push(format!("{}: {line}", unit.path));
            }
        }
    }
    check("services are hardened and always restart", &breaches);
}
