"""Makes x509.json: a request to IAM Roles Anywhere, made canonical by botocore.

usage: python x509_vectors.py CERTIFICATE.pem > x509.json

botocore does not sign with certificates; how a request is made canonical is the same.
"""

import base64
import datetime
import hashlib
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

REGION = "eu-west-1"
TIME = "20261122T214804Z"
ARNS = {
    "profileArn": "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/p-1",
    "roleArn": "arn:aws:iam::123456789012:role/edge",
    "trustAnchorArn": "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/t-1",
}


def main():
    with open(sys.argv[1], "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    request = AWSRequest(
        method="POST",
        url=f"https://rolesanywhere.{REGION}.amazonaws.com/sessions",
        params=ARNS,
        headers={
            "Content-Type": "application/json",
            "X-Amz-Date": TIME,
            "X-Amz-X509": der,
            "X-Amz-X509-Chain": der + "," + der,
        },
        data=b'{"durationSeconds":3600}',
    )
    request.context["timestamp"] = TIME
    signer = SigV4Auth(Credentials("id", "secret"), "rolesanywhere", REGION)
    canonical = signer.canonical_request(request)
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    scope = f"{TIME[:8]}/{REGION}/rolesanywhere/aws4_request"
    vector = {
        "certificate": der,
        "serial": str(certificate.serial_number),
        "time_ms": int(
            datetime.datetime.strptime(TIME + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp() * 1000
        ),
        "arns": ARNS,
        "canonical_request": canonical,
        "string_to_sign": f"AWS4-X509-ECDSA-SHA256\n{TIME}\n{scope}\n{hashed}",
    }
    json.dump(vector, sys.stdout, indent=2)
    print()


main()
