"""A local session is nobody else's: it listens on this machine alone, at the priority of its owner."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# psutil comes with Ray.
LISTENERS = """
import json, os, time
import ray
import psutil
from jobs.common.session import ray_session
with ray_session(None):
    @ray.remote
    def niceness():
        time.sleep(0.2)
        return os.nice(0)
    nice = ray.get([niceness.remote() for _ in range(4)])
    me = psutil.Process()
    found = {}
    for process in [me, *me.children(recursive=True)]:
        try:
            found[f"{process.name()} {process.pid}"] = [
                one.laddr.ip for one in process.net_connections("inet") if one.status == "LISTEN"
            ]
        except psutil.Error:
            continue
    print(json.dumps({"nice": nice, "listening": found}))
"""


def test_a_local_session_listens_on_this_machine_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LISTENERS],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(ended.stdout)
    addresses = {name: set(own) for name, own in found["listening"].items() if own}
    assert any(name.startswith("gcs_server") for name in addresses)
    assert any(name.startswith("raylet") for name in addresses)
    elsewhere = {
        name: own
        for name, own in addresses.items()
        if own - {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    }
    assert elsewhere == {}
    assert set(found["nice"]) == {0}
