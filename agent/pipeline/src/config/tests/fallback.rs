//! Destinations that stand in for others.

use std::time::Duration;

use super::mistakes::check_one;
use super::{MINIMAL, good};
use crate::config::{Config, DestinationKind, Format, LetterShape};
use crate::pace::Quota;

fn config(text: &str) -> Config {
    good(&format!("{MINIMAL}{text}"))
}

const DISK: &str = "[destinations.disk]\ntype = \"directory\"\npath = \"/o\"\n\
                    standby = true\nbatch = { bytes_max = \"8MiB\", age_max = \"7s\" }\n";

/// Which records is a matter of the one, how they are written of the other.
#[test]
fn records_go_out_by_way_of_the_other() {
    let config = config(&format!(
        "[transforms.a]\ntype = \"remove\"\nfields = [\"a\"]\n\
         [transforms.b]\ntype = \"remove\"\nfields = [\"b\"]\n\
         [destinations.cloud]\ntype = \"http\"\nurl = \"https://x\"\nfrom = [\"app\"]\n\
         transforms = [\"a\"]\nfallback = \"disk\"\nfallback_after = \"30m\"\n\
         retry = {{ give_up_after = \"3d\", timeout = \"9s\" }}\n\
         batch = {{ bytes_max = \"2MiB\", age_max = \"1s\" }}\n\
         {DISK}transforms = [\"b\"]\nformat = \"raw\"\n"
    ));
    let fallback = config.destinations["cloud"].fallback.as_ref().unwrap();
    assert_eq!(fallback.name, "disk");
    assert_eq!(fallback.after, Duration::from_mins(30));
    let (way, cloud) = (&fallback.way, &config.destinations["cloud"]);
    let DestinationKind::Directory(directory) = &way.kind else {
        panic!("not by way of the folder: {way:?}");
    };
    assert_eq!(directory.writers, ["disk", "cloud"]);
    let names: Vec<&str> = way.transforms.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(way.format, config.destinations["disk"].format);
    assert_eq!(way.retry.give_up_after, cloud.retry.give_up_after);
    assert_eq!(way.retry.timeout, Duration::from_secs(30));
    assert_eq!(way.batch.bytes_max, cloud.batch.bytes_max);
    assert_eq!(way.batch.age_max, Duration::from_secs(7));
    assert_eq!(
        (&way.from, &way.dead_letter),
        (&cloud.from, &cloud.dead_letter)
    );
    assert!(config.destinations["disk"].is_standby && !way.is_standby);
}

/// Letters are lines already, of what was to be sent, and never given up.
#[test]
fn dead_letters_go_out_by_way_of_the_other() {
    let config = good(&format!(
        "{MINIMAL}[transforms.a]\ntype = \"remove\"\nfields = [\"a\"]\n\
         [transforms.b]\ntype = \"remove\"\nfields = [\"b\"]\n\
         [destinations.cloud]\ntype = \"http\"\nurl = \"https://x\"\ntransforms = [\"a\"]\n\
         dead_letter = {{ destination = \"disk\" }}\nretry = {{ give_up_after = \"3d\" }}\n\
         {DISK}transforms = [\"b\"]\n"
    ));
    let dead_letter = &config.destinations["cloud"].dead_letter;
    assert_eq!(dead_letter.shape, LetterShape::Firehose);
    let to = dead_letter.destination.as_ref().unwrap();
    assert_eq!((to.name.as_str(), to.way.format), ("disk", Format::Letters));
    assert_eq!(to.way.retry.give_up_after, None);
    let names: Vec<&str> = to
        .way
        .transforms
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["a"]);
    let DestinationKind::Directory(directory) = &to.way.kind else {
        panic!("not by way of the folder: {:?}", to.way);
    };
    assert_eq!(directory.writers, ["disk", "cloud-dead-letter"]);
}

/// What is not written is the region's; without a word there is none.
#[test]
fn a_quota_is_filled_in_by_the_region() {
    let quota = |rest: &str| {
        let text =
            "[destinations.x]\ntype = \"firehose\"\nstream = \"s\"\nregion = \"eu-south-2\"\n";
        good(&format!("{MINIMAL}{text}{rest}")).destinations["x"].quota
    };
    assert!(quota("").is_unlimited());
    let mut expected = Quota::of_firehose("eu-south-2");
    assert_eq!(quota("quota = { preset = \"region\" }\n"), expected);
    expected.bytes = Some(300_000);
    let both = "quota = { preset = \"region\", bytes_per_second = \"300KB\" }\n";
    assert_eq!(quota(both), expected);
}

#[test]
fn one_mistake_each_in_fallbacks() {
    let cloud =
        |rest: &str| format!("[destinations.cloud]\ntype = \"http\"\nurl = \"https://x\"\n{rest}");
    check_one(
        &cloud("fallback = \"cloud\"\n"),
        "4 destinations.cloud.fallback: names the destination itself; \
         write the name of another one, or leave it out",
    );
    check_one(
        &(cloud("fallback = \"dusk\"\n") + DISK),
        "4 destinations.cloud.fallback: there is no destination \"dusk\"; did you mean \"disk\"?",
    );
    check_one(
        &(cloud("fallback = \"disk\"\n") + &DISK.replace("standby", "fallback_after = \"1m\" #")),
        "8 warning: destinations.disk.fallback_after: has no effect without fallback",
    );
    check_one(
        &(cloud("fallback = \"disk\"\nretry = { give_up_after = \"10m\" }\n") + DISK),
        "4 destinations.cloud.fallback_after: is 15m, but after 10m (retry.give_up_after) records \
         go to the dead letter; write less, or a longer retry.give_up_after",
    );
    check_one(
        &cloud("dead_letter = { destination = \"cloud\" }\n"),
        "4 destinations.cloud.dead_letter.destination: names the destination itself; \
         write the name of another one, or leave it out",
    );
    check_one(
        &(cloud("dead_letter = { destination = \"dusk\" }\n") + &DISK.replace("standby", "#")),
        "4 destinations.cloud.dead_letter.destination: there is no destination \"dusk\"; \
         did you mean \"disk\"?",
    );
    check_one(
        DISK,
        "4 warning: destinations.disk.standby: is on standby, but no other destination names it; \
         write fallback = \"disk\" in one",
    );
    check_one(
        &(cloud("fallback = \"disk\"\n") + DISK + "from = [\"app\"]\n"),
        "10 warning: destinations.disk.from: has no effect on a destination on standby; \
         leave it out, or standby",
    );
    check_one(
        &(cloud("fallback = \"disk\"\n")
            + &DISK.replace("standby = true", "fallback = \"third\"")
            + "[destinations.third]\ntype = \"directory\"\npath = \"/t\"\n"),
        "4 destinations.cloud.fallback: \"disk\" has itself a fallback, \"third\", which would not \
         be used; name one that has none",
    );
}
