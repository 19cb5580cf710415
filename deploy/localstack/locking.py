"""Write `artifacts.lock` anew from its roots: for whoever raises the version of one of the servers.

python -m localstack lock --set org.apache.kafka:kafka_2.13=4.4.0
"""

import tempfile
from pathlib import Path

from localstack.artifacts import LOCK_FILE, Bundle, Jar, maven, read_lock, sha256

HEADER = """\
# Every jar of the local stack. Written by `python -m localstack lock`; do not edit by hand.
# `roots` is what we ask for, `jars` is everything that they need to run. `roots_only`: the roots are named one by one, because
# what they ask for besides is for uses that are not ours.
"""


def relock(changes: dict[str, str], path: Path = LOCK_FILE) -> dict[str, Bundle]:
    """Resolve every bundle's roots, with `changes` of version per `group:artifact`, and write the file."""
    bundles = {
        name: _resolve(name, [_changed(root, changes) for root in bundle.roots], roots_only=bundle.roots_only)
        for name, bundle in read_lock(path).items()
    }
    path.write_text(HEADER + "".join(map(_render, bundles.values())), "utf-8")
    return bundles


def _changed(root: str, changes: dict[str, str]) -> str:
    module, _, version = root.rpartition(":")
    return f"{module}:{changes.get(module, version)}"


def _resolve(name: str, roots: list[str], *, roots_only: bool) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        context = maven(Path(folder))
        # "!" = raw: else jgo takes each root's parent as a bill of materials for all, and log4j's own
        # dependencyManagement then swaps kafka-clients for an older one.
        asked = [context.create_dependency(f"{root}!") for root in roots]
        direct, transitive = (asked, []) if roots_only else context.resolver.resolve(asked)
        jars = []
        for dependency in [*direct, *transitive]:
            jar = dependency.artifact.resolve()
            coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            jars.append(Jar(coordinate, sha256(jar), jar.stat().st_size))
    return Bundle(name, tuple(roots), tuple(jars), roots_only)


def _render(bundle: Bundle) -> str:
    roots = "".join(f'  "{root}",\n' for root in bundle.roots)
    jars = "".join(
        f'"{jar.coordinate}" = {{ sha256 = "{jar.sha256}", bytes = {jar.size_bytes} }}\n'
        for jar in bundle.jars
    )
    only = "roots_only = true\n" if bundle.roots_only else ""
    return f"\n[{bundle.name}]\n{only}roots = [\n{roots}]\n\n[{bundle.name}.jars]\n{jars}"
