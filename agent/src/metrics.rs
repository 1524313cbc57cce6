//! The counters as Prometheus text, on a loopback address.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::overview::Overview;
use crate::telemetry::{BufferStatus, DestinationStatus, SourceStatus, Status};

/// How long one scrape may take.
const SCRAPE_MAX: Duration = Duration::from_secs(10);

/// Answers `GET /metrics` for ever, one scraper after the other.
pub(crate) async fn serve(listener: TcpListener, overview: Rc<Overview>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "metrics");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let service = service_fn(|request| answer(request, Rc::clone(&overview)));
        let connection = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .max_buf_size(8 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        // A scraper that went away comes again.
        drop(timeout(SCRAPE_MAX, connection).await);
    }
}

async fn answer(
    request: Request<Incoming>,
    overview: Rc<Overview>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.uri().path(), overview.status().await) {
        ("/metrics", Ok(status)) => (StatusCode::OK, render(&status)),
        ("/metrics", Err(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store has ended\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "counters are at /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"),
    );
    Ok(response)
}

/// The Prometheus text exposition format, version 0.0.4.
pub(crate) fn render(status: &Status) -> String {
    let mut text = String::new();
    family(&mut text, UPTIME, "gauge", "Since the start.");
    sample(&mut text, UPTIME, &[], status.uptime_s);
    family(&mut text, CLOCK, "gauge", "1 while the time is known.");
    sample(&mut text, CLOCK, &[], u64::from(status.clock.synced));
    for (name, kind, help, value) in BUFFER_METRICS {
        family(&mut text, name, kind, help);
        for (buffer, status) in &status.buffers {
            sample(&mut text, name, &[("buffer", buffer)], value(status));
        }
    }
    for (name, kind, help, value) in SOURCE_METRICS {
        family(&mut text, name, kind, help);
        for (source, status) in &status.sources {
            sample(&mut text, name, &[("source", source)], value(status));
        }
    }
    for (name, kind, help, value) in DESTINATION_METRICS {
        family(&mut text, name, kind, help);
        for (destination, status) in &status.destinations {
            sample(
                &mut text,
                name,
                &[("destination", destination)],
                value(status),
            );
        }
    }
    family(
        &mut text,
        REFUSED_BY,
        "counter",
        "What was turned away, by reason.",
    );
    for (source, status) in &status.sources {
        for (reason, count) in &status.refused_by {
            let labels = [("source", source.as_str()), ("reason", reason.as_str())];
            sample(&mut text, REFUSED_BY, &labels, *count);
        }
    }
    family(
        &mut text,
        EVICTED,
        "counter",
        "Records that made room before they were delivered.",
    );
    for (destination, status) in &status.destinations {
        for (source, count) in &status.evicted_by_source {
            let labels = [
                ("destination", destination.as_str()),
                ("source", source.as_str()),
            ];
            sample(&mut text, EVICTED, &labels, *count);
        }
    }
    text
}

const REFUSED_BY: &str = "source_refused_by_reason_total";

const EVICTED: &str = "destination_evicted_total";

type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

const UPTIME: &str = "uptime_seconds";

const CLOCK: &str = "clock_synced";

const BUFFER_METRICS: [Metric<BufferStatus>; 12] = [
    ("buffer_capacity_bytes", "gauge", "Size of the ring.", |s| {
        s.capacity_bytes
    }),
    (
        "buffer_used_bytes",
        "gauge",
        "Bytes that hold entries.",
        |s| s.used_bytes,
    ),
    ("buffer_next_seq", "gauge", "Entries ever appended.", |s| {
        s.next_seq
    }),
    (
        "buffer_durable_seq",
        "gauge",
        "Entries ever made durable.",
        |s| s.durable_seq,
    ),
    (
        "buffer_written_bytes_total",
        "counter",
        "Written to disk.",
        |s| s.written_bytes,
    ),
    ("buffer_syncs_total", "counter", "Syncs.", |s| s.syncs),
    (
        "buffer_written_bytes_ever_total",
        "counter",
        "Written to disk in all the ring's life.",
        |s| s.wear.written_bytes_ever,
    ),
    (
        "buffer_syncs_ever_total",
        "counter",
        "Syncs in all the ring's life.",
        |s| s.wear.syncs_ever,
    ),
    (
        "buffer_sync_pause_ms",
        "gauge",
        "How long the write budget keeps syncs apart.",
        |s| s.wear.sync_pause_ms.unwrap_or(0),
    ),
    (
        "buffer_write_budget_exceeded",
        "gauge",
        "1 while the write budget cannot be kept.",
        |s| u64::from(s.wear.budget_exceeded),
    ),
    (
        "buffer_first_seq",
        "gauge",
        "The oldest entry that is kept.",
        |s| s.first_seq,
    ),
    (
        "buffer_blocked",
        "gauge",
        "1 while sources wait for room.",
        |s| u64::from(s.blocked),
    ),
];

const SOURCE_METRICS: [Metric<SourceStatus>; 13] = [
    (
        "source_received_total",
        "counter",
        "Records taken in.",
        |s| s.received,
    ),
    (
        "source_received_bytes_total",
        "counter",
        "Payload bytes.",
        |s| s.received_bytes,
    ),
    (
        "source_filtered_total",
        "counter",
        "Records a transform let go.",
        |s| s.filtered,
    ),
    (
        "source_stored_total",
        "counter",
        "Records in the ring.",
        |s| s.stored,
    ),
    (
        "source_decode_errors_total",
        "counter",
        "Records kept raw.",
        |s| s.decode_errors,
    ),
    ("source_cut_total", "counter", "Records cut.", |s| s.cut),
    (
        "source_refused_total",
        "counter",
        "What was turned away.",
        |s| s.refused,
    ),
    ("source_connections", "gauge", "Connections.", |s| {
        s.connections
    }),
    (
        "source_reconnects_total",
        "counter",
        "Connections made again.",
        |s| s.reconnects,
    ),
    (
        "source_starting",
        "gauge",
        "1 until it takes what comes.",
        |s| u64::from(s.starting),
    ),
    (
        "source_sessions_lost_total",
        "counter",
        "Sessions that a broker had forgotten.",
        |s| s.sessions_lost,
    ),
    (
        "source_waiting_for_space",
        "gauge",
        "1 while its buffer is full and takes nothing more.",
        |s| u64::from(s.waiting_for_space),
    ),
    (
        "source_failing",
        "gauge",
        "1 while the status shows an error.",
        |s| u64::from(s.error.is_some()),
    ),
];

const DESTINATION_METRICS: [Metric<DestinationStatus>; 23] = [
    (
        "destination_waiting",
        "gauge",
        "Records still to be taken.",
        |d| d.waiting,
    ),
    (
        "destination_delivered_total",
        "counter",
        "Records accepted.",
        |d| d.delivered,
    ),
    (
        "destination_delivered_by_fallback_total",
        "counter",
        "Records its fallback accepted in its place.",
        |d| d.delivered_by_fallback,
    ),
    (
        "destination_dead_letters_sent_total",
        "counter",
        "Records of dead letters sent out of their files.",
        |d| d.dead_letters_sent,
    ),
    (
        "destination_paced_ms_total",
        "counter",
        "How long calls waited to keep within the quota.",
        |d| d.paced_ms,
    ),
    (
        "destination_on_fallback",
        "gauge",
        "1 while records go out by way of the fallback.",
        |d| u64::from(d.is_on_fallback),
    ),
    (
        "destination_rejected_total",
        "counter",
        "Records refused.",
        |d| d.rejected,
    ),
    (
        "destination_filtered_total",
        "counter",
        "Records a transform let go.",
        |d| d.filtered,
    ),
    (
        "destination_replayed_total",
        "counter",
        "Records delivered once more because somebody asked for it.",
        |d| d.replayed,
    ),
    (
        "destination_stretches",
        "gauge",
        "Backlogs and replays under way.",
        |d| u64::try_from(d.stretches.len()).unwrap_or(u64::MAX),
    ),
    (
        "destination_truncated_total",
        "counter",
        "Records the disk lost.",
        |d| d.truncated,
    ),
    (
        "destination_oldest_waiting_ms",
        "gauge",
        "Age of the oldest waiting record.",
        |d| d.oldest_waiting_ms.unwrap_or(0),
    ),
    ("destination_requests_total", "counter", "Requests.", |d| {
        d.requests
    }),
    (
        "destination_failures_total",
        "counter",
        "Requests not accepted.",
        |d| d.failures,
    ),
    (
        "destination_sent_bytes_total",
        "counter",
        "Accepted bytes as sent.",
        |d| d.sent_bytes,
    ),
    (
        "destination_raw_bytes_total",
        "counter",
        "Accepted bytes before compression.",
        |d| d.raw_bytes,
    ),
    (
        "destination_billed_bytes_total",
        "counter",
        "Bytes that the service bills for what it took.",
        |d| d.billed_bytes,
    ),
    (
        "destination_concurrency",
        "gauge",
        "Calls that may be under way at a time.",
        |d| d.concurrency,
    ),
    (
        "destination_corrected_total",
        "counter",
        "Records delivered with a time that was put right.",
        |d| d.corrected,
    ),
    (
        "destination_dead_letters_removed_total",
        "counter",
        "Dead letter files that made room.",
        |d| d.dead_letters_removed,
    ),
    (
        "destination_peer_certificate_expires_timestamp_seconds",
        "gauge",
        "When the server's certificate ends; 0 while that is not known.",
        |d| d.peer_certificate_expires_s.unwrap_or(0),
    ),
    (
        "destination_own_certificate_expires_timestamp_seconds",
        "gauge",
        "When the certificate ends that is shown to the server; 0 where there is none.",
        |d| d.own_certificate_expires_s.unwrap_or(0),
    ),
    (
        "destination_failing",
        "gauge",
        "1 while the status shows an error.",
        |d| u64::from(d.error.is_some()),
    ),
];

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    push(
        text,
        format_args!("# HELP hydrant_{name} {help}\n# TYPE hydrant_{name} {kind}\n"),
    );
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    push(text, format_args!("hydrant_{name}"));
    for (index, (label, value)) in labels.iter().enumerate() {
        let open = if index == 0 { '{' } else { ',' };
        push(text, format_args!("{open}{label}=\"{}\"", escaped(value)));
    }
    push(
        text,
        format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }),
    );
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    text.write_fmt(arguments).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_counters_are_there() {
        let mut status = Status::default();
        let destination = DestinationStatus {
            delivered: 7,
            evicted_by_source: [("a\"b".to_owned(), 3)].into(),
            ..DestinationStatus::default()
        };
        status.destinations.insert("lake".to_owned(), destination);
        let text = render(&status);
        assert!(text.contains("hydrant_destination_delivered_total{destination=\"lake\"} 7\n"));
        assert!(text.contains("{destination=\"lake\",source=\"a\\\"b\"} 3\n"));
    }
}
