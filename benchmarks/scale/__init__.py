"""How long the whole benchmark takes on 1 to 64 GPUs, and where more of them stop helping: a simulation.

    python -m benchmarks.scale --json scale.json --figure docs/images/scale.png
    python -m benchmarks.scale --gpu gpu.json     # training steps as `python -m benchmarks.gpu` measured them, where it did
    python -m benchmarks.scale --card a100 --gbit 1

Each method that experiments/f30k and experiments/coco run, with three seeds on both, in the graph that the flow reads from DVC.
Training and scoring are estimated (`steps`); --gpu has measured steps. What else takes long was measured (`stages`), and DVC's own
time is measured first. Downloads are taken as done.
"""
