//! Who is taken in, on what terms, and who may publish where.

use super::*;

#[test]
fn who_is_taken_in() {
    let check = |limits: &Limits, bytes: &[u8], answer: &[u8], client: Option<&str>| {
        let mut device = Device::new(limits.clone());
        device.say(bytes);
        let heard = device.out.get(..answer.len().min(device.out.len()));
        assert_eq!(heard, Some(answer), "{bytes:02x?}");
        assert_eq!(device.protocol.client(), client, "{bytes:02x?}");
    };
    check(&LIMITS, CONNECT, HELLO, Some("dev"));
    check(
        &LIMITS,
        b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0",
        HELLO,
        Some("auto-0000000000000abc"),
    );
    check(
        &LIMITS,
        b"\x10\x0c\0\x04MQTT\x04\x00\0\0\0\0",
        &[0x20, 2, 0, 2],
        None,
    );
    check(
        &LIMITS,
        b"\x10\x11\0\x06MQIsdp\x03\x02\0\0\0\x03dev",
        &[0x20, 2, 0, 1],
        None,
    );
    check(
        &LIMITS,
        b"\x10\x0f\0\x04MQTT\x06\x02\0\0\0\x03dev",
        &[0x20, 3, 0, 0x84, 0],
        None,
    );
    check(&LIMITS, b"\x30\x03\0\x01a", b"", None);
    check(&LIMITS, b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0", b"", None);
    let authentication = b"\x10\x14\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01x\0\x03dev";
    check(&LIMITS, authentication, &[0x20, 3, 0, 0x8c, 0], None);
    let limits = Limits {
        username: Some("u".to_owned()),
        password: Some(Secret::new("p")),
        ..LIMITS
    };
    let right = b"\x10\x15\0\x04MQTT\x04\xc2\0\0\0\x03dev\0\x01u\0\x01p";
    check(&limits, right, HELLO, Some("dev"));
    let wrong = b"\x10\x15\0\x04MQTT\x04\xc2\0\0\0\x03dev\0\x01u\0\x01x";
    check(&limits, wrong, &[0x20, 2, 0, 4], None);
    check(&limits, CONNECT, &[0x20, 2, 0, 4], None);
    check(&limits, CONNECT_5, &[0x20, 3, 0, 0x86, 0], None);
}

#[test]
fn mqtt_5_learns_the_terms() {
    let mut device = Device::new(LIMITS);
    device.say(b"\x10\x0d\0\x04MQTT\x05\x02\0\0\0\0\0");
    let expected = b"\x20\x29\0\0\x26\x21\0\x03\x27\0\0\0\x64\x12\0\x15auto-0000000000000abc\
                     \x22\0\x10\x13\x01\x2c";
    assert_eq!(device.out, &expected[..]);
}

#[test]
fn a_password_file_is_asked_first() {
    const RIGHT: &[u8] = b"\x10\x15\0\x04MQTT\x04\xc2\0\0\0\x03dev\0\x01u\0\x01p";
    let limits = Limits {
        has_password_file: true,
        ..LIMITS
    };
    for (verdict, answer) in [(true, HELLO), (false, &[0x20, 2, 0, 4][..])] {
        let mut device = Device::new(limits.clone());
        device.say(RIGHT);
        assert_eq!(device.out, &b""[..]);
        let asked = device.asked.take().unwrap();
        assert_eq!((&*asked.username, &*asked.password), ("u", &b"p"[..]));
        assert!(!format!("{asked:?}").contains("112"), "a password is shown");
        device.protocol.handle_verdict(verdict);
        device.say(RIGHT);
        assert_eq!(device.out, answer);
    }
    // Without a password there is nothing to ask.
    let mut device = Device::new(limits);
    device.say(CONNECT);
    assert_eq!(
        (device.asked, &device.out[..]),
        (None, &[0x20, 2, 0, 4][..])
    );
}

#[test]
fn who_may_not_publish_is_told_so() {
    let rights = [("*".to_owned(), vec!["by/%c".to_owned(), "of/%u".to_owned()])];
    let limits = Limits {
        rights: Some(Rights::new(rights.into())),
        ..LIMITS
    };
    // 3.1.1 has no word for it.
    for denied in [
        &b"\x30\x03\0\x01a"[..],
        b"\x32\x05\0\x01a\0\x07",
        b"\x34\x05\0\x01a\0\x07",
    ] {
        let mut device = Device::new(limits.clone());
        device.say(CONNECT);
        device.say(b"\x30\x08\0\x06by/dev");
        device.say(denied);
        assert_eq!(
            (device.stored.len(), device.closed),
            (1, Some(Close::Denied))
        );
        assert_eq!(device.protocol.denied(), Some("a"));
    }
    let mut device = Device::new(limits.clone());
    device.say(CONNECT_5);
    device.out.clear();
    device.say(b"\x32\x0b\0\x06by/dev\0\x01\0\x32\x06\0\x01a\0\x02\0\x32\x0b\0\x06by/dev\0\x03\0");
    device.say(b"\x30\x04\0\x01a\0\x34\x06\0\x01a\0\x09\0");
    assert_eq!(device.out.split(), &b"\x50\x03\0\x09\x87"[..]);
    // In the order of the messages.
    device.settle();
    let expected = b"\x40\x02\0\x01\x40\x03\0\x02\x87\x40\x02\0\x03";
    assert_eq!(device.out.split(), &expected[..]);
    assert_eq!(
        (device.stored.len(), device.denied, device.closed),
        (2, 3, None)
    );
    // A name that nobody has checked gives no rights; one in a certificate does.
    let connect_u = b"\x10\x12\0\x04MQTT\x04\x82\0\0\0\x03dev\0\x01u";
    for (certified, stored) in [(None, 0), (Some("u".to_owned()), 1)] {
        let mut device = Device::new(limits.clone());
        device.protocol = Protocol::new(1, certified);
        device.say(connect_u);
        device.say(b"\x30\x06\0\x04of/u");
        assert_eq!(device.stored.len(), stored);
    }
}
