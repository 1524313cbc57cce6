"""A stand-in for IAM Roles Anywhere: gives keys to who signs with a certificate that it trusts.

usage: roles_anywhere.py PORT ANCHOR.pem...

Requests are made canonical by botocore, signatures are checked by the package cryptography.
"""

import base64
import hashlib
import http.server
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

ANCHORS = []


class Refused(Exception):
    pass


def check(request, body):
    headers = {name.lower(): value for name, value in request.headers.items()}
    algorithm, rest = headers["authorization"].split(" ", 1)
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    certificate = x509.load_der_x509_certificate(base64.b64decode(headers["x-amz-x509"]))
    trusted = False
    for anchor in ANCHORS:
        try:
            certificate.verify_directly_issued_by(anchor)
            trusted = True
        except (ValueError, InvalidSignature):
            pass
    if not trusted:
        raise Refused("Untrusted certificate. Insufficient certificate")
    serial, scope = parts["Credential"].split("/", 1)
    if serial != str(certificate.serial_number):
        raise Refused("serial number " + serial)
    date, region, service, end = scope.split("/")
    signed = parts["SignedHeaders"].split(";")
    for name in ("host", "x-amz-date", "x-amz-x509"):
        if name not in signed:
            raise Refused("not signed: " + name)
    made = AWSRequest(
        method="POST",
        url="http://" + headers["host"] + request.path,
        headers={name: headers[name] for name in signed},
        data=body,
    )
    made.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials("id", "secret"), service, region)
    hashed = hashlib.sha256(signer.canonical_request(made).encode()).hexdigest()
    text = "\n".join([algorithm, headers["x-amz-date"], scope, hashed]).encode()
    signature = bytes.fromhex(parts["Signature"])
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            expected = "AWS4-X509-ECDSA-SHA256"
            key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        else:
            expected = "AWS4-X509-RSA-SHA256"
            key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise Refused("signature") from error
    if algorithm != expected or service != "rolesanywhere" or end != "aws4_request":
        raise Refused("scope or algorithm")
    if not date == headers["x-amz-date"][:8]:
        raise Refused("date")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            check(self, body)
            assert json.loads(body) == {"durationSeconds": 3600}, body
            keys = {
                "accessKeyId": "ANYWHERE",
                "secretAccessKey": "hush-secret",
                "sessionToken": "hush-token",
                "expiration": "2099-01-01T00:00:00Z",
            }
            self.answer(201, {"credentialSet": [{"credentials": keys}]})
        except Refused as error:
            self.answer(403, {"message": str(error)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            ANCHORS.append(x509.load_pem_x509_certificate(file.read()))
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


main()
