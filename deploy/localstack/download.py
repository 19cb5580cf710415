"""The first download, with something to look at meanwhile."""

from collections.abc import Collection

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from localstack import artifacts

STACK = ("kafka", "greenmail")  # what `localstack up` starts


def download(console: Console, names: Collection[str] = STACK) -> None:
    """Fill the cache with these bundles, with a progress bar if there is anything to fetch. Raises ArtifactError."""
    missing = artifacts.missing(names)
    if not missing:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        total = sum(jar.size_bytes for jar in missing)
        task = progress.add_task(f"downloading {len(missing)} jars (once)", total=total)
        for name in names:
            artifacts.class_path(name, lambda _file, count: progress.advance(task, count))
