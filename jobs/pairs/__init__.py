"""Embeddings → keypoints → evidence of pairs → P(same individual).

| file | holds |
| --- | --- |
| `match.py` | the stage: species by species, what is learned and written |
| `look.py` | a closer look at one species: its pairs, and the numbers that weigh them |
| `stored_pairs.py` | keypoints, votes and evidence that are missing, made and read back |
| `shards.py` | work in numbered pieces by Ray actors that may die |
| `pair_worker.py` | the actor |
| `figures.py` | what labels say of the stage |
| `shown.py` | matched points of the few pairs that pages show |
| `fit_window.py` | the part of the picture where the pattern is, chosen on labels |
"""
