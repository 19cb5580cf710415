"""What a store's fault means: one sentence, and nothing of what the client quotes."""

import re

import pytest

from postlane.adapters.blob_s3_faults import explain_fault

REQUEST = "Error performing PUT http://store/mail/ab/cd in 12ms - Server returned non-2xx status code:"


def answer(status: str, code: str, message: str = "") -> str:
    return (
        f"{REQUEST} {status}: <?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>"
        "<AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 SECRET</StringToSign></Error>"
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (answer("403 Forbidden", "RequestTimeTooSkewed", "The difference is too large"), "clock is wrong"),
        (answer("403 Forbidden", "SignatureDoesNotMatch"), "check access_key_id, secret_access_key"),
        (
            answer("403 Forbidden", "AccessDenied", "User x may not s3:PutObject"),
            "User x may not s3:PutObject",
        ),
        (answer("403 Forbidden", "AccessDenied"), "s3:AbortMultipartUpload"),
        (answer("301 Moved", "PermanentRedirect"), r"correct blobs\.s3\.region"),
        (answer("400 Bad Request", "AuthorizationHeaderMalformed"), r"correct blobs\.s3\.region"),
        (answer("501 Not Implemented", "NotImplemented"), "conditional_put = false"),
        (answer("503 Slow", "SlowDown"), "slow down"),
        (
            answer("400 Bad", "KMS.DisabledException", "key is disabled"),
            "KMS.DisabledException: key is disabled",
        ),
        (f"{REQUEST} 403 Forbidden: ", "status 403; it must allow s3:GetObject"),
        (f"{REQUEST} 502 Bad Gateway: <html>SECRET</html>", "answers with status 502$"),
        (
            "Error performing PUT http://169.254.169.254/latest/api/token in 1s, after 5 retries - HTTP error",
            "no login was found: set access_key_id",
        ),
        ("HTTP error\n kind: Connect, InvalidCertificate(\n NotValidForNameContext {", "another host name"),
        ("HTTP error\n kind: Connect, InvalidCertificate(\n Expired", "is not valid"),
        ("HTTP error\n kind: Timeout,", "no answer in time"),
        ("HTTP error\n hyper::Error(\n Parse(\n Version", "does not speak HTTP"),
        ("something new, SECRET", "^it cannot be reached$"),
    ],
)
def test_every_fault_has_its_sentence(report: str, words: str) -> None:
    assert re.search(words, explain_fault(report))
    assert "SECRET" not in explain_fault(report)
    assert "\n" not in explain_fault(report)
