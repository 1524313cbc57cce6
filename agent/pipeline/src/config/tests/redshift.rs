//! Mistakes in `type = "redshift"`.

use super::mistakes::check_one;

#[test]
fn one_mistake_each_in_redshift() {
    let without = |rest: &str| {
        format!(
            "[destinations.x]\ntype = \"redshift\"\nbucket = \"lake\"\nregion = \"eu-west-1\"\n\
             database = \"dev\"\n{rest}"
        )
    };
    let of = |rest: &str| {
        without(&format!(
            "cluster = \"plant\"\ntable = \"readings\"\n{rest}"
        ))
    };
    check_one(
        &without("table = \"readings\"\n"),
        "1 destinations.x: does not say which warehouse; write cluster = \"IDENTIFIER\", or workgroup = \"NAME\" for Redshift Serverless",
    );
    check_one(
        &of("workgroup = \"plant\"\n"),
        "6 destinations.x.cluster: cannot be used together with workgroup; leave one of them out",
    );
    check_one(
        &of("").replace(
            "\"plant\"",
            "\"plant.abc.eu-west-1.redshift.amazonaws.com\"",
        ),
        "6 destinations.x.cluster: \"plant.abc.eu-west-1.redshift.amazonaws.com\" is no identifier of a cluster; write it alone, as in \"plant-warehouse\", without the name of its host",
    );
    check_one(
        &of("").replace("cluster = \"plant\"", "workgroup = \"Plant\""),
        "6 destinations.x.workgroup: \"Plant\" is no name of a workgroup; write its name or its ARN, without the name of its host",
    );
    check_one(
        &of("db_user = \"u\"\nsecret_arn = \"arn:aws:x\"\n"),
        "8 destinations.x.db_user: cannot be used together with secret_arn; leave one of them out",
    );
    check_one(
        &of("db_user = \"u\"\n").replace("cluster", "workgroup"),
        "8 destinations.x.db_user: cannot be used together with workgroup; leave one of them out",
    );
    check_one(
        &of("").replace("\"readings\"", "'a.\"b\"'"),
        "7 destinations.x.table: \"\\\"b\\\"\" has '\"', which no name has; write \"TABLE\" or \"SCHEMA.TABLE\", without quotes around the names",
    );
    check_one(
        &of("columns = [\"a\", 'b\"c']\n"),
        "8 destinations.x.columns: \"b\\\"c\" has '\"', which no name has; write the names of columns alone",
    );
    check_one(
        &of("copy_options = \"MAXERROR 5\"\n"),
        "8 destinations.x.copy_options: MAXERROR cannot be used here; leave it out: COPY would skip records without naming all of them; Hydrant finds them, loads the others and keeps them as dead letters",
    );
    check_one(
        &of("iam_role = \"load\"\n"),
        "8 destinations.x.iam_role: \"load\" is no ARN of a role; write one like \"arn:aws:iam::123456789012:role/load\", or \"default\"",
    );
    check_one(
        &of("compression = \"snappy\"\n"),
        "8 destinations.x.compression: \"snappy\" is not known here; write one of none, gzip, zstd",
    );
    check_one(
        &of("prefix = \"a/!{partition:site}/\"\n"),
        "8 destinations.x.prefix: values of records cannot be used here: a batch is one object; leave them out",
    );
    check_one(
        &of("kms_key_id = \"k\"\n"),
        "8 destinations.x.kms_key_id: needs encryption = \"kms\"",
    );
}
