//! Records of a small plant, sent the way real ones come: MQTT, syslog and a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use rumqttc::{AsyncClient, EventLoop, MqttOptions, QoS};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};

use super::Place;

/// One round of records is sent so often.
const ROUND: Duration = Duration::from_millis(100);

/// So many of each kind in a round.
const RECORDS_A_ROUND: u64 = 10;

/// Sends for ever.
pub(super) fn feed(place: &Place) -> impl Future<Output = ()> + 'static {
    let (mqtt_port, syslog_port, log) = (place.mqtt, place.syslog, place.log_file());
    async move {
        let mut options =
            MqttOptions::new("demo-device", Ipv4Addr::LOCALHOST.to_string(), mqtt_port);
        options.set_keep_alive(Duration::from_secs(30));
        let (client, events) = AsyncClient::new(options, 64);
        let Ok(syslog) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else {
            return;
        };
        tokio::select! {
            () = poll(events) => {}
            () = send(client, syslog, syslog_port, log) => {}
        }
    }
}

/// Keeps the device's connection going, over every loss.
async fn poll(mut events: EventLoop) {
    loop {
        if events.poll().await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn send(client: AsyncClient, syslog: UdpSocket, syslog_port: u16, log: PathBuf) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut count: u64 = 0;
    loop {
        rounds.tick().await;
        let mut lines = String::new();
        for _ in 0..RECORDS_A_ROUND {
            count += 1;
            let line = count % 4;
            let temperature = 200 + count * 7 % 60;
            let json = format!(
                "{{\"line\":{line},\"count\":{count},\"temperature\":{}.{},\"ok\":{}}}",
                temperature / 10,
                temperature % 10,
                !count.is_multiple_of(17)
            );
            let topic = format!("plant/line-{line}/telemetry");
            if client
                .publish(topic, QoS::AtLeastOnce, false, json.as_bytes())
                .await
                .is_err()
            {
                return;
            }
            let message = format!("<30>1 - gateway plc-{line} {count} - - cycle {count} finished");
            // The kernel may refuse a datagram; there are more.
            drop(
                syslog
                    .send_to(message.as_bytes(), (Ipv4Addr::LOCALHOST, syslog_port))
                    .await,
            );
            lines.push_str(&json);
            lines.push('\n');
        }
        let written = OpenOptions::new()
            .append(true)
            .open(&log)
            .and_then(|mut file| file.write_all(lines.as_bytes()));
        if written.is_err() {
            return;
        }
    }
}
