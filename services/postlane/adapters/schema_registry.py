"""The part of a Confluent-compatible schema registry that the codec needs: an id for a schema, a schema for an id."""

from typing import Any, Protocol
from urllib.parse import urlsplit

from postlane.config.sections import KafkaSection
from postlane.ports import LogUnavailable

HTTP_TOO_MANY_REQUESTS = 429
HTTP_SERVER_ERROR = 500
SCHEMA_NOT_FOUND = 40403  # the registry's own code; a bare 404 comes from a wrong address, too
REQUEST_TIMEOUT_SECONDS = 10
RETRIES_MAX = 2  # the services repeat by themselves; a long wait in here would hide the fault


class RegistryUnavailable(LogUnavailable):
    """The registry does not answer; the same call may be made again. No record is to blame."""


class SchemaRefused(Exception):
    """The registry will not take our schema, or cannot be used here at all; the text says what to do."""


class SchemaUnknown(Exception):
    """The registry has no Avro schema with this id."""


class _Refusal(Exception):
    """The registry answers, and says no; `code` is its own error code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class SchemaRegistry(Protocol):
    """Where Confluent's wire format keeps its schemas."""

    def id_of(self, record: str, schema: str) -> int:
        """The id of this schema under the subject `record` (RecordNameStrategy), registered if need be.

        Raises RegistryUnavailable, SchemaRefused.
        """

    def schema_of(self, schema_id: int) -> str:
        """The Avro schema with this id as JSON text. Raises RegistryUnavailable, SchemaUnknown."""


class ConfluentRegistry:
    """A registry that speaks Confluent's HTTP interface (Confluent, Karapace, Apicurio). Raises SchemaRefused without its client."""

    def __init__(self, url: str) -> None:
        try:  # only the extra `registry` brings the HTTP client that this needs
            from confluent_kafka.schema_registry import Schema, SchemaRegistryClient  # noqa: PLC0415
        except ImportError:
            raise SchemaRefused(
                "kafka.schema_registry_url is set, but the registry's client is not installed: "
                "pip install '.[registry]' in your clone of Postlane"
            ) from None

        self._schema_type = Schema
        self._host = urlsplit(url).hostname or "?"  # the address itself may hold a password
        self._client: Any = SchemaRegistryClient.new_client(
            {"url": url, "timeout": REQUEST_TIMEOUT_SECONDS, "max.retries": RETRIES_MAX}
        )

    def id_of(self, record: str, schema: str) -> int:
        """Look the schema up first: that needs no right to write where schemas are registered by other means."""
        wanted = self._schema_type(schema, "AVRO")
        try:
            return int(self._ask(lambda: self._client.lookup_schema(record, wanted).schema_id))
        except _Refusal:
            pass  # not registered yet, or we may not look: registering says which
        try:
            return int(self._ask(lambda: self._client.register_schema(record, wanted)))
        except _Refusal as refusal:
            raise SchemaRefused(
                f"schema registry {self._host} refuses the schema {record}: {refusal}; "
                f"register schemas/*.avsc under the subject {record} or allow Postlane to do it"
            ) from None

    def schema_of(self, schema_id: int) -> str:
        """Fetch (and, in the client, cache) one schema."""
        try:
            found = self._ask(lambda: self._client.get_schema(schema_id))
        except _Refusal as refusal:
            if refusal.code == SCHEMA_NOT_FOUND:
                raise SchemaUnknown(
                    f"schema registry {self._host} has no schema with id {schema_id}"
                ) from None
            # Wrong login, missing right, wrong address: no record is to blame for that.
            raise RegistryUnavailable(
                f"schema registry {self._host} does not give schema id {schema_id}: {refusal}"
            ) from None
        if found.schema_type != "AVRO":
            raise SchemaUnknown(f"schema id {schema_id} is {found.schema_type}, not AVRO")
        return str(found.schema_str)

    def _ask(self, call: Any) -> Any:
        """The answer. Raises _Refusal where the registry answers that it will not, RegistryUnavailable where it cannot."""
        from confluent_kafka.schema_registry import SchemaRegistryError  # noqa: PLC0415

        try:
            return call()
        except SchemaRegistryError as error:
            status = error.http_status_code
            if status >= HTTP_SERVER_ERROR or status == HTTP_TOO_MANY_REQUESTS:
                raise RegistryUnavailable(
                    f"schema registry {self._host} answers {status}: {error.error_message}"
                ) from None
            raise _Refusal(error.error_code, f"{status} {error.error_message}") from None
        except Exception as error:  # noqa: BLE001 (the HTTP client's own kinds are no part of its promise)
            raise RegistryUnavailable(
                f"schema registry {self._host} does not answer: {type(error).__name__}"
            ) from None


def registry_of(kafka: KafkaSection) -> SchemaRegistry | None:
    """The configured registry; None where Avro single-object encoding is used."""
    return None if kafka.schema_registry_url is None else ConfluentRegistry(kafka.schema_registry_url)
