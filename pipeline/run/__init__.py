"""Behind `make report`: `stages` asks DVC what is out of date, `jobs` runs it, `view` shows how far it is."""
