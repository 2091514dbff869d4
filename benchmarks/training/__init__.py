"""Benchmarks of training, each a program: `python -m benchmarks.training.NAME`.

prepare   CSV to training-ready tables at full size, beside pandas
crosses   the wide part of `personal` at full size
speed     samples a second of the loop, beside a plain one
update    an update of a `personal` run beside a new one
ablation  what each part of a `personal` run adds
tables    the tables of docs/models.md, out of evaluated runs
"""
