//! Mistakes in `type = "s3"`.

use super::mistakes::check_one;

#[test]
fn one_mistake_each_in_s3() {
    let s3 = |rest: &str| {
        format!(
            "[destinations.x]\ntype = \"s3\"\nbucket = \"lake\"\nregion = \"eu-west-1\"\n{rest}"
        )
    };
    check_one(
        &s3("prefix = \"a/!{timestamp:YYYY}/\"\n"),
        "5 destinations.x.prefix: !{timestamp:YYYY} is no time: \"Y\" is not known; did you mean \"y\"?; write a pattern like yyyy/MM/dd/HH",
    );
    check_one(
        &s3("prefix = \"a/!{partition:}/\"\n"),
        "5 destinations.x.prefix: !{partition:} names no field: a field name is missing at column 1; write a field like !{partition:site}",
    );
    check_one(
        &s3("error_prefix = \"bad/!{timestamp:yyyy}/\"\n"),
        "5 destinations.x.error_prefix: has expressions, but not !{firehose:error-output-type}; write \"errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}\"",
    );
    check_one(
        &s3("time_zone = \"Europe/Atlantis\"\n"),
        "5 destinations.x.time_zone: \"Europe/Atlantis\" is no time zone that this machine knows; write one like \"Europe/Madrid\", and install tzdata",
    );
    check_one(
        &s3("compression = \"zip\"\n"),
        "5 destinations.x.compression: \"zip\" is not known here; did you mean \"gzip\"?",
    );
    check_one(
        &s3("compression = \"snappy\"\ncompression_level = 3\n"),
        "6 warning: destinations.x.compression_level: has no effect with compression = \"snappy\"; write compression = \"zstd\" or \"gzip\"",
    );
    check_one(
        &s3("file_extension = \"JSON\"\n"),
        "5 destinations.x.file_extension: \"JSON\" is no extension; write one like \".json.gz\", in lower case",
    );
    check_one(
        &s3("kms_key_id = \"k\"\n"),
        "5 destinations.x.kms_key_id: needs encryption = \"kms\"",
    );
    check_one(
        &s3("batch = { bytes_max = \"129MiB\" }\n"),
        "5 destinations.x.batch.bytes_max: 129 MiB is more than Firehose makes as one object; write \"128MiB\" or less",
    );
    check_one(
        &s3("").replace("\"lake\"", "\"s3://lake/a\""),
        "3 destinations.x.bucket: \"s3://lake/a\" is no name of a bucket; write its name alone, without s3:// and without a folder",
    );
}
