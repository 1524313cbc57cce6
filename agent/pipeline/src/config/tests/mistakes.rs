//! One mistake each, with the words and the line that tell it.

use super::{MINIMAL, check};

/// The minimal configuration with `text` behind it has exactly this problem.
pub(super) fn check_one(text: &str, expected: &str) {
    let line_of = |text: &str| text.lines().count();
    let expected = match expected.split_once(' ') {
        Some((line, rest)) => {
            let line: usize = line.parse().unwrap();
            format!("h.toml:{}: {rest}", line_of(MINIMAL) + line)
        }
        None => panic!("no line in {expected}"),
    };
    check(&format!("{MINIMAL}{text}"), &[&expected]);
}

#[test]
fn one_mistake_each_in_the_agent() {
    check_one("[agnet]\n", "1 agnet: unknown table; did you mean [agent]?");
    check_one(
        "[agent]\nmetrics_listen = \"0.0.0.0:9100\"\n",
        "2 agent.metrics_listen: 0.0.0.0:9100 is no loopback address, and nobody is asked who \
         they are; write \"127.0.0.1:9100\"",
    );
    check_one(
        "[agent]\nid = \"a b\"\n",
        "2 agent.id: \"a b\" is not a name of letters, digits, \".\", \"_\" and \"-\", \
         at most 64 of them",
    );
    check_one(
        "[agent]\nid = \"localhost\"\n",
        "2 warning: agent.id: is \"localhost\", as that of many other gateways may be; \
         write a name of its own",
    );
    check_one(
        "[buffer]\nsize = \"64M\"\n",
        "2 buffer.size: \"64M\": unknown unit of size \"M\"; write \"64MiB\" or \"64MB\"",
    );
    check_one(
        "[buffer]\nsize = 1000\n",
        "2 buffer.size: 1 KB is too little; write \"1MiB\" or more",
    );
    check_one(
        "[buffer]\nsync_delay_max = 5\n",
        "2 buffer.sync_delay_max: 5: no unit; write \"5s\" for seconds",
    );
    check_one(
        "[buffer]\nwrite_budget = \"2GiB\"\n",
        "2 buffer.write_budget: \"2GiB\" is not a size per day; write one like \"2GiB/day\"",
    );
    check_one(
        "[buffer]\nwrite_budget = \"2G/day\"\n",
        "2 buffer.write_budget: \"2G/day\": unknown unit of size \"G\"; \
         write \"2GiB\" or \"2GB\"",
    );
    check_one(
        "[buffer]\nwrite_budget = \"1MiB/day\"\n",
        "2 buffer.write_budget: 1 MiB/day is too little; write \"16MiB/day\" or more",
    );
    check_one(
        "[buffer]\nwhen_full = \"evict\"\n",
        "2 buffer.when_full: \"evict\" is not known here; write one of evict_oldest, block",
    );
    check_one(
        "[[buffer]]\n",
        "1 buffer: is a list, not a table; write [buffer]",
    );
}

#[test]
fn one_mistake_each_in_sources() {
    check_one(
        "[sources.x]\n",
        "1 sources.x.type: is missing; write one of mqtt, mqtt_listener, file, syslog",
    );
    check_one(
        "[sources.x]\ntype = \"mqt\"\n",
        "2 sources.x.type: \"mqt\" is no type of source; did you mean \"mqtt\"?",
    );
    check_one(
        "[sources.x]\ntype = \"file\"\n",
        "1 sources.x.paths: is missing; write paths = ...",
    );
    check_one(
        "[sources.\"a b\"]\ntype = \"file\"\npaths = [\"/a\"]\n",
        "1 sources.\"a b\": a name has letters, digits, \".\", \"_\" and \"-\", and at most 64 of them",
    );
    let mqtt = |rest: &str| format!("[sources.x]\ntype = \"mqtt\"\ntopics = [\"a/#\"]\n{rest}");
    check_one(
        &mqtt("url = \"http://b\"\n"),
        "4 sources.x.url: is a URL of another kind; begin it with mqtt:// or mqtts:// or ws:// or wss://",
    );
    check_one(
        &mqtt("url = \"mqtt://u:p@b\"\n"),
        "4 sources.x.url: has a user name in it; write user name and password under their own keys",
    );
    check_one(
        &mqtt("url = \"mqtt://b:x\"\n"),
        "4 sources.x.url: is not a URL: the port is no number; write one like \"mqtt://host\"",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\npassword = \"p\"\n"),
        "5 sources.x.password: needs username as well",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\nusername = \"u\"\npassword = \"p\"\n"),
        "4 warning: sources.x.url: sends its password in the clear; write mqtts:// if the broker takes TLS",
    );
    check_one(
        &mqtt("url = \"mqtts://b\"\ntls = { certificate_file = \"/c\" }\n"),
        "5 sources.x.tls.certificate_file: needs key_file as well",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\ntls.ca_file = \"/c\"\n"),
        "5 sources.x.tls.ca_file: is written, but the URL is not one with TLS; write mqtts://",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\nqos = 3\n"),
        "5 sources.x.qos: 3 is too much; write 2 or less",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\nqos = -1\n"),
        "5 sources.x.qos: -1 is too little; write 0 or more",
    );
    check_one(
        &mqtt("url = \"mqtt://b\"\nversion = 5\n"),
        "5 sources.x.version: 5 is not text; write \"5\"",
    );
    check_one(
        "[sources.x]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\ntopics = [\"a/#\", \"a#\"]\n",
        "4 sources.x.topics: \"a#\" is not a topic filter; \"#\" must be the whole last level",
    );
}

#[test]
fn one_mistake_each_in_several_brokers() {
    let mqtt = |rest: &str| format!("[sources.x]\ntype = \"mqtt\"\ntopics = [\"a/#\"]\n{rest}");
    check_one(
        &mqtt("url = \"mqtt://b/c\"\n"),
        "4 sources.x.url: has something after the host; write one like \"mqtt://host\"",
    );
    check_one(
        &mqtt("url = [\"mqtt://b\", \"mqtt://B\"]\n"),
        "4 sources.x.url: names a broker twice; leave it out",
    );
    check_one(
        &mqtt("url = []\n"),
        "4 sources.x.url: is an empty list; leave it out, or write at least one",
    );
}

#[test]
fn one_mistake_each_in_topics() {
    let mqtt = |rest: &str| {
        format!("[sources.x]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\n{rest}topics = [\"plant/#\"]\n")
    };
    check_one(
        &mqtt("topic_template = \"plant/x{site}\"\n"),
        "4 sources.x.topic_template: \"plant/x{site}\" is not a topic template: the level \
         \"x{site}\" is half a wildcard; let {name}, {name...}, \"+\" or \"#\" fill its whole level",
    );
    check_one(
        &mqtt("topic_template = [\"plant/{site}\", \"plant/{topic}/+\"]\n"),
        "4 sources.x.topic_template: \"plant/{topic}/+\" is not a topic template: every message \
         has a field topic of its own; give the level another name",
    );
    check_one(
        &mqtt("topic_template = [\"plant/{site}\", \"works/{site}/+\"]\n"),
        "4 warning: sources.x.topic_template: \"works/{site}/+\" fits no topic that topics take; \
         compare it with topics level by level",
    );
    let topics = |topics: &str| {
        format!("[sources.x]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\ntopics = {topics}\n")
    };
    check_one(
        &topics("[\"$share/plant\"]"),
        "4 sources.x.topics: \"$share/plant\" is not a topic filter; \
         write one like \"$share/group/plant/+/telemetry\"",
    );
    check_one(
        &topics("[\"$share/g/plant/#\", \"plant/+/data\"]"),
        "4 warning: sources.x.topics: \"$share/g/plant/#\" and \"plant/+/data\" take the same \
         messages apart from each other: each is stored twice; leave one of them out",
    );
}

#[test]
fn one_mistake_each_in_listeners_for_devices() {
    let listener = |rest: &str| {
        format!("[sources.x]\ntype = \"mqtt_listener\"\nlisten = \"0.0.0.0:1\"\n{rest}")
    };
    check_one(
        &listener("username = \"u\"\npassword = \"p\"\n"),
        "3 warning: sources.x.listen: devices send their passwords in the clear; add tls.certificate_file and tls.key_file",
    );
    check_one(
        &listener(
            "username = \"u\"\npassword = \"p\"\npassword_file = \"/p\"\ntls = { certificate_file = \"/c\", key_file = \"/k\" }\n",
        ),
        "6 sources.x.password_file: cannot be used together with username; leave one of them out",
    );
    check_one(
        &listener(
            "rights = { u = [\"a#\"] }\ntls = { certificate_file = \"/c\", key_file = \"/k\", client_ca_file = \"/a\" }\n",
        ),
        "4 sources.x.rights.u: \"a#\" is not a topic filter; \"#\" must be the whole last level",
    );
    check_one(
        &listener("tls = { certificate_file = \"/c\", client_ca_file = \"/a\" }\n"),
        "4 sources.x.tls.certificate_file: needs key_file as well",
    );
    check_one(
        &listener("tls.client_ca_file = \"/a\"\n"),
        "4 sources.x.tls.client_ca_file: needs certificate_file as well",
    );
}

#[test]
fn one_mistake_each_in_listeners_and_files() {
    let session = "type = \"mqtt\"\nurl = \"mqtt://b\"\ntopics = [\"a\"]\nclient_id = \"c\"\n";
    check_one(
        &format!("[sources.x]\n{session}[sources.y]\n{session}"),
        "10 sources.y.client_id: is the client_id of sources.x at the same broker; \
         write another, or leave it out",
    );
    check_one(
        "[sources.x]\ntype = \"syslog\"\nlisten = [\"udp://127.0.0.1:1\"]\ntimezone = \"Mars/Base\"\n",
        "4 warning: sources.x.timezone: this machine does not know the time zone \"Mars/Base\"; \
         write one like \"Europe/Berlin\", or install tzdata",
    );
    check_one(
        "[sources.x]\ntype = \"mqtt_listener\"\nlisten = \":1883\"\n",
        "3 sources.x.listen: \":1883\" is not an address with a port; write \"0.0.0.0:1883\" or \"127.0.0.1:1883\"",
    );
    check_one(
        "[sources.x]\ntype = \"mqtt_listener\"\nlisten = \"systemd://mqtt\"\n",
        "3 sources.x.listen: \"systemd://mqtt\" is not the name of a socket; write one like \
         \"systemd:syslog\", with the FileDescriptorName= of its unit",
    );
    check_one(
        "[sources.x]\ntype = \"mqtt_listener\"\nlisten = \"systemd:mqtt\"\n",
        "3 warning: sources.x.listen: anyone who reaches this port may publish; add username and \
         password, password_file, or tls.client_ca_file",
    );
    check_one(
        "[sources.x]\ntype = \"mqtt_listener\"\nlisten = \"0.0.0.0:1883\"\n",
        "3 warning: sources.x.listen: anyone who reaches this port may publish; add username and password, password_file, or tls.client_ca_file",
    );
    check_one(
        "[sources.x]\ntype = \"syslog\"\nlisten = [\"relp://0.0.0.0:6514\"]\n",
        "3 sources.x.listen: \"relp://0.0.0.0:6514\" is not a place to listen that is known; write one like \"udp://0.0.0.0:514\" or \"tcp://0.0.0.0:601\"",
    );
    check_one(
        "[sources.x]\ntype = \"syslog\"\nlisten = [\"tcp://127.0.0.1:601\", \"udp://0.0.0.0:601\", \"tcp://0.0.0.0:601\"]\n",
        "3 sources.x.listen: 0.0.0.0:601 is taken by sources.x.listen (127.0.0.1:601); write another port",
    );
    check_one(
        "[sources.x]\ntype = \"file\"\npaths = [\"log\"]\n",
        "3 sources.x.paths: \"log\" is not an absolute path; begin it with \"/\"",
    );
    check_one(
        "[sources.x]\ntype = \"file\"\npaths = []\n",
        "3 sources.x.paths: is an empty list; leave it out, or write at least one",
    );
    check(
        &MINIMAL.replace("url =", "from = [\"app\"]\nurl =").replace(
            "[dest",
            "[sources.x]\ntype = \"file\"\npaths = [\"/x\"]\n[dest",
        ),
        &[
            "h.toml:6: warning: sources.x: is taken by no destination; add \"x\" to the from list of one",
        ],
    );
}

#[test]
fn one_mistake_each_in_sockets_and_limits() {
    let syslog = |keys: &str| format!("[sources.x]\ntype = \"syslog\"\n{keys}");
    for (keys, expected) in [
        (
            "listen = [\"unix://run/log\"]\n",
            "3 sources.x.listen: \"unix://run/log\" is not an absolute path of a socket; \
             write one like \"unix:///run/hydrant/log\", with three slashes",
        ),
        (
            "listen = [\"unixgram:/dev/log\"]\n",
            "3 sources.x.listen: \"unixgram:/dev/log\" is not a place to listen; \
             write one like \"udp://0.0.0.0:514\" or \"tcp://0.0.0.0:601\"",
        ),
        (
            "listen = [\"systemd://log\"]\n",
            "3 sources.x.listen: \"systemd://log\" is not the name of a socket; write one like \
             \"systemd:syslog\", with the FileDescriptorName= of its unit",
        ),
        (
            "listen = [\"unix:///a\", \"unixgram:///a\"]\n",
            "3 sources.x.listen: \"/a\" is taken by sources.x.listen; write another, or leave it out",
        ),
        (
            "listen = [\"unix:///a\"]\nsocket_mode = \"rw-\"\n",
            "4 sources.x.socket_mode: \"rw-\" is not a file mode; write one like \"0660\"",
        ),
        (
            "listen = [\"systemd:a\"]\nsocket_mode = \"0660\"\n",
            "4 sources.x.socket_mode: is written, but no unix:// or unixgram:// socket is made; \
             leave it out, or set it in the socket unit",
        ),
        (
            "listen = [\"tls://127.0.0.1:1\"]\n",
            "3 sources.x.listen: needs a certificate; add tls.certificate_file and tls.key_file",
        ),
        (
            "listen = [\"tcp://127.0.0.1:1\"]\ntls = { certificate_file = \"/c\", key_file = \"/k\" }\n",
            "4 sources.x.tls.certificate_file: is written, but nothing listens with TLS; \
             write tls://IP:PORT under listen",
        ),
        (
            "listen = [\"tls://127.0.0.1:1\", \"tcp://127.0.0.1:1\"]\n\
             tls = { certificate_file = \"/c\", key_file = \"/k\" }\n",
            "3 sources.x.listen: 127.0.0.1:1 is taken by sources.x.listen (127.0.0.1:1); \
             write another port",
        ),
        (
            "listen = [\"systemd:a\"]\nrate_limit = { burst = 5 }\n",
            "4 sources.x.rate_limit.burst: needs messages as well",
        ),
        (
            "listen = [\"systemd:a\"]\nrate_limit = { messages = 0 }\n",
            "4 sources.x.rate_limit.messages: 0 is too little; write 1 or more",
        ),
    ] {
        check_one(&syslog(keys), expected);
    }
    let long = format!("listen = [\"unix:///{}\"]\n", "a".repeat(100));
    check_one(
        &syslog(&long),
        "3 sources.x.listen: is too long for the path of a socket; write 100 bytes or less",
    );
}

#[test]
fn one_mistake_each_in_destinations() {
    let http =
        |rest: &str| format!("[destinations.x]\ntype = \"http\"\nurl = \"https://c/\"\n{rest}");
    check_one(
        "[destinations.x]\ntype = \"http\"\n",
        "1 destinations.x.url: is missing; write url = ...",
    );
    check_one(
        "[destinations.x]\ntype = \"http\"\nurl = \"http://c/\"\n",
        "3 warning: destinations.x.url: sends records over the network in the clear; write https:// if the receiver takes TLS",
    );
    check_one(
        &http("bytes_max = \"1MB\"\n"),
        "4 destinations.x.bytes_max: unknown key; did you mean batch.bytes_max?",
    );
    check_one(
        &http("compression = \"zip\"\n"),
        "4 warning: destinations.x.compression: few HTTP receivers read \"zip\"; write \"gzip\" unless this one does",
    );
    check_one(
        &http("bearer = \"a\\nb\"\n"),
        "4 destinations.x.bearer: has a control character, such as a line break",
    );
    check_one(
        &http("bearer = \"${credential:none}\"\n"),
        "4 destinations.x.bearer: there is no credential none",
    );
    check_one(
        &http("bearer = \"a\"\nusername = \"u\"\npassword = \"p\"\n"),
        "4 destinations.x.bearer: cannot be used together with username; leave one of them out",
    );
    check_one(
        &http("headers = { \"a b\" = \"c\" }\n"),
        "4 destinations.x.headers: \"a b\" is no name of a header",
    );
    check_one(
        &http("headers.Host = \"c\"\n"),
        "4 destinations.x.headers: Host is written by Hydrant itself; leave it out",
    );
    check_one(
        &http("retry = { initial = \"10s\", max = \"1s\" }\n"),
        "4 destinations.x.retry.initial: the first wait (10s) is longer than the longest (1s)",
    );
    check_one(
        &http("from = [\"app\", \"app\"]\n"),
        "4 destinations.x.from: \"app\" is named twice",
    );
    check_one(
        &http("dead_letter.path = \"/var/lib/hydrant/dead-letter/out\"\n"),
        "4 destinations.x.dead_letter.path: /var/lib/hydrant/dead-letter/out is already the folder of destinations.out.dead_letter.path; write another folder",
    );
}

#[test]
fn one_mistake_each_in_firehose() {
    let firehose = |rest: &str| {
        format!(
            "[destinations.x]\ntype = \"firehose\"\nstream = \"s\"\nregion = \"eu-west-1\"\n{rest}"
        )
    };
    check_one(
        &firehose("compression = \"zip\"\n"),
        "5 destinations.x.compression: \"zip\" is not known here; did you mean \"gzip\"?",
    );
    check_one(
        &firehose("format = \"json_array\"\n"),
        "5 destinations.x.format: \"json_array\" is not known here; write one of ndjson, raw",
    );
    check_one(
        &firehose("packing = \"none\"\npacking_hint = \"4KiB\"\n"),
        "6 warning: destinations.x.packing_hint: has no effect with packing = \"none\"",
    );
    check_one(
        &firehose("packing_hint = \"1MiB\"\n"),
        "5 destinations.x.packing_hint: 1 MiB is more than Firehose takes as one record; write \"1000KiB\" or less",
    );
    check_one(
        &firehose("batch = { count_max = 501 }\n"),
        "5 destinations.x.batch.count_max: 501 is more than Firehose takes in one call; write 500 or less",
    );
    check_one(
        &firehose("credentials = { access_key_id = \"a\" }\n"),
        "5 destinations.x.credentials.access_key_id: needs secret_access_key as well",
    );
}

#[test]
fn one_mistake_each_in_transforms() {
    let used = |rest: &str| {
        format!(
            "[destinations.x]\ntype = \"directory\"\npath = \"/x\"\ntransforms = [\"t\"]\n[transforms.t]\n{rest}"
        )
    };
    check_one(
        &used("type = \"parse\"\nformat = \"regex\"\n"),
        "7 transforms.t.format: \"regex\" needs a pattern as well; write pattern = '(?<name>...)'",
    );
    check_one(
        &used("type = \"parse\"\nformat = \"json\"\npattern = \"x\"\n"),
        "8 transforms.t.pattern: is only for format = \"regex\"",
    );
    check_one(
        &used("type = \"redact\"\n"),
        "5 transforms.t: hides nothing; write fields = [...] or patterns = [...]",
    );
    check_one(
        &used("type = \"parse\"\nformat = \"regex\"\npattern = '(?<a'\n"),
        "8 transforms.t.pattern: the regular expression is not valid: unclosed capture group name",
    );
    check_one(
        &used("type = \"filter\"\nkeep = 'level !'\n"),
        "7 transforms.t.keep: column 7: unknown sign `!`; write `not`",
    );
    check_one(
        &used("type = \"sample\"\none_in = 0\n"),
        "7 transforms.t.one_in: 0 is too little; write 1 or more",
    );
    check_one(
        &used("type = \"set\"\nfields = { a = nan }\n"),
        "7 transforms.t.fields.a: NaN is not a number that JSON can say",
    );
}

#[test]
fn one_mistake_each_in_joined_lines() {
    let source = "[sources.x]\ntype = \"file\"\npaths = [\"/x\"]\n";
    let check_one = |text: &str, expected: &str| check_one(&[source, text].concat(), expected);
    check_one(
        "multiline = { timeout = \"2s\" }\n",
        "4 sources.x.multiline: does not say which lines belong together; \
         write start = '^...', continuation = '^...' or indentation = true",
    );
    check_one(
        "multiline = { start = '^A', indentation = true }\n",
        "4 sources.x.multiline.indentation: cannot be used together with start; \
         leave one of them out",
    );
    check_one(
        "multiline = { continuation = '(' }\n",
        "4 sources.x.multiline.continuation: the regular expression is not valid: unclosed group",
    );
}
