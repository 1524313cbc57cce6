use super::*;

/// What botocore's endpoint rules (1.44.5) make of these regions.
#[test]
fn endpoints_are_those_of_the_tables_of_aws() {
    let check = |service: &str, region: &str, domain: &str, dual: &str, fips: &str| {
        let hosts = [
            (false, false, format!("{service}.{region}.{domain}")),
            (true, false, format!("{fips}.{region}.{domain}")),
            (false, true, format!("{service}.{region}.{dual}")),
            (true, true, format!("{service}-fips.{region}.{dual}")),
        ];
        for (fips, dual_stack, host) in hosts {
            let config = AwsEndpoint {
                url: None,
                fips,
                dual_stack,
            };
            let endpoint = Endpoint::new(service, region, &config);
            assert_eq!(endpoint.url, format!("https://{host}/"));
            assert_eq!(endpoint.host, host);
        }
    };
    check(
        "firehose",
        "eu-west-1",
        "amazonaws.com",
        "api.aws",
        "firehose-fips",
    );
    check(
        "firehose",
        "cn-north-1",
        "amazonaws.com.cn",
        "api.amazonwebservices.com.cn",
        "firehose-fips",
    );
    check(
        "firehose",
        "us-gov-west-1",
        "amazonaws.com",
        "api.aws",
        "firehose-fips",
    );
    check(
        "kinesis",
        "us-gov-west-1",
        "amazonaws.com",
        "api.aws",
        "kinesis",
    );
    check(
        "kinesis",
        "eusc-de-east-1",
        "amazonaws.eu",
        "api.amazonwebservices.eu",
        "kinesis-fips",
    );
    check(
        "kinesis",
        "us-iso-east-1",
        "c2s.ic.gov",
        "api.aws.ic.gov",
        "kinesis-fips",
    );
    check(
        "kinesis",
        "us-isob-east-1",
        "sc2s.sgov.gov",
        "api.aws.scloud",
        "kinesis-fips",
    );
}
