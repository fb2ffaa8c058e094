"""Fine-tuning a backbone on labelled photographs; everything but the distribution over machines.

    trainer = Trainer(settings, classes)
    pixels = open_pixels(annotations, folder="cache", size=trainer.stored_size)
    for epoch in range(settings.epochs):
        trainer.train_epoch(epoch, pixels, rows, codes)
    trainer.save("checkpoint", training={...})

| file | holds |
| --- | --- |
| `settings.py` | every choice of a training run, as plain values |
| `classes.py` | identities as class numbers, species by species |
| `sampler.py` | which rows make a batch, for one worker or many |
| `pixels.py` | annotations decoded once, kept on disk within a bound |
| `augment.py` | random changes of a batch of pixels, on any device |
| `network.py` | a known model with the pooling, width and neck to be trained |
| `losses.py` | ArcFace and the others, one head a species |
| `schedule.py` | parameter groups, learning rates, frozen stages, averaged weights |
| `loader.py` | batches of pixels, read ahead of the network |
| `gradients.py` | the gradient of a batch, in pieces that fit, averaged over workers |
| `embed_rows.py` | embeddings by a network in training |
| `trainer.py` | `Trainer`: the loaded state, an epoch of steps, saving |
| `resume.py` | which training states a run may go on from |
| `ranks.py` | what workers agree on, and report to each other |
| `progress.py` | what a run reports: a step, an epoch |
| `validate.py` | how good the embeddings of held-out rows are |

All but `settings.py`, `classes.py` and `sampler.py` import torch; import them where they are needed.
"""

from reid.training.classes import ClassTable
from reid.training.settings import TrainSettings

__all__ = ["ClassTable", "TrainSettings"]
