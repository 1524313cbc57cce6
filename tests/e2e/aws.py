"""Prepares moto's Firehose for a test, and shows what it delivered.

usage: aws.py setup|role|fetch URL CA REGION STREAM ACCESS_KEY SECRET_KEY
"""

import json
import sys

import boto3
from botocore.config import Config

BUCKET = "delivered"


def main():
    command, url, ca, region, stream, access_key, secret_key = sys.argv[1:]

    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            verify=ca,
            region_name=region,
            aws_access_key_id=access_key or "none",
            aws_secret_access_key=secret_key or "none",
            config=Config(s3={"addressing_style": "path"}),
        )

    if command == "setup":
        # Five calls: as many as moto answers before it checks signatures.
        iam = client("iam")
        iam.create_user(UserName="gateway")
        key = iam.create_access_key(UserName="gateway")["AccessKey"]
        allowed = {"Effect": "Allow", "Action": ["firehose:*", "s3:*", "iam:*", "sts:*"], "Resource": "*"}
        iam.put_user_policy(
            UserName="gateway",
            PolicyName="deliver",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region}
        )
        client("firehose").create_delivery_stream(
            DeliveryStreamName=stream,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": "arn:aws:s3:::" + BUCKET,
            },
        )
        print(
            json.dumps(
                {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
            )
        )
    elif command == "role":
        iam = client("iam")
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        role = iam.create_role(
            RoleName="deliverer",
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
        )
        allowed = {"Effect": "Allow", "Action": "firehose:*", "Resource": "*"}
        iam.put_role_policy(
            RoleName="deliverer",
            PolicyName="deliver",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        print(role["Role"]["Arn"])
    elif command == "fetch":
        s3 = client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        objects = [item for page in pages for item in page.get("Contents", [])]
        for item in sorted(objects, key=lambda item: item["LastModified"]):
            body = s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            sys.stdout.buffer.write(body)
    else:
        sys.exit("unknown command " + command)


main()
