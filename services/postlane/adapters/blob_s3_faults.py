"""What a fault of an S3 store means for people: from the client's long text to one sentence that says what to do.

The client's own text quotes requests, signatures and access keys, so nothing of it is passed on but the store's code and message.
"""

import re
from collections.abc import Mapping

_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_STATUS = re.compile(r"status code: ([0-9]{3})")
NO_BUCKET = "NoSuchBucket"
METADATA_SERVICE = re.compile(r"169\.254\.|fd00:ec2::|/latest/api/token|AssumeRoleWithWebIdentity")

_LOGIN = "the login is refused: check access_key_id, secret_access_key and region"
_REGION = "the bucket is in another region: correct blobs.s3.region"
_RIGHTS = (
    "it must allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket"
)

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; other stores use the same codes.
CODES: Mapping[str, str] = {
    NO_BUCKET: "there is no such bucket: create it, or correct blobs.s3.bucket and endpoint",
    "InvalidAccessKeyId": "the store does not know this access_key_id",
    "SignatureDoesNotMatch": _LOGIN,
    "AuthorizationHeaderMalformed": f"{_LOGIN}; {_REGION}",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than the store allows: let NTP set it",
    "RequestExpired": "this machine's clock is wrong by more than the store allows: let NTP set it",
    "ExpiredToken": "the temporary login has expired",
    "InvalidToken": "the temporary login is not valid",
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "NotImplemented": "the store does not know what is asked: try blobs.s3.conditional_put = false",
    "SlowDown": "the store asks us to slow down",
    "XMinioStorageFull": "the store is full",
    "QuotaExceeded": "the store's quota is used up",
}

# Words that the client's report has for what happens below HTTP.
TRANSPORT: Mapping[str, str] = {
    "UnknownIssuer": "its certificate is signed by nobody whom we trust: set blobs.s3.ca_file",
    "NotValidForName": "its certificate is for another host name",
    "InvalidCertificate": "its certificate is not valid",
    "InvalidContentType": "it does not speak TLS there: is the endpoint one with http://?",
    "dns error": "DNS does not know its name",
    "ConnectionRefused": "nobody listens there: check blobs.s3.endpoint",
    "TimedOut": "no answer in time",
    "kind: Timeout": "no answer in time",
    "UnexpectedMessage": "what answers there does not speak HTTP",
    "Parse(": "what answers there does not speak HTTP",
    "ConnectionReset": "it cut the connection",
    "IncompleteMessage": "it cut the connection",
}


def code_of(report: str) -> str | None:
    """The store's code, such as NoSuchBucket; None where no store has spoken."""
    found = _CODE.search(report)
    return found[1] if found else None


def explain_fault(report: str) -> str:
    """One sentence about what the client reports."""
    if METADATA_SERVICE.search(report.partition("\n")[0]):
        return "no login was found: set access_key_id and secret_access_key, or AWS_* variables, or give this machine a role"
    if code := code_of(report):
        message = _MESSAGE.search(report)
        words = f": {message[1]}" if message else ""
        if code == "AccessDenied":
            return f"the login has not the right{words}; {_RIGHTS}"
        return CODES.get(code) or f"it answers {code}{words}"
    for word, meaning in TRANSPORT.items():
        if word in report:
            return meaning
    if status := _STATUS.search(report):
        return f"it answers with status {status[1]}" + (f"; {_RIGHTS}" if status[1] == "403" else "")
    return "it cannot be reached"
