"""Behind `make report`: `stages` asks DVC what is out of date, `jobs` or `cluster` runs it, `view` shows how far."""
