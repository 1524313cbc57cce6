use serde_json::Value as Json;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::aws::{Endpoint, Push, RecordKey};
use super::super::{RetryClass, SeqRange, Unit, UnitFate, sigv4};
use super::*;
use crate::config::{AwsEndpoint, ByteSize, CredentialsConfig, Packing, Secret, TlsConfig};

fn config(packing: Packing, endpoint: Option<&str>) -> FirehoseConfig {
    FirehoseConfig {
        stream: "plant-telemetry".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: AwsEndpoint {
            url: endpoint.map(str::to_owned),
            ..AwsEndpoint::default()
        },
        packing,
        credentials: CredentialsConfig::Default {
            profile: None,
            file: None,
        },
        tls: TlsConfig::default(),
    }
}

fn lines(hint: u64) -> Packing {
    Packing::Lines {
        hint: ByteSize::bytes(hint),
    }
}

fn firehose(packing: Packing) -> Firehose {
    Firehose::new(&config(packing, None), Duration::from_secs(30))
}

fn packer(packing: Packing) -> Packer {
    firehose(packing).packer(Compression::None, 500, Seq::new(10))
}

fn unit(first: u64, end: u64, count: u32, filtered: u32) -> Unit {
    Unit {
        range: SeqRange::new(Seq::new(first), Seq::new(end)),
        count,
        filtered,
        fate: UnitFate::Sendable,
    }
}

/// The data of the Firehose records in a body, which must be the call of the API model.
fn data(body: &[u8]) -> Vec<Vec<u8>> {
    let call: Json = serde_json::from_slice(body).unwrap();
    assert_eq!(call["DeliveryStreamName"], "plant-telemetry");
    assert_eq!(call.as_object().unwrap().len(), 2);
    let records = call["Records"].as_array().unwrap();
    let decode = |record: &Json| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
    records.iter().map(decode).collect()
}

fn all(packed: &PackedUnits) -> Vec<usize> {
    (0..packed.units().len()).collect()
}

fn texts(packed: &PackedUnits, units: &[usize]) -> Vec<String> {
    let (body, hash) = packed.body(units);
    assert_eq!(hash, sigv4::sha256_hex(&body));
    data(&body)
        .into_iter()
        .map(|data| String::from_utf8(data).unwrap())
        .collect()
}

#[test]
fn lines_share_a_record_up_to_the_hint() {
    let mut packer = packer(lines(8));
    packer.handle_filtered();
    // 11 and 14 are not for this destination; 17 ends no line of its own.
    for (seq, line) in [
        (10, "abc\n"),
        (12, "def\n"),
        (13, "g\n"),
        (15, "larger than 8\n"),
        (17, "h"),
    ] {
        assert_eq!(
            packer.push(Seq::new(seq), line.as_bytes(), RecordKey::default()),
            Push::Taken
        );
    }
    packer.handle_filtered();
    packer.handle_filtered();
    assert_eq!(packer.data_bytes(), 26);
    let packed = packer.finish(Seq::new(20));
    let expected = [
        unit(10, 13, 2, 1),
        unit(13, 15, 1, 0),
        unit(15, 17, 1, 0),
        unit(17, 20, 1, 2),
    ];
    assert_eq!(packed.units(), expected);
    let texts_of = |units: &[usize]| texts(&packed, units);
    let whole = ["abc\ndef\n", "g\n", "larger than 8\n", "h\n"];
    assert_eq!(texts_of(&[0, 1, 2, 3]), whole);
    assert_eq!(texts_of(&[1, 3]), ["g\n", "h\n"]);
    assert_eq!(texts_of(&[0]), ["abc\ndef\n"]);
    assert_eq!(texts_of(&[3]), ["h\n"]);
}

#[test]
fn unpacked_records_stand_alone() {
    let mut packer = packer(Packing::None);
    for (seq, line) in [(10, "{}\n"), (11, "[]"), (12, "")] {
        assert_eq!(
            packer.push(Seq::new(seq), line.as_bytes(), RecordKey::default()),
            Push::Taken
        );
    }
    let packed = packer.finish(Seq::new(13));
    assert_eq!(packed.units().len(), 3);
    assert_eq!(texts(&packed, &all(&packed)), ["{}", "[]", ""]);
}

#[test]
fn nothing_to_send_still_covers_its_range() {
    let mut packer = packer(lines(8));
    packer.handle_filtered();
    let packed = packer.finish(Seq::new(20));
    assert_eq!(packed.units(), [unit(10, 20, 0, 1)]);
    assert_eq!(texts(&packed, &[]), Vec::<String>::new());
}

#[test]
fn full_call_ends_before_the_record() {
    let mut packer = firehose(Packing::None).packer(Compression::None, 2, Seq::new(10));
    assert_eq!(
        packer.push(Seq::new(10), b"a", RecordKey::default()),
        Push::Taken
    );
    assert_eq!(
        packer.push(Seq::new(11), b"b", RecordKey::default()),
        Push::Taken
    );
    assert_eq!(
        packer.push(Seq::new(15), b"c", RecordKey::default()),
        Push::Full
    );
    let packed = packer.finish(Seq::new(15));
    assert_eq!(packed.units(), [unit(10, 11, 1, 0), unit(11, 15, 1, 0)]);
    assert_eq!(texts(&packed, &all(&packed)), ["a", "b"]);
}

#[test]
fn nothing_overtakes_the_record_that_did_not_fit() {
    let mut packer = packer(lines(u64::MAX));
    let line = vec![b'x'; RECORD_BYTES_MAX - 1];
    for seq in 10..13 {
        assert_eq!(
            packer.push(Seq::new(seq), &line, RecordKey::default()),
            Push::Taken
        );
    }
    assert_eq!(
        packer.push(Seq::new(13), &line[..900_000], RecordKey::default()),
        Push::Taken
    );
    assert_eq!(
        packer.push(Seq::new(15), &line[..100_000], RecordKey::default()),
        Push::Full
    );
    assert_eq!(
        packer.push(Seq::new(16), b"", RecordKey::default()),
        Push::Full
    );
    packer.handle_filtered();
    let packed = packer.finish(Seq::new(20));
    assert_eq!(packed.units().last(), Some(&unit(13, 15, 1, 0)));
}

#[test]
fn limits_of_the_service_hold() {
    let check = |packing, compression, len: usize, expected_units: usize| {
        let mut packer = firehose(packing).packer(compression, u32::MAX, Seq::ZERO);
        let mut seq = Seq::ZERO;
        let mut noise = 1u32;
        loop {
            let line: Vec<u8> = (0..len)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    noise.to_le_bytes()[3]
                })
                .collect();
            if packer.push(seq, &line, RecordKey::default()) == Push::Full {
                break;
            }
            seq = seq.advance(1);
        }
        let packed = packer.finish(seq);
        let (body, _) = packed.body(&all(&packed));
        let data = data(&body);
        assert_eq!(data.len(), expected_units);
        assert!(data.len() <= CALL_UNITS_MAX);
        assert!(data.iter().all(|data| data.len() <= RECORD_BYTES_MAX));
        let bytes: usize = data.iter().map(Vec::len).sum();
        assert!(bytes <= CALL_BYTES_MAX, "{bytes}");
        let records: u32 = packed.units().iter().map(|unit| unit.count).sum();
        assert_eq!(u64::from(records), seq.get());
        assert_eq!(packed.units().last().unwrap().range.end, seq);
    };
    check(Packing::None, Compression::None, 10, CALL_UNITS_MAX);
    check(Packing::None, Compression::None, RECORD_BYTES_MAX, 3);
    check(lines(u64::MAX), Compression::None, 99_999, 4);
    check(lines(u64::MAX), Compression::None, 333_333, 4);
    check(lines(512_000), Compression::None, 99_999, 8);
    // What does not compress grows a little, and still fits.
    check(lines(u64::MAX), Compression::Gzip, 99_999, 4);
    check(lines(u64::MAX), Compression::Gzip, 1023, 4);
}

#[test]
fn record_larger_than_any_is_told_apart() {
    let mut packer = packer(lines(1000));
    let large = vec![b'x'; RECORD_BYTES_MAX];
    assert_eq!(
        packer.push(Seq::new(10), b"a", RecordKey::default()),
        Push::Taken
    );
    assert_eq!(
        packer.push(Seq::new(11), &large, RecordKey::default()),
        Push::Taken
    );
    assert_eq!(
        packer.push(Seq::new(12), b"b", RecordKey::default()),
        Push::Taken
    );
    let packed = packer.finish(Seq::new(13));
    let mut too_large = unit(11, 12, 1, 0);
    too_large.fate = UnitFate::TooLarge {
        bytes: 1_024_001,
        bytes_max: 1_024_000,
    };
    let expected = [unit(10, 11, 1, 0), too_large, unit(12, 13, 1, 0)];
    assert_eq!(packed.units(), expected);
    // What is sent are the others, whether asked for or because there are no more.
    assert_eq!(texts(&packed, &[0, 2]), ["a\n", "b\n"]);
    assert_eq!(texts(&packed, &[2]), ["b\n"]);
}

#[test]
fn compressed_records_are_members_that_follow_each_other() {
    let mut packer = firehose(lines(100)).packer(Compression::Gzip, 500, Seq::ZERO);
    // Larger than a Firehose record may be, and small when compressed.
    let large = vec![b'x'; RECORD_BYTES_MAX + 1];
    for (seq, line) in [(0, &b"abc"[..]), (1, b"def"), (2, &large)] {
        assert_eq!(
            packer.push(Seq::new(seq), line, RecordKey::default()),
            Push::Taken
        );
    }
    let packed = packer.finish(Seq::new(3));
    assert_eq!(packed.units(), [unit(0, 2, 2, 0), unit(2, 3, 1, 0)]);
    let (body, _) = packed.body(&all(&packed));
    let members = data(&body);
    let gunzip = |member: &[u8]| {
        assert_eq!(member[..4], [0x1f, 0x8b, 8, 0]);
        miniz_oxide::inflate::decompress_to_vec(&member[10..member.len() - 8]).unwrap()
    };
    assert_eq!(gunzip(&members[0]), b"abc\ndef\n");
    assert_eq!(gunzip(&members[1]).len(), RECORD_BYTES_MAX + 2);
}

#[test]
fn call_is_signed() {
    let firehose = firehose(lines(1000));
    let mut packer = firehose.packer(Compression::None, 500, Seq::ZERO);
    assert_eq!(
        packer.push(Seq::ZERO, b"x", RecordKey::default()),
        Push::Taken
    );
    let packed = packer.finish(Seq::new(1));
    let now = WallClock::from_millis(1_795_384_084_000);
    let keys = Credentials {
        access_key_id: "AK".to_owned(),
        secret_access_key: Secret::new("secret"),
        session_token: Some(Secret::new("token")),
    };
    let request = firehose.prepare(&packed, &[0], now, Some(&keys)).unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "https://firehose.eu-west-1.amazonaws.com/");
    let header = |name: &str| {
        let mut found = request.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} once");
        value
    };
    assert_eq!(header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(
        header("x-amz-target"),
        Some("Firehose_20150804.PutRecordBatch")
    );
    assert_eq!(header("x-amz-date"), Some("20261122T214804Z"));
    assert_eq!(header("x-amz-security-token"), Some("token"));
    assert_eq!(header("host"), None);
    assert!(header("user-agent").unwrap().starts_with("hydrant/"));
    let authorization = header("authorization").unwrap();
    let start = "AWS4-HMAC-SHA256 Credential=AK/20261122/eu-west-1/firehose/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
                 Signature=";
    assert!(authorization.starts_with(start), "{authorization}");
    let expected = firehose.prepare(&packed, &[0], now, Some(&keys)).unwrap();
    assert_eq!(request, expected);
}

#[test]
fn without_keys_nothing_is_sent() {
    let firehose = firehose(lines(1000));
    let packed = packer(lines(1000)).finish(Seq::new(11));
    let verdict = firehose.prepare(&packed, &[0], WallClock::default(), None);
    let Err(Verdict::Retry(retry)) = verdict else {
        panic!("a call without keys");
    };
    assert_eq!(retry.class, RetryClass::Credentials);
}

#[test]
fn endpoint_follows_the_region() {
    let check = |region: &str, endpoint: Option<&str>, url: &str, host: &str, path: &str| {
        let mut config = config(Packing::None, endpoint);
        region.clone_into(&mut config.region);
        let endpoint = Endpoint::new("firehose", &config.region, &config.endpoint);
        let seen = (
            endpoint.url.as_str(),
            endpoint.host.as_str(),
            endpoint.path.as_str(),
        );
        assert_eq!(seen, (url, host, path));
    };
    let firehose = |region: &str, host: &str| {
        check(region, None, &format!("https://{host}/"), host, "/");
    };
    firehose("us-east-1", "firehose.us-east-1.amazonaws.com");
    firehose("cn-north-1", "firehose.cn-north-1.amazonaws.com.cn");
    let moto = Some("http://127.0.0.1:5000");
    check("x", moto, "http://127.0.0.1:5000/", "127.0.0.1:5000", "/");
    let proxy = Some("https://Proxy:443/aws/?x#y");
    check("x", proxy, "https://Proxy:443/aws/", "proxy", "/aws/");
    check(
        "x",
        Some("http://[::1]:80"),
        "http://[::1]:80/",
        "[::1]",
        "/",
    );
}

#[test]
fn clock_learned_from_a_refusal_signs_the_next_call() {
    let mut firehose = firehose(lines(1000));
    let mut packer = firehose.packer(Compression::None, 500, Seq::ZERO);
    assert_eq!(
        packer.push(Seq::ZERO, b"x", RecordKey::default()),
        Push::Taken
    );
    let packed = packer.finish(Seq::new(1));
    let refusal = HttpResponse {
        status: 400,
        headers: vec![(
            "Date".to_owned(),
            "Thu, 01 Jan 2026 00:05:01 GMT".to_owned(),
        )],
        body: br#"{"__type":"InvalidSignatureException","message":"Signature expired: x"}"#
            .to_vec(),
        elapsed: Duration::from_secs(2),
        tls_verified: true,
        received_at: WallClock::from_millis(1_767_225_602_000),
        ..HttpResponse::default()
    };
    let Verdict::Retry(retry) = firehose.interpret(1, Ok(&refusal)) else {
        panic!("a wrong clock is final");
    };
    assert_eq!(
        (retry.class, retry.after),
        (RetryClass::Clock, Some(Duration::ZERO))
    );
    let keys = Credentials {
        access_key_id: "AK".to_owned(),
        secret_access_key: Secret::new("secret"),
        session_token: None,
    };
    let now = WallClock::from_millis(1_767_225_602_000);
    let request = firehose.prepare(&packed, &[0], now, Some(&keys)).unwrap();
    let date = request
        .headers
        .iter()
        .find(|(name, _)| name == "x-amz-date");
    assert_eq!(date.unwrap().1, "20260101T000502Z");
    // Refused again for the same reason, nothing new was learned: not at once again.
    let Verdict::Retry(retry) = firehose.interpret(1, Ok(&refusal)) else {
        panic!("a wrong clock is final");
    };
    assert_eq!((retry.class, retry.after), (RetryClass::Clock, None));
}

/// A Firehose record ends as close below a step of its price as its lines allow.
#[test]
fn records_fill_the_steps_that_they_are_billed_in() {
    let mut packer = packer(lines(64 << 10));
    for seq in 10..1_010 {
        let taken = packer.push(Seq::new(seq), &[b'x'; 199], RecordKey::default());
        assert_eq!(taken, Push::Taken);
    }
    let packed = packer.finish(Seq::new(1_010));
    let (body, _) = packed.body(&all(&packed));
    let sizes: Vec<usize> = data(&body).iter().map(Vec::len).collect();
    for size in &sizes[..sizes.len() - 1] {
        assert!(
            size.next_multiple_of(BILLED_STEP_BYTES) - size < 200,
            "{size}"
        );
    }
    let billed = sizes
        .iter()
        .map(|size| size.next_multiple_of(BILLED_STEP_BYTES));
    let billed: usize = billed.sum();
    assert_eq!(
        packed.billed_bytes(&all(&packed)),
        u64::try_from(billed).unwrap()
    );
    assert!(billed < 200 * 1_000 * 103 / 100, "{billed}");
}
