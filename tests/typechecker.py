"""How shapes and types of signatures are checked while testing: an int may stand where a float is expected."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
