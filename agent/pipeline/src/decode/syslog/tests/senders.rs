//! Lines as senders really write them, by make.

use super::check;

/// Each message is of facility `user` and severity `notice` if it begins with `<13>`.
fn check_all(cases: &[(&str, &str)]) {
    for (message, expected) in cases {
        check(message, expected);
    }
}

#[test]
fn real_hosts() {
    let cases = [
        // util-linux logger.
        (
            "<13>Nov 23 16:39:58 gateway root: hello",
            "facility=user severity=notice host=gateway app=root @2026-11-23T16:39:58.000Z | hello",
        ),
        (
            "<13>1 2026-11-23T16:39:58.123456+00:00 gateway root - - [timeQuality tzKnown=\"1\" isSynced=\"0\"] hello",
            "facility=user severity=notice host=gateway app=root structured_data={timeQuality={tzKnown=1 isSynced=0}} @2026-11-23T16:39:58.123Z | hello",
        ),
        // rsyslog, RSYSLOG_ForwardFormat.
        (
            "<86>2026-11-23T17:39:58.123456+01:00 pi sshd[812]: Accepted publickey for pi",
            "facility=authpriv severity=info host=pi app=sshd procid=812 @2026-11-23T16:39:58.123Z | Accepted publickey for pi",
        ),
        // To the local socket: no host.
        (
            "<30>Nov  3 06:25:01 dnsmasq-dhcp[455]: DHCPACK(br0) 192.168.1.7 aa:bb:cc:dd:ee:ff",
            "facility=daemon severity=info app=dnsmasq-dhcp procid=455 @2026-11-03T06:25:01.000Z | DHCPACK(br0) 192.168.1.7 aa:bb:cc:dd:ee:ff",
        ),
        // busybox syslogd -R, with and without host.
        (
            "<13>Nov 23 16:39:58 root: from busybox",
            "facility=user severity=notice app=root @2026-11-23T16:39:58.000Z | from busybox",
        ),
        (
            "<46>Nov 23 16:39:58 ap1 syslogd started: BusyBox v1.36.1",
            "facility=syslog severity=info host=ap1 @2026-11-23T16:39:58.000Z | syslogd started: BusyBox v1.36.1",
        ),
        // OpenWrt logread -r, NUL at the end.
        (
            "<30>Nov 23 16:39:58 OpenWrt dnsmasq[2100]: query[A] example.com from 10.0.0.2\0",
            "facility=daemon severity=info host=OpenWrt app=dnsmasq procid=2100 @2026-11-23T16:39:58.000Z | query[A] example.com from 10.0.0.2",
        ),
        (
            "<6>Nov 23 16:39:58 OpenWrt kernel: [   12.345] br-lan: port 1",
            "facility=kern severity=info host=OpenWrt app=kernel @2026-11-23T16:39:58.000Z | [   12.345] br-lan: port 1",
        ),
    ];
    for (message, expected) in cases {
        check(message, expected);
    }
}

#[test]
fn real_network_devices() {
    let cases = [
        // Cisco IOS.
        (
            "<189>45: *Nov 23 16:39:58.123 UTC: %SYS-5-CONFIG_I: Configured from console",
            "facility=local7 severity=notice sequence=45 app=%SYS-5-CONFIG_I @2026-11-23T16:39:58.123Z | Configured from console",
        ),
        (
            "<189>46: edge-1: .Mar  1 2024 00:00:00 CET: %LINK-3-UPDOWN: Interface Gi0/1, changed state to up",
            "facility=local7 severity=notice sequence=46 host=edge-1 app=%LINK-3-UPDOWN @2024-03-01T00:00:00.000Z | Interface Gi0/1, changed state to up",
        ),
        // Cisco ASA.
        (
            "<166>Mar 01 2024 10:10:10 asa : %ASA-6-302013: Built outbound TCP connection 1",
            "facility=local4 severity=info host=asa app=%ASA-6-302013 @2024-03-01T10:10:10.000Z | Built outbound TCP connection 1",
        ),
        (
            "<166>Mar 01 2024 10:10:10: %ASA-6-302013: Built",
            "facility=local4 severity=info app=%ASA-6-302013 @2024-03-01T10:10:10.000Z | Built",
        ),
        // Juniper, both formats.
        (
            "<28>Nov 23 16:39:58 mx80 mgd[4321]: UI_CMDLINE_READ_LINE: User 'x', command 'show'",
            "facility=daemon severity=warning host=mx80 app=mgd procid=4321 @2026-11-23T16:39:58.000Z | UI_CMDLINE_READ_LINE: User 'x', command 'show'",
        ),
        (
            "<165>1 2026-11-23T16:39:58.578Z srx100 RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.36 source-address=\"10.1.1.2\" policy-name=\"a\\]b\"] session created",
            "facility=local4 severity=notice host=srx100 app=RT_FLOW msgid=RT_FLOW_SESSION_CREATE structured_data={junos@2636.1.1.1.2.36={source-address=10.1.1.2 policy-name=a]b}} @2026-11-23T16:39:58.578Z | session created",
        ),
        (
            "<29>Nov 23 16:39:58 mx80 last message repeated 2 times",
            "facility=daemon severity=notice host=mx80 @2026-11-23T16:39:58.000Z | last message repeated 2 times",
        ),
        // Meraki.
        (
            "<134>1 1563249630.774247772 MX84 events type=vpn",
            "facility=local0 severity=info host=MX84 @2019-07-16T04:00:30.774Z | events type=vpn",
        ),
        // ctime, and RFC 3164 section 5.4 example 3.
        (
            "<30>Mon Nov 23 16:39:58 2026 gw app: x",
            "facility=daemon severity=info host=gw app=app @2026-11-23T16:39:58.000Z | x",
        ),
        (
            "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time",
            "facility=local4 severity=notice host=mymachine app=myproc procid=10 @1987-08-24T05:34:00.000Z | %% It's time",
        ),
    ];
    for (message, expected) in cases {
        check(message, expected);
    }
}

#[test]
fn cisco_ios() {
    let head = "facility=local7 severity=notice";
    for (message, expected) in [
        // With `logging origin-id`, a message counter and the device's own numbers.
        (
            "20: edge-1: 6340004: *Nov 23 16:39:58: %SEC-6-IPACCESSLOGP: list 1 permitted",
            "sequence=20 device_sequence=6340004 host=edge-1 app=%SEC-6-IPACCESSLOGP @2026-11-23T16:39:58.000Z | list 1 permitted",
        ),
        (
            "22191: 022546: .Nov 23 16:39:58.590 EDT: %PARSER-5-CFGLOG_LOGGEDCMD: User:x  logged command",
            "sequence=22191 device_sequence=022546 app=%PARSER-5-CFGLOG_LOGGEDCMD @2026-11-23T16:39:58.590Z | User:x  logged command",
        ),
        (
            "364241: Nov 23 16:39:58.814 GMT: %ADJ-3-RESOLVE_REQ: Adj resolve request: Failed",
            "sequence=364241 app=%ADJ-3-RESOLVE_REQ @2026-11-23T16:39:58.814Z | Adj resolve request: Failed",
        ),
        (
            "*Mar  1 2026 00:00:00.123: %SYS-5-CONFIG_I: Configured from console by vty0 (192.0.2.9)",
            "app=%SYS-5-CONFIG_I @2026-03-01T00:00:00.123Z | Configured from console by vty0 (192.0.2.9)",
        ),
        (
            "45: *Mar  1 00:00:00.123: %SYS-5-CONFIG_I: Configured from console",
            "sequence=45 app=%SYS-5-CONFIG_I @2027-03-01T00:00:00.123Z | Configured from console",
        ),
        // A wireless controller.
        (
            "wlc-1: *spamApTask1: Nov 23 16:39:58.958: %CAPWAP-4-DISC_INTF_ERR2: [PA]capwap_ac_sm.c:2053 Ignoring",
            "host=wlc-1 procid=spamApTask1 app=%CAPWAP-4-DISC_INTF_ERR2 @2026-11-23T16:39:58.958Z | [PA]capwap_ac_sm.c:2053 Ignoring",
        ),
        // Without a clock: uptime, or nothing.
        (
            "20: edge-1: 00:01:01: %SYS-5-RESTART: System restarted --",
            "sequence=20 host=edge-1 uptime=00:01:01 app=%SYS-5-RESTART | System restarted --",
        ),
        (
            "21: 2d03h: %LINK-3-UPDOWN: Interface Vlan1, changed state to up",
            "sequence=21 uptime=2d03h app=%LINK-3-UPDOWN | Interface Vlan1, changed state to up",
        ),
        (
            "1w2d: %SYSMGR-STANDBY-3-SHUTDOWN_START: has started",
            "uptime=1w2d app=%SYSMGR-STANDBY-3-SHUTDOWN_START | has started",
        ),
        (
            "%SYS-5-CONFIG_I: Configured",
            "app=%SYS-5-CONFIG_I | Configured",
        ),
    ] {
        check(format!("<189>{message}"), &format!("{head} {expected}"));
    }
}

#[test]
fn cisco_nx_os_and_others() {
    check_all(&[
        (
            "<187>: 2026 Nov 23 16:39:58 UTC: %ETHPORT-5-IF_DOWN_LINK_FAILURE: Interface Ethernet1/4 is down (Link failure)",
            "facility=local7 severity=err app=%ETHPORT-5-IF_DOWN_LINK_FAILURE @2026-11-23T16:39:58.000Z | Interface Ethernet1/4 is down (Link failure)",
        ),
        (
            "<189>nx-1: 2026 Nov 23 16:39:58.637 CDT: %MODULE-2-MOD_SOMEPORTS_FAILED: Module 13",
            "facility=local7 severity=notice host=nx-1 app=%MODULE-2-MOD_SOMEPORTS_FAILED @2026-11-23T16:39:58.637Z | Module 13",
        ),
        (
            "<189> Nov  1 14:07:58 nx-2 %MODULE-5-MOD_OK: Module 1 is online",
            "facility=local7 severity=notice host=nx-2 app=%MODULE-5-MOD_OK @2026-11-01T14:07:58.000Z | Module 1 is online",
        ),
        // ACI writes months in full.
        (
            "<11>November 22 22:45:28 apic1 %LOG_LOCAL0-2-SYSTEM_MSG [F0110][soaking] Node 102 not reachable",
            "facility=user severity=err host=apic1 @2026-11-22T22:45:28.000Z | %LOG_LOCAL0-2-SYSTEM_MSG [F0110][soaking] Node 102 not reachable",
        ),
        // IOS XR.
        (
            "<189>34: RP/0/RSP0/CPU0:Nov 23 16:39:58.123 : config[65743]: %MGBL-CONFIG-6-DB_COMMIT : Configuration committed",
            "facility=local7 severity=notice sequence=34 node=RP/0/RSP0/CPU0 app=config procid=65743 @2026-11-23T16:39:58.123Z | %MGBL-CONFIG-6-DB_COMMIT : Configuration committed",
        ),
        (
            "<189>35: xr-1 RP/0/RP0/CPU0: Nov 23 16:39:58.123 UTC: ifmgr[1]: %PKT_INFRA-LINK-3-UPDOWN : up",
            "facility=local7 severity=notice | 35: xr-1 RP/0/RP0/CPU0: Nov 23 16:39:58.123 UTC: ifmgr[1]: %PKT_INFRA-LINK-3-UPDOWN : up",
        ),
        // ASA and FTD.
        (
            "<166>:Nov 23 16:39:58 UTC: %ASA-6-302015: Built outbound UDP connection",
            "facility=local4 severity=info app=%ASA-6-302015 @2026-11-23T16:39:58.000Z | Built outbound UDP connection",
        ),
        (
            "<166>2026-11-23T16:39:58Z asa : %ASA-3-710003: TCP access denied",
            "facility=local4 severity=info host=asa app=%ASA-3-710003 @2026-11-23T16:39:58.000Z | TCP access denied",
        ),
        (
            "<118>2026-11-23T16:39:58Z %FTD-6-430003: AccessControlRuleAction: Allow",
            "facility=alert severity=info app=%FTD-6-430003 @2026-11-23T16:39:58.000Z | AccessControlRuleAction: Allow",
        ),
        (
            "2026-11-23T16:39:58Z ftd-1  %FTD-6-430003: AccessControlRuleAction: Allow",
            "host=ftd-1 app=%FTD-6-430003 @2026-11-23T16:39:58.000Z | AccessControlRuleAction: Allow",
        ),
        (
            "<166>%ASA-6-305011: Built dynamic TCP translation",
            "facility=local4 severity=info app=%ASA-6-305011 | Built dynamic TCP translation",
        ),
    ]);
}

#[test]
fn other_firewalls_and_hypervisors() {
    check_all(&[
        (
            "<189>date=2026-11-23 time=17:39:58 devname=\"FGT-1\" devid=\"FG100\" logid=\"0000000013\" type=\"traffic\" tz=\"+0100\" srcip=192.0.2.4",
            "facility=local7 severity=notice host=FGT-1 @2026-11-23T16:39:58.000Z | date=2026-11-23 time=17:39:58 devname=\"FGT-1\" devid=\"FG100\" logid=\"0000000013\" type=\"traffic\" tz=\"+0100\" srcip=192.0.2.4",
        ),
        (
            "<190>date=2026-11-23 time=16:39:58 logid=\"1\"",
            "facility=local7 severity=info @2026-11-23T16:39:58.000Z | date=2026-11-23 time=16:39:58 logid=\"1\"",
        ),
        (
            "<190>date=yesterday",
            "facility=local7 severity=info | date=yesterday",
        ),
        (
            "<14>Nov 23 16:39:58 PA-VM300 1,2026/11/23 16:39:58,007200001056,TRAFFIC,end,1",
            "facility=user severity=info host=PA-VM300 @2026-11-23T16:39:58.000Z | 1,2026/11/23 16:39:58,007200001056,TRAFFIC,end,1",
        ),
        (
            "<190>Nov 23 16:39:58 1,2026/11/23 16:39:58,01606001116,THREAT,url",
            "facility=local7 severity=info @2026-11-23T16:39:58.000Z | 1,2026/11/23 16:39:58,01606001116,THREAT,url",
        ),
        // Panorama, with a version that is none.
        (
            "<14>1 Nov 23 16:39:58 panorama 1,2026/11/23 16:39:58,0072,SYSTEM,auth",
            "facility=user severity=info host=panorama @2026-11-23T16:39:58.000Z | 1,2026/11/23 16:39:58,0072,SYSTEM,auth",
        ),
        (
            "<14>1 2026-11-23T12:39:58-04:00 pa.example - - - - 1,2026/11/23 12:39:58,0072,TRAFFIC",
            "facility=user severity=info host=pa.example @2026-11-23T16:39:58.000Z | 1,2026/11/23 12:39:58,0072,TRAFFIC",
        ),
        // ESXi: a time of RFC 3339 in a frame of RFC 3164.
        (
            "<166>2026-11-23T16:39:58.479Z esxi.example Hostd: info hostd[2099] [Originator@6876 sub=Vimsvc] Event 616 : Created",
            "facility=local4 severity=info host=esxi.example app=Hostd @2026-11-23T16:39:58.479Z | info hostd[2099] [Originator@6876 sub=Vimsvc] Event 616 : Created",
        ),
        (
            "<14>2026-11-23T16:39:58.749Z esxi.example cmmdsTimeMachineDump: 1644579494.944824,527e,2,{\"a\": 1}",
            "facility=user severity=info host=esxi.example app=cmmdsTimeMachineDump @2026-11-23T16:39:58.749Z | 1644579494.944824,527e,2,{\"a\": 1}",
        ),
        (
            "<46>1 2026-11-23T16:39:58.403Z nsx-1 NSX 5996 SYSTEM [nsx@6876 comp=\"nsx-manager\" errorCode=\"MP4039\"] Connection verification failed",
            "facility=syslog severity=info host=nsx-1 app=NSX procid=5996 msgid=SYSTEM structured_data={nsx@6876={comp=nsx-manager errorCode=MP4039}} @2026-11-23T16:39:58.403Z | Connection verification failed",
        ),
        // pfSense.
        (
            "<134>1 2026-11-23T16:39:58.123456+00:00 fw.lan filterlog 8321 - - 5,,,1000000103,igb0,match,block",
            "facility=local0 severity=info host=fw.lan app=filterlog procid=8321 @2026-11-23T16:39:58.123Z | 5,,,1000000103,igb0,match,block",
        ),
    ]);
}

#[test]
fn routers_access_points_and_storage() {
    check_all(&[
        // MikroTik with `bsd-syslog=yes`.
        (
            "<132>Nov 23 16:39:58 MikroTik firewall,info forward: in:ether1 out:bridge, proto TCP (SYN), 192.0.2.1:62583->198.51.100.1:8000, len 64",
            "facility=local0 severity=warning host=MikroTik @2026-11-23T16:39:58.000Z | firewall,info forward: in:ether1 out:bridge, proto TCP (SYN), 192.0.2.1:62583->198.51.100.1:8000, len 64",
        ),
        (
            "<30>Nov 23 16:39:58 edge-router : system,info,account user admin logged in",
            "facility=daemon severity=info host=edge-router @2026-11-23T16:39:58.000Z | system,info,account user admin logged in",
        ),
        // UniFi: model, address and firmware are the host.
        (
            "<30>Nov 23 16:39:58 U7PG2,788a2056b181,v4.0.66.10832: logread[5495]: Logread connected",
            "facility=daemon severity=info host=U7PG2,788a2056b181,v4.0.66.10832 app=logread procid=5495 @2026-11-23T16:39:58.000Z | Logread connected",
        ),
        (
            "<27>Nov 23 16:39:58 US8P60,18e8294876c3,v4.0.66.10832 switch: DOT1S: Discarding the BPDU",
            "facility=daemon severity=err host=US8P60,18e8294876c3,v4.0.66.10832 app=switch @2026-11-23T16:39:58.000Z | DOT1S: Discarding the BPDU",
        ),
        (
            "<30>Nov 23 16:39:58 788a2056b183,v4.0.66.10832: logread[5495]: connected",
            "facility=daemon severity=info host=788a2056b183,v4.0.66.10832 app=logread procid=5495 @2026-11-23T16:39:58.000Z | connected",
        ),
        (
            "<4>Nov 23 16:39:58 USG kernel: [LAN_LOCAL-default-A]IN=eth0.2004 OUT= MAC= SRC=192.0.2.1",
            "facility=kern severity=warning host=USG app=kernel @2026-11-23T16:39:58.000Z | [LAN_LOCAL-default-A]IN=eth0.2004 OUT= MAC= SRC=192.0.2.1",
        ),
        // Synology, both formats.
        (
            "<14>Nov 23 16:39:58 DiskStation Connection: User [admin] from [192.0.2.5] logged in via [DSM].",
            "facility=user severity=info host=DiskStation app=Connection @2026-11-23T16:39:58.000Z | User [admin] from [192.0.2.5] logged in via [DSM].",
        ),
        (
            "<14>1 2026-11-23T17:39:58+01:00 DiskStation Connection - - [synolog@6574 event_id=\"0x0001\" username=\"admin\"][meta sequenceId=\"5\"] \u{feff}User [admin]",
            "facility=user severity=info host=DiskStation app=Connection structured_data={synolog@6574={event_id=0x0001 username=admin} meta={sequenceId=5}} @2026-11-23T16:39:58.000Z | User [admin]",
        ),
        // Junos with `time-format year millisecond`, and with `explicit-priority`.
        (
            "<28>Nov 23 16:39:58.456 2026 mx80 mgd[4321]: %DAEMON-4-UI_CMDLINE: User 'x'",
            "facility=daemon severity=warning host=mx80 app=mgd procid=4321 @2026-11-23T16:39:58.456Z | %DAEMON-4-UI_CMDLINE: User 'x'",
        ),
        // A switch of HPE.
        (
            "<134>Nov 23 16:39:58 192.0.2.8 00076 ports: port 3 is now on-line",
            "facility=local0 severity=info host=192.0.2.8 @2026-11-23T16:39:58.000Z | 00076 ports: port 3 is now on-line",
        ),
        // dnsmasq with `log-facility` and `log-queries=extra`.
        (
            "<30>Nov 23 16:39:58 dnsmasq[455]: 27 192.0.2.7/51021 query[A] example.com from 192.0.2.7",
            "facility=daemon severity=info app=dnsmasq procid=455 @2026-11-23T16:39:58.000Z | 27 192.0.2.7/51021 query[A] example.com from 192.0.2.7",
        ),
        // Docker's driver.
        (
            "<30>Nov 23 16:39:58 gw docker/3f5a[712]: started",
            "facility=daemon severity=info host=gw app=docker/3f5a procid=712 @2026-11-23T16:39:58.000Z | started",
        ),
        // systemd-netlogd.
        (
            "<30>1 2026-11-23T16:39:58.123456+00:00 gw systemd 1 - - Started Foo.",
            "facility=daemon severity=info host=gw app=systemd procid=1 @2026-11-23T16:39:58.123Z | Started Foo.",
        ),
    ]);
}

/// The message has a priority and no more: no word of it is an app or a host.
#[test]
fn known_errors_rsyslog_5098_no_header() {
    check(
        "<38>User logged into the appliance. User: bmagistro.",
        "facility=auth severity=info | User logged into the appliance. User: bmagistro.",
    );
    check(
        "<30>Network link has gone down on interface 1.",
        "facility=daemon severity=info | Network link has gone down on interface 1.",
    );
}
