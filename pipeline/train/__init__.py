"""The stage `train`: `loop` decides the weights; `__main__` locks, validates, writes and logs."""
