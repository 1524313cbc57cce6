"""Prepares moto's Firehose and Kinesis for a test, and shows what came in.

usage: aws.py setup|role|fetch|fetch-kinesis|objects URL CA REGION STREAM ACCESS_KEY
       SECRET_KEY
"""

import base64
import json
import sys

import boto3
from botocore.config import Config

BUCKET = "delivered"


def show_records(shard, record):
    from aws_kinesis_agg.deaggregator import deaggregate_records

    wrapped = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": record["SequenceNumber"],
            "partitionKey": record["PartitionKey"],
            "approximateArrivalTimestamp": 0,
            "data": base64.b64encode(record["Data"]),
        }
    }
    for one in deaggregate_records([wrapped]):
        kinesis = one["kinesis"]
        line = {
            "shard": shard,
            "sequence": record["SequenceNumber"],
            "aggregated": kinesis.get("aggregated", False),
            "key": kinesis["partitionKey"],
            "hash": kinesis.get("explicitHashKey"),
            "data": base64.b64decode(kinesis["data"]).decode(),
        }
        print(json.dumps(line))


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
        # Six calls: as many as moto answers before it checks signatures.
        iam = client("iam")
        iam.create_user(UserName="gateway")
        key = iam.create_access_key(UserName="gateway")["AccessKey"]
        actions = ["firehose:*", "kinesis:*", "s3:*", "iam:*", "sts:*", "redshift-data:*"]
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
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
        client("kinesis").create_stream(StreamName=stream, ShardCount=4)
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
    elif command == "fetch-kinesis":
        # A line for each record, read by the library that AWS has for aggregated ones.
        kinesis = client("kinesis")
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=stream,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            while True:
                answer = kinesis.get_records(ShardIterator=iterator)
                if not answer["Records"]:
                    break
                iterator = answer["NextShardIterator"]
                for record in answer["Records"]:
                    show_records(shard["ShardId"], record)
    elif command == "objects":
        s3 = client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for item in (item for page in pages for item in page.get("Contents", [])):
            named = {"Bucket": BUCKET, "Key": item["Key"]}
            found = s3.get_object(**named)
            tags = s3.get_object_tagging(**named)["TagSet"]
            shown = {
                "key": item["Key"],
                "body": found["Body"].read().decode(),
                "encryption": found.get("ServerSideEncryption"),
                "class": found.get("StorageClass"),
                "tags": {tag["Key"]: tag["Value"] for tag in tags},
            }
            print(json.dumps(shown))
    else:
        sys.exit("unknown command " + command)


main()
