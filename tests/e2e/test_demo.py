"""The demo as a user runs it: every scene holds, and nothing of it is left running."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("java_artifacts")
def test_the_demo_holds_and_cleans_up(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all held" in done.stdout
    left = [
        process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])
    ]
    assert left == []
