"""The TLS that a connection to a relay or a token endpoint must have: verified certificate and host name, TLS 1.2 or later."""

import ssl
from pathlib import Path

from postlane.config.relay_section import RelaySection
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError


def relay_tls(name: str, relay: RelaySection) -> ssl.SSLContext | None:
    """For the relay `name`; None where it has no TLS. Raises ConfigError for a file that cannot be used."""
    if relay.tls is Tls.NONE:
        return None
    context = verifying_tls(f"relays.{name}.ca_file", relay.ca_file)
    if relay.client_certificate_file is not None:
        try:
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(relay.client_certificate_file, relay.client_key_file, password="")
        except OSError as error:  # ssl.SSLError, too
            key = "" if relay.client_key_file is None else f" with the key {relay.client_key_file}"
            place = f"relays.{name}.client_certificate_file: {relay.client_certificate_file}{key}"
            raise ConfigError(f"{place} cannot be used: {error.strerror or error}") from None
    return context


def verifying_tls(key: str, ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the authority in `ca_file`, or the system's; `key` names it in the configuration. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError, too
        raise ConfigError(f"{key}: {ca_file} cannot be used: {error.strerror or error}") from None
    # Python's default, which a system's OpenSSL configuration may have lowered; TLS 1.0 and 1.1 are broken (RFC 8996).
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context
