"""How to log in, given what the server offers and how well the connection keeps a secret."""

from ipaddress import ip_address

from postlane.core.smtp.smtp_terms import BY_PASSWORD, BY_TOKEN, Login


class LoginImpossible(Exception):
    """Nothing that the server offers can be used; the text says what to do."""


def may_send_secret(peer: str, *, encrypted: bool, allow_plaintext: bool) -> bool:
    """Whether a password or token may go to the host of this IP address: encrypted, to this very machine, or because that is wanted."""
    return encrypted or allow_plaintext or _is_loopback(peer)


def choose_login(capabilities: frozenset[str], *, by_token: bool, mechanism: str = "auto") -> Login:
    """The better mechanism of those offered; one is tried, because each failure counts towards locking the account.

    `Login.LOGIN` is the command of that name (RFC 3501 section 6.2.3), which needs no announcement. Raises LoginImpossible.
    """
    wanted: tuple[Login, ...] = BY_TOKEN if by_token else BY_PASSWORD
    if by_token and mechanism != "auto":
        wanted = (Login(mechanism),)
    for login in wanted:
        if login is Login.LOGIN and "LOGINDISABLED" not in capabilities:
            return login
        if login is not Login.LOGIN and f"AUTH={login.value.upper()}" in capabilities:
            return login
    offered = ", ".join(sorted(name for name in capabilities if name.startswith("AUTH="))) or "nothing"
    if not by_token:
        raise LoginImpossible(
            f"the server takes no password here (it offers {offered}); it may want TLS or OAuth 2"
        )
    needed = " or ".join(login.value.upper() for login in wanted)
    raise LoginImpossible(f"the server offers {offered}; {needed} is needed to log in by access token")


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False
