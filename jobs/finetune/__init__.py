"""Labelled annotations → a checkpoint, and a test on held-out rows of whether it is better.

| file | holds |
| --- | --- |
| `driver.py` | the job: split, train, compare, promote, report |
| `split_plan.py` | who is held out; what an output folder is for |
| `train.py` | a training run, in this process or on Ray Train, and which of the two |
| `ray_training.py` | on Ray Train |
| `worker.py` | a training worker |
| `epochs.py` | stored epochs, and going on after the last |
| `event_reporter.py` | what a worker reports |
| `event_queue.py` | how it comes from Ray's workers to the driver |
| `freed_memory.py` | a training process keeps the memory that it frees |
| `watch.py` | the bar, the lines of figures, TensorBoard |
| `score.py` | figures of held-out rows, before and after |
| `tune_matcher.py` | `--matcher`: LightGlue learns from pairs |
| `matcher_worker.py` | a worker of it |
| `training_page.py` | the report's pictures and tables |
"""
