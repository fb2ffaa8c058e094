"""Embeddings → keypoints → evidence of pairs → P(same individual).

| file | holds |
| --- | --- |
| `match.py` | the stage: species by species, what is looked at, learned and written |
| `stored_pairs.py` | keypoints, votes and evidence that are missing, made and read back |
| `shards.py` | work in numbered pieces by Ray actors that may die |
| `pair_worker.py` | the actor |
| `figures.py` | what labels say of the stage |
| `fit_window.py` | the part of the picture where the pattern is, chosen on labels |
"""
