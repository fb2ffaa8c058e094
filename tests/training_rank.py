"""One of several workers of test_training_trainer.py: `python training_rank.py FOLDER RANK WORLD`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from reid.errors import TrainingDivergedError
from tests.training_toy import start, toy

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
pixels, kinds, names = toy()
trainer, codes = start(
    str(folder / "model"),
    kinds,
    names,
    world=world,
    rank=rank,
    identities=2,
    head_only_epochs=1,
    ema_decay=0.9,
    micro_batch=2,
)
rows = np.arange(len(codes))
plans = [trainer._plan(epoch, codes).tolist() for epoch in range(3)]
stats = [trainer.train_epoch(epoch, pixels, rows, codes) for epoch in range(3)]
torch.save(trainer.state_dict(), folder / f"state-{rank}.pt")
told = {
    "plans": plans,
    "steps": [s.steps for s in stats],
    "images": [s.images for s in stats],
    "last_batch": [pixels.annotation_ids[row] for row in trainer._plan(3, codes)[0]],
}
if rank == 1:
    trainer.objective.loss.scale = float("nan")
try:
    trainer.train_epoch(3, pixels, rows, codes)
except TrainingDivergedError as error:
    told["diverged"] = str(error)
(folder / f"told-{rank}.json").write_text(json.dumps(told))
dist.destroy_process_group()
