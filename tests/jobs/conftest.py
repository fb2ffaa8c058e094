from collections.abc import Iterator

import pytest
import ray


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One real Ray for all tests of the jobs; four logical CPUs, however many there are."""
    ray.init(
        num_cpus=4, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False
    )
    yield
    ray.shutdown()
