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
    """Turn `{file = "..."}` or `{env = "..."}` into the secret it names; a plain string passes. None of them may be empty."""
    match value:
        case "":
            raise ValueError("it is empty; give the secret, or leave the key out")
        case {"file": str(path), **rest} if not rest:
            return _read(path)
        case {"env": str(name), **rest} if not rest:
            if name not in os.environ:
                raise ValueError(f"the environment variable {name} that should hold the secret is not set")
            if not os.environ[name]:
                raise ValueError(f"the environment variable {name} that should hold the secret is empty")
            return os.environ[name]
        case dict():
            raise ValueError('a secret is a string, {file = "PATH"} or {env = "NAME"}')
        case _:
            return value


def _read(path: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read the secret file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the secret file {path} is not text in UTF-8") from None
    if not secret:
        raise ValueError(f"the secret file {path} is empty")
    return secret


Secret = Annotated[SecretStr, BeforeValidator(_resolve)]
