"""A Ray cluster of several nodes on this machine, in a process of its own that obeys its stdin.

    python nodes.py WORKERS

The head has no CPUs, so that drivers are safe there; each worker node has one. The first line printed
is JSON: the address, and the ids of the worker nodes. Then a line in is an order, a line out says that
it was done: `remove ID` kills all processes of a node at once, `add` starts another and prints its id.
At the end of stdin, also where the test that asked for it was killed, the cluster goes.
"""

import json
import sys

from ray.cluster_utils import Cluster

CPUS = 1
# A node is dead that has not answered for a second or two, not for a quarter of a minute as by default.
SOON = {
    "health_check_period_ms": 500, "health_check_timeout_ms": 1000, "health_check_failure_threshold": 3,
}  # fmt: skip


def main() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": SOON},
    )
    try:
        nodes = {}
        for _ in range(int(sys.argv[1])):
            node = cluster.add_node(num_cpus=CPUS)
            nodes[node.node_id] = node
        print(json.dumps({"address": cluster.address, "nodes": list(nodes)}), flush=True)
        for line in sys.stdin:
            order, _, node_id = line.strip().partition(" ")
            if order == "remove":
                cluster.remove_node(nodes.pop(node_id), allow_graceful=False)
            else:
                node = cluster.add_node(num_cpus=CPUS)
                node_id = node.node_id
                nodes[node_id] = node
            print(node_id, flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
