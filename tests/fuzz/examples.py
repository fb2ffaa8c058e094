"""How many inputs a fuzz test tries: 200 with every test run, more where one asks for it.

    REID_FUZZ_EXAMPLES=5000 python -m pytest -m fuzz

Each test gives one reader made-up input and accepts three ends: a right result, a row in `failures`,
or a ReidError. Anything else (another exception, a hang, memory without bound) is a fault.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("REID_FUZZ_EXAMPLES", "200"))

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="REID_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
