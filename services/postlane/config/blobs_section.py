"""Where blobs lie: a directory, or a bucket of an S3-compatible store."""

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from postlane.config.secrets import Secret
from postlane.config.section import Section

# What Amazon, MinIO, Ceph and others agree on; dots would break the certificates of path_style = false.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]*")


class S3Section(Section):
    """A bucket of Amazon S3 or of a store that speaks S3; needs the package extra `s3`.

    Without keys here, the login is looked for where Amazon's tools look: AWS_* variables, a web identity, the container's or machine's role.
    """

    bucket: str = Field(description="the bucket; it must exist", examples=["postlane-mail"])
    prefix: str = Field("", description='put before every object\'s name, such as "mail/"')
    endpoint: str | None = Field(
        None,
        description="the store's address; Amazon's in that region when absent",
        examples=["https://minio.example.com:9000"],
    )
    region: str = Field("us-east-1", description="the bucket's region; most other stores take any")
    path_style: bool = Field(
        True, description="the bucket stands in the path; false: in the host name, as a few stores demand"
    )
    access_key_id: str | None = Field(None, description="login", examples=["postlane"])
    secret_access_key: Secret | None = Field(
        None, description="secret of that login; never shown", examples=[{"env": "BLOBS_SECRET_ACCESS_KEY"}]
    )
    ca_file: Path | None = Field(
        None,
        description="a certificate authority besides the system's",
        examples=["/etc/postlane/s3-ca.pem"],
    )
    conditional_put: bool = Field(
        True,
        description="write only what is not there (If-None-Match); false for a store that does not know it: blobs are then "
        "written over with the same bytes",
    )
    timeout_seconds: float = Field(
        30.0, ge=1, le=600, description="for one request, and for all its repetitions together"
    )

    def address(self) -> str | None:
        """The endpoint as the client wants it: with the bucket in the host name where it belongs there."""
        if self.endpoint is None or self.path_style:
            return self.endpoint
        parts = urlsplit(self.endpoint)
        return urlunsplit(parts._replace(netloc=f"{self.bucket}.{parts.netloc}"))

    @property
    def place(self) -> str:
        """How people call it."""
        return f"s3://{self.bucket}/{self.prefix}" + (f" at {self.endpoint}" if self.endpoint else "")

    @field_validator("bucket")
    @classmethod
    def _is_a_bucket(cls, bucket: str) -> str:
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(
                f'"{bucket}" is no bucket\'s name: 3 to 63 lower-case letters, digits, dots and hyphens'
            )
        return bucket

    @field_validator("prefix")
    @classmethod
    def _is_a_prefix(cls, prefix: str) -> str:
        if not _PREFIX.fullmatch(prefix) or prefix.startswith("/") or "//" in prefix or ".." in prefix:
            raise ValueError('a prefix is like "mail/": letters, digits, . _ - and single slashes within')
        return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        try:
            parts = urlsplit(endpoint)
            sound = parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound or parts.query or parts.fragment:
            raise ValueError("an endpoint is like https://s3.example.com or http://minio:9000")
        if "@" in parts.netloc:
            raise ValueError("an endpoint has no user and password; use access_key_id and secret_access_key")
        return endpoint.rstrip("/")

    @model_validator(mode="after")
    def _login_is_whole(self) -> "S3Section":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together; set both or neither")
        return self


class BlobsSection(Section):
    """Where raw mail and large attachments are kept; shared by all services and the ticketing system."""

    directory: Path = Field(
        Path("/var/lib/postlane/blobs"),
        description="used when there is no [blobs.s3]; on several hosts it must be one shared file system",
    )
    s3: S3Section | None = Field(None, description="a bucket instead of the directory")
