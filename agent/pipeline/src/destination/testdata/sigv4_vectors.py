"""Writes sigv4.json beside this file: requests signed by botocore at a frozen time.

Needs botocore (pip install botocore; made with 1.44.5). The signer under test takes paths and
queries raw; botocore wants queries, and for S3 paths, encoded: `wire` says so where they differ.
"""

import datetime
import json
import pathlib
from unittest import mock

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = "IQoJb3JpZ2luX2VjEHAaCXVzLWVhc3QtMSJHMEUCIQ+/=="
NOW = datetime.datetime(2026, 11, 22, 21, 48, 4, tzinfo=datetime.timezone.utc)
HOST = "edge.amazonaws.com"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def case(name, method="GET", path="/", query="", headers=(), body="", **more):
    return dict(
        name=name, method=method, path=path, query=query, headers=list(headers), body=body, **more
    )


CASES = [
    case("plain"),
    case("post", "POST"),
    case("put with body", "PUT", body="caf\u00e9\n"),
    case("other region and service", "POST", region="cn-north-1", service="firehose"),
    case("duplicate headers", headers=[("My-Header1", "b"), ("My-Header1", "b"), ("my-header1", "a")]),
    case("order of header values", headers=[("H", v) for v in ("v4", "v1", "v3", "v2")]),
    case("order of header names", headers=[("Zoo", "1"), ("aardvark", "2"), ("MID", "3"), ("mid-1", "4")]),
    case("folded header", headers=[("My-Header1", "value1\n  value2\n     value3")]),
    case("trimmed headers", headers=[("A", "  value1 "), ("B", '"a   b   c"'), ("C", "\ta\t b")]),
    case("empty header", headers=[("A", "")]),
    case("case of header values", headers=[("My-Header1", "VALUE1")]),
    case("unsigned headers", headers=[("User-Agent", "x/1"), ("Expect", "100-continue"),
                                      ("X-Amzn-Trace-Id", "Root=1"), ("Transfer-Encoding", "chunked")]),
    case("unreserved path", path="/" + UNRESERVED),
    case("space in path", path="/example space/"),
    case("utf-8 path", path="/\u1234/\u00e4"),
    case("reserved characters in path", path="/a:b@c!$&'()*+,;=d"),
    case("percent in path", path="/a%20b"),
    case("relative", path="/example/.."),
    case("relative relative", path="/example1/example2/../.."),
    case("relative inside", path="/a/../b/c/"),
    case("above the root", path="/../../a"),
    case("dot slash", path="/./"),
    case("pointless dot", path="/./example"),
    case("slash", path="//"),
    case("slashes", path="//example//"),
    case("relative for S3", path="/example/..", s3=True),
    case("relative relative for S3", path="/example1/example2/../..", s3=True),
    case("dot slash for S3", path="/./", s3=True),
    case("pointless dot for S3", path="/./example", s3=True),
    case("slash for S3", path="//", s3=True),
    case("slashes for S3", path="//example//", s3=True),
    case("space in path for S3", path="/example space/", wire_path="/example%20space/", s3=True),
    case("utf-8 path for S3", path="/\u1234", wire_path="/%E1%88%B4", s3=True),
    case("query", query="Param1=value1"),
    case("query of one name", query="Param1"),
    case("query without value", query="Param1=&Param2"),
    case("query with equals in value", query="a=b=c", wire_query="a=b%3Dc"),
    case("query without name", query="=v"),
    case("order of query names", query="Param2=value2&Param1=value1"),
    case("order of query values", query="Param1=value2&Param1=value1&Param1=Value3"),
    case("case of query names", query="Param=1&param=2&PARAM=3"),
    case("order of encoded query", query="Param-3=Value3&Param=Value2&%E1%88%B4=Value1"),
    case("query in other spelling", query="a=%7e%2d&b=%e4", wire_query="a=~-&b=%E4"),
    case("query with a stray percent", query="a=100%&b=%zz", wire_query="a=100%25&b=%25zz"),
    case("plus in query", query="a=b+c", wire_query="a=b%2Bc"),
    case("unreserved query", query=UNRESERVED + "=" + UNRESERVED),
    case("utf-8 query", query="\u1234=bar", wire_query="%E1%88%B4=bar"),
    case("space in query", query="a b=c d", wire_query="a%20b=c%20d"),
    case("session token", "POST", token="signed"),
    case("session token after signing", "POST", token="after"),
    case("form", "POST", body="Param1=value1", headers=[
        ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "13")]),
    case("form with charset", "POST", body="Param1=value1", headers=[
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf8")]),
    case("PutRecordBatch", "POST", region="eu-west-1", service="firehose", token="signed",
         body='{"DeliveryStreamName":"s","Records":[{"Data":"eA=="}]}', headers=[
             ("Content-Type", "application/x-amz-json-1.1"),
             ("X-Amz-Target", "Firehose_20150804.PutRecordBatch")]),
]


def canonical_query(query):
    return "&".join(pair if "=" in pair else pair + "=" for pair in query.split("&") if pair)


def sign(case):
    token = case.get("token", "none")
    credentials = Credentials(*KEY, token=TOKEN if token == "signed" else None)
    kind = S3SigV4Auth if case.get("s3") else SigV4Auth
    service = case.get("service", "s3" if case.get("s3") else "service")
    region = case.get("region", "us-east-1")
    auth = kind(credentials, service, region)
    query = canonical_query(case.pop("wire_query", case["query"]))
    path = case.pop("wire_path", case["path"])
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=case["method"], url=url, data=case["body"].encode())
    for name, value in case["headers"]:
        request.headers[name] = value
    with mock.patch("botocore.auth.get_current_datetime", lambda: NOW):
        auth.add_auth(request)
    headers = [["Host", HOST]] + [list(header) for header in case["headers"]]
    if case.get("s3"):
        headers.append(["X-Amz-Content-SHA256", request.headers["X-Amz-Content-SHA256"]])
    canonical = auth.canonical_request(without_authorization(request))
    return {
        "name": case["name"], "method": case["method"], "path": case["path"],
        "query": case["query"], "headers": headers, "body": case["body"],
        "region": region, "service": service, "s3": bool(case.get("s3")), "token": token,
        "canonical_request": canonical, "authorization": request.headers["Authorization"],
    }


def without_authorization(request):
    copy = AWSRequest(method=request.method, url=request.url, data=request.data)
    for name, value in request.headers.items():
        if name != "Authorization":
            copy.headers[name] = value
    copy.context.update(request.context)
    return copy


def main():
    vectors = {
        "access_key_id": KEY[0], "secret_access_key": KEY[1], "session_token": TOKEN,
        "now_ms": int(NOW.timestamp() * 1000), "cases": [sign(case) for case in CASES],
    }
    text = json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"
    pathlib.Path(__file__).with_name("sigv4.json").write_text(text)


if __name__ == "__main__":
    main()
