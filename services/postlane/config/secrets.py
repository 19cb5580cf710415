"""Secrets in the configuration: the value itself, or where to read it."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|credential|authorization|api_?key|private_?key|signing_?key|key\.pem|cookie",
    re.IGNORECASE,
)


def looks_secret(name: str) -> bool:
    """Whether a value of this name had better not be shown."""
    return _SECRET_NAME.search(name) is not None


def _resolve(value: Any) -> Any:
    """Turn `{file = "..."}` or `{env = "..."}` into the secret it names; a plain string passes."""
    if not isinstance(value, dict):
        return value
    match value:
        case {"file": str(path), **rest} if not rest:
            try:
                return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise ValueError(f"cannot read the secret file {path}: {error.strerror}") from None
        case {"env": str(name), **rest} if not rest:
            if name not in os.environ:
                raise ValueError(f"the environment variable {name} that should hold the secret is not set")
            return os.environ[name]
        case _:
            raise ValueError('a secret is a string, {file = "PATH"} or {env = "NAME"}')


Secret = Annotated[SecretStr, BeforeValidator(_resolve)]
